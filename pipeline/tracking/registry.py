"""Models of runs: logged with their run, fetched, registered under a name."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from pipeline.config.data import DataConfig
from pipeline.config.schema import StoreConfig
from pipeline.models.builder import has_own_code
from pipeline.system.messages import shown_address
from pipeline.tracking import weights
from pipeline.tracking.retry import created, retried

if TYPE_CHECKING:
    import keras
    from mlflow import MlflowClient


class ModelRegistry:
    """Models of one MLflow store."""

    def __init__(self, client: MlflowClient, store: StoreConfig) -> None:
        """Use `client`, and retry like it what MLflow does without a client."""
        self.client, self._uri = client, store.mlflow_uri
        self._retried = partial(retried, seconds=store.retry_seconds, name=shown_address(store.mlflow_uri))

    def log(self, run_id: str, net: keras.Model, data: DataConfig) -> None:
        """Log a Keras model with its signature as the run's `model`; of one with code of its own, the weights."""
        import keras
        import mlflow.keras
        import numpy as np
        from mlflow.models import Model, ModelSignature
        from mlflow.types import Schema, TensorSpec

        def batch_of(shape: Sequence[int]) -> Schema:
            return Schema([TensorSpec(np.dtype(np.float32), (-1, *shape))])

        # Model.log uses the active experiment, not the run's.
        experiment = self.client.get_run(run_id).info.experiment_id
        self._retried(partial(mlflow.set_experiment, experiment_id=experiment))
        requirements = {"pip_requirements": [f"keras=={keras.__version__}", "tensorflow"]}
        flavor, more = (weights, {}) if has_own_code(net) else (mlflow.keras, requirements)
        signature = ModelSignature(batch_of(data.shape), batch_of((data.outputs,)))
        log = partial(Model.log, None, flavor, name="model", run_id=run_id, model=net, signature=signature, **more)
        self._retried(log)

    def has(self, run_id: str) -> bool:
        """Return whether a model is logged with the run."""
        return self._id(run_id) is not None

    def file(self, run_id: str, folder: Path) -> Path | None:
        """Download the run's logged model into `folder` and return its file; None if there is none."""
        import mlflow.artifacts

        if not (model_id := self._id(run_id)):
            return None
        uri = f"models:/{model_id}"
        download = partial(mlflow.artifacts.download_artifacts, artifact_uri=uri, dst_path=str(folder))
        files = sorted(Path(self._retried(download)).rglob("*"))
        return next((file for file in files if file.suffix == ".keras" or file.name == weights.WEIGHTS), None)

    def download(self, model_id: str, folder: Path) -> tuple[str, Path] | None:
        """Download a logged model into `folder`; return its name, and where it lies. None if it is gone, or half there.

        From this store, also while another one is open: MLflow would look up models:/ in the one that was opened last.
        """
        import mlflow.artifacts

        if not self._is_ready(model_id):
            return None
        model = self.client.get_logged_model(model_id)
        source = {"artifact_uri": model.artifact_location, "tracking_uri": self._uri}
        place = self._retried(partial(mlflow.artifacts.download_artifacts, dst_path=str(folder), **source))
        return str(model.name), Path(place)

    def upload(self, folder: Path, name: str, run_id: str, step: int) -> None:
        """Log the files of a model, downloaded from another store, as the run's."""
        from mlflow.entities import LoggedModelOutput

        experiment = self.client.get_run(run_id).info.experiment_id
        model_id = self.client.create_logged_model(experiment, name, run_id).model_id
        described = yaml.safe_load((folder / "MLmodel").read_text())
        described |= {"run_id": run_id, "model_id": model_id, "artifact_path": f"models:/{model_id}"}
        (folder / "MLmodel").write_text(yaml.safe_dump(described, sort_keys=False))
        self.client.log_model_artifacts(model_id, str(folder))
        self.client.finalize_logged_model(model_id, "READY")
        self.client.log_outputs(run_id, [LoggedModelOutput(model_id, step)])

    def register(self, run_id: str, name: str, alias: str, description: str) -> bool:
        """Register the run's model as the newest version of `name`, called `alias`; return False if it has none.

        Of a model that has the alias already, the description alone is renewed.
        """
        from mlflow.exceptions import MlflowException

        if not (model_id := self._id(run_id)):
            return False
        source = f"models:/{model_id}"
        with suppress(MlflowException):  # no such name or alias yet
            known = self.client.get_model_version_by_alias(name, alias)
            if known.source == source:
                self.client.update_model_version(name, known.version, description)
                return True
        with suppress(MlflowException):  # the name exists
            self.client.create_registered_model(name)

        def create(client: MlflowClient) -> str:
            version = client.create_model_version(name, source, run_id, model_id=model_id, description=description)
            return str(version.version)

        def find() -> str | None:
            versions = self.client.search_model_versions(f"name = '{name}'")
            return next((str(version.version) for version in versions if version.source == source), None)

        self.client.set_registered_model_alias(name, alias, created(self.client, create, find))
        return True

    def registered_run(self, name: str, alias: str) -> str | None:
        """Return the id of the run whose model is registered as `name`, called `alias`; None if there is none."""
        found = self.registered(name, alias)
        return found and found[0]

    def registered(self, name: str, alias: str) -> tuple[str, str] | None:
        """Return the same with the version's description."""
        from mlflow.exceptions import MlflowException

        with suppress(MlflowException):
            version = self.client.get_model_version_by_alias(name, alias)
            return str(version.run_id), version.description or ""
        return None

    def registered_names(self) -> list[str]:
        """Return the names of all registered models."""
        return sorted(model.name for model in self.client.search_registered_models())

    def _id(self, run_id: str) -> str | None:
        """Return the id of the run's logged model; None if it has none, or only a deleted or half-logged one."""
        outputs = self.client.get_run(run_id).outputs
        logged = [str(output.model_id) for output in (outputs.model_outputs if outputs else None) or []]
        return next(filter(self._is_ready, logged), None)

    def _is_ready(self, model_id: str) -> bool:
        from mlflow.exceptions import MlflowException

        with suppress(MlflowException):  # it was deleted in MLflow's pages
            return bool(self.client.get_logged_model(model_id).status == "READY")
        return False
