"""MLflow's client for a store: its settings, its database, its retries."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pipeline.config.schema import StoreConfig
from pipeline.system.addresses import is_database
from pipeline.system.messages import shown_address
from pipeline.tracking.databases import MLFLOW, make, opened
from pipeline.tracking.retry import Retrying

if TYPE_CHECKING:
    from mlflow import MlflowClient

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # We retry, and say so. MLflow's own retries take four minutes, in silence.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    # Jobs of its server are for language models, and take eight more processes.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}


def set_up_mlflow() -> None:
    """Set what MLflow reads from the environment, unless it is set; call this before MLflow is imported."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # MLflow logs what it raises with a traceback; we show one line of it, or retry.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def connect(store: StoreConfig) -> MlflowClient:
    """Return a client that retries while the store is busy; create the store's database on first use.

    Raises:
        UnopenedStoreError: if the store cannot be opened.
    """
    set_up_mlflow()
    uri = store.mlflow_uri

    def open_client() -> MlflowClient:
        import mlflow

        if is_database(uri):
            make(uri, MLFLOW, partial(_build, artifacts=store.folder / "artifacts"), store.folder)
        with _environment_kept():
            mlflow.set_tracking_uri(uri)
        client = mlflow.MlflowClient(uri)
        client.search_experiments(max_results=1)  # MLflow connects at the first request
        return client

    return cast(
        "MlflowClient", Retrying(opened(uri, store.retry_seconds, open_client), store.retry_seconds, shown_address(uri))
    )


@contextmanager
def _environment_kept() -> Iterator[None]:
    """Leave the address in the environment, which names what the user wants by store=server, as the user set it.

    MLflow sets it to the store that is open, for children; ours need it as little as the password in it.
    """
    name = "MLFLOW_TRACKING_URI"
    before = os.environ.get(name)
    try:
        yield
    finally:
        os.environ.pop(name, None)
        if before is not None:
            os.environ[name] = before


def _build(uri: str, artifacts: Path) -> None:
    """Create MLflow's tables in the empty database at `uri`, and let go of it."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore(uri, artifacts.as_uri())  # type: ignore[no-untyped-call]
    SqlAlchemyStore._engine_map.pop(uri).dispose()  # MLflow would keep the connection to this temporary address
