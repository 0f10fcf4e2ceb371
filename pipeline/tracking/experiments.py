"""Experiments of a store, and where their files go: into its folder, or through a server to where all can see them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pipeline.config.schema import StoreConfig
from pipeline.tracking.reader import RunReader
from pipeline.tracking.retry import PROXY, UnopenedStoreError, retried

if TYPE_CHECKING:
    from mlflow.entities import Experiment


class Experiments:
    """The ids of a store's experiments, which are made when they are first asked for."""

    def __init__(self, reader: RunReader) -> None:
        """Ask through `reader`, once for each."""
        self._reader, self._store = reader, reader.store
        self._ids: dict[str, str] = {}

    def id_of(self, name: str) -> str:
        """Return the id of the experiment `name`, creating it if needed.

        Raises:
            UnopenedStoreError: if a server cannot keep its files.
        """
        if name not in self._ids:
            stored = self._reader.find_experiment(name) or self._create(name)
            require_shared(self._store, stored)
            self._ids[name] = stored.experiment_id
        return self._ids[name]

    def _create(self, name: str) -> Experiment:
        from mlflow.exceptions import MlflowException

        store, client = self._store, self._reader.client
        if store.is_server:
            retried(partial(_require_proxy, store), store.retry_seconds, store.place, UnopenedStoreError)
        place = None if store.is_server else (store.folder / "artifacts" / name).as_uri()  # which a server decides
        try:
            return client.get_experiment(client.create_experiment(name, place))
        except MlflowException:
            if stored := self._reader.find_experiment(name):  # another process was quicker, or an answer was lost
                return stored
            raise


def require_shared(store: StoreConfig, experiment: Experiment) -> None:
    """Raise UnopenedStoreError if a server's experiment keeps its files on the machine that made it."""
    place = experiment.artifact_location
    if store.is_server and urlsplit(place).scheme in ("", "file"):
        raise UnopenedStoreError(
            f"the experiment {experiment.name} of {store.place} keeps its files in {place}, a folder of the machine "
            "that made it, where others cannot see them. Nothing was started. Rename it in MLflow's pages, and the "
            "same command makes a new one and reuses its runs; or give the sweep another name"
        )


def _require_proxy(store: StoreConfig) -> None:
    """Raise UnopenedStoreError if the server says that it takes no files of its clients."""
    from mlflow.utils.credentials import get_default_host_creds  # as MLflow's own client of artifacts does
    from mlflow.utils.rest_utils import http_request

    answer = http_request(  # type: ignore[no-untyped-call]
        get_default_host_creds(store.mlflow_uri),  # type: ignore[no-untyped-call]
        f"/api/2.0{PROXY}",
        "GET",
        params={"path": "convsweep"},  # nothing is there; the list of everything may be long
        raise_on_status=False,
    )
    if "--serve-artifacts" in answer.text:
        raise UnopenedStoreError(
            f"the server {store.place} runs without --serve-artifacts, so it takes no models and reports. Nothing was "
            "started. Start it with: mlflow server --serve-artifacts --artifacts-destination FOLDER or s3://BUCKET"
        )
