"""MLflow: every run and sweep, its parameters, metrics, artifacts and saved view. Only `ui` imports it too."""

from __future__ import annotations

import base64
import getpass
import json
import logging
import os
import socket
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

import yaml

from pipeline.config.compose import flatten, without_store
from pipeline.config.overrides import is_of_store
from pipeline.config.schema import RunConfig, StoreConfig
from pipeline.models import layers as model
from pipeline.system.addresses import is_database
from pipeline.system.messages import masked, one_line, shown_address
from pipeline.tracking.databases import MLFLOW, is_made, make, opened
from pipeline.tracking.learning_curves import draw_learning_curves, drawn
from pipeline.tracking.relocation import old_roots, place_of
from pipeline.tracking.retry import Patient, StoreError, UnopenedStoreError, patiently
from pipeline.training.identity import ResolvedRun
from pipeline.training.result import RunResult

if TYPE_CHECKING:
    import keras
    from mlflow import MlflowClient
    from mlflow.entities import Run

KIND, SWEEP, TRIAL, SIGNATURE = "convsweep.kind", "convsweep.sweep", "convsweep.trial", "convsweep.signature"
REASON, OWNER, REUSED = "convsweep.reason", "convsweep.owner", "convsweep.reused_from"
# Tags that say how a run's numbers came about: a copy keeps them.
OF_THE_TRAINING = (
    "convsweep.threads",
    "convsweep.processor",
    "convsweep.precision",
    "convsweep.versions",
    "convsweep.stopped",
)
PARENT = "mlflow.parentRunId"
FLUSH_SECONDS = 2.0


@dataclass
class TrackedRun:
    """A run as MLflow remembers it: identity, last metrics, tags, params (as text), status, end in epoch seconds."""

    run_id: str
    status: str
    metrics: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    experiment_id: str = ""
    ended: float = 0.0

    @property
    def signature(self) -> str:
        """The run's signature, or an empty string."""
        return self.tags.get(SIGNATURE, "")

    @property
    def is_finished(self) -> bool:
        """Whether it ended well and has its final metrics, which a run damaged in MLflow's pages may have lost."""
        return self.status == "FINISHED" and "epochs" in self.metrics


def existing_tracker(store: StoreConfig) -> Tracker | None:
    """The store's tracker, if there is anything in the store; nothing is made.

    Raises:
        UnopenedStoreError: if the store cannot be opened.
    """
    if not store.exists:
        return None
    uri = store.mlflow_uri
    if is_database(uri) and not opened(uri, store.retry_seconds, lambda: is_made(uri, MLFLOW)):
        return None
    return Tracker(store)


class Tracker:
    """Writes to and reads from one MLflow store; by explicit run ids, so any number of runs may be open."""

    def __init__(self, store: StoreConfig) -> None:
        """Open the store, making its database at the first use.

        Raises:
            UnopenedStoreError: if it cannot be opened.
        """
        self.folder, self.patience, self.name = store.folder, store.retry_seconds, shown_address(store.mlflow_uri)

        def opening() -> MlflowClient:
            import mlflow

            if is_database(store.mlflow_uri):
                make(store.mlflow_uri, MLFLOW, partial(_build, root=store.folder / "artifacts"), store.folder)
            mlflow.set_tracking_uri(store.mlflow_uri)
            client = mlflow.MlflowClient(store.mlflow_uri)
            client.search_experiments(max_results=1)
            _require_own_place(store)
            return client

        set_up_mlflow()
        client = opened(store.mlflow_uri, store.retry_seconds, opening)
        self.client = cast("MlflowClient", Patient(client, store.retry_seconds, self.name))
        self._experiments: dict[str, str] = {}
        self._waiting: dict[str, list[Any]] = {}
        self._flushed: dict[str, float] = {}

    def experiment(self, name: str) -> str:
        """Id of the experiment `name`, created where it is new."""
        if name not in self._experiments:
            known = self.client.get_experiment_by_name(name)
            location = (self.folder / "artifacts" / name).as_uri()
            self._experiments[name] = known.experiment_id if known else self._new_experiment(name, location)
        return self._experiments[name]

    def _new_experiment(self, name: str, location: str) -> str:
        from mlflow.exceptions import MlflowException

        try:
            return str(self.client.create_experiment(name, location))
        except MlflowException:
            if known := self.client.get_experiment_by_name(name):  # another process was quicker
                return str(known.experiment_id)
            raise

    def is_deleted(self, experiment: str) -> bool:
        """Whether the experiment was deleted in MLflow's pages, which hides it and its runs until it is restored."""
        known = self.client.get_experiment_by_name(experiment)
        return known is not None and known.lifecycle_stage == "deleted"

    def restore(self, experiment: str, say: Callable[[str], object]) -> None:
        """Restore the experiment, and all of its runs, if it was deleted in MLflow's pages, and say so."""
        if self.is_deleted(experiment):
            self.client.restore_experiment(self.experiment(experiment))
            say(f"the experiment {experiment} was deleted in MLflow's pages: it is restored, with all of its runs")

    def open_sweep(self, sweep: str, tags: dict[str, str]) -> str:
        """Id of the sweep's parent run: the one it has, or a new one; RUNNING from now on."""
        if run := self.find_sweep(sweep):
            self.client.update_run(run.run_id, status="RUNNING")
            if REASON in run.tags:
                self.client.delete_tag(run.run_id, REASON)
            self.tag(run.run_id, tags | {OWNER: owner()})
            return run.run_id
        return self._create(sweep, sweep, tags | {KIND: "sweep", SWEEP: sweep})

    def open_run(
        self, run: ResolvedRun, experiment: str, name: str, tags: dict[str, str], overrides: Sequence[str]
    ) -> str:
        """Create a RUNNING run with its params, tags, dataset and config files; return its id."""
        run_id = self._create(experiment, name, {KIND: "run"} | run.tags | tags)
        try:
            self._describe(run_id, run, overrides)
        except BaseException as error:  # it was not trained: it is the store, or the user, that ended it
            self.close(run_id, "KILLED", one_line(error))
            raise
        return run_id

    def _describe(self, run_id: str, run: ResolvedRun, overrides: Sequence[str]) -> None:
        """Log a new run's params, dataset and config files."""
        from mlflow.entities import Dataset, DatasetInput, InputTag, Param

        config = run.composed
        params = [Param(key, as_text(value)) for key, value in flatten(without_store(config)).items()]
        self.client.log_batch(run_id, params=params)
        source = json.dumps({"uri": config.data.name})
        schema = json.dumps({"shape": config.data.shape, "task": config.data.task})
        used = Dataset(config.data.name, run.data_sha256[:32], "local", source, schema)
        self.client.log_inputs(run_id, [DatasetInput(used, [InputTag("mlflow.data.context", "training")])])
        with self._folder_for(run_id) as folder:
            (folder / "config.yaml").write_text(yaml.safe_dump(without_store(config), sort_keys=False))
            given = [override for override in overrides if not is_of_store(override)]
            (folder / "overrides.yaml").write_text(yaml.safe_dump(given))
            (folder / "model_summary.txt").write_text(model.summary(config) + "\n")

    def log_epoch(self, run_id: str, epoch: int, metrics: dict[str, float]) -> None:
        """Log one epoch's metrics with step `epoch`; written at once or within a few seconds."""
        from mlflow.entities import Metric

        now = time.time()
        waiting = self._waiting.setdefault(run_id, [])
        waiting += [Metric(name, value, int(now * 1000), epoch) for name, value in metrics.items()]
        if now - self._flushed.get(run_id, 0) > FLUSH_SECONDS:
            self._flush(run_id)

    def log_epochs(self, run_id: str, result: RunResult) -> None:
        """Log every epoch of a result."""
        for epoch in range(1, result.epochs + 1):
            self.log_epoch(run_id, epoch, {metric: values[epoch - 1] for metric, values in result.history.items()})

    def finish_run(self, run_id: str, result: RunResult, title: str) -> str:
        """Log the final metrics and the learning curves, and close the run as FINISHED.

        Returns a line that says why the curves cannot be drawn; an empty string where they are.
        """
        self.log_epoch(run_id, 0, result.final)  # MLflow's page draws bars for what has no step but 0
        if result.stopped:
            self.tag(run_id, {"convsweep.stopped": result.stopped})
        with self._folder_for(run_id) as folder:
            trouble = drawn(partial(draw_learning_curves, result, title), folder / "learning_curves.png")
        self.close(run_id, "FINISHED")
        return trouble

    def close(
        self, run_id: str, status: str, reason: str = "", details: str = "", tags: dict[str, str] | None = None
    ) -> None:
        """Close a run as `status` (FINISHED, FAILED, KILLED) with the reason as a tag, details as an artifact."""
        self._flush(run_id)
        if reason or tags:
            self.tag(run_id, (tags or {}) | ({REASON: masked(reason)[:5000]} if reason else {}))
        if details:
            self.client.log_text(run_id, masked(details), "traceback.txt")
        self.client.set_terminated(run_id, status)

    def find_finished(self, signature: str) -> TrackedRun | None:
        """A finished run with this signature; None where there is none."""
        found = self._search(self._all_experiments(), {SIGNATURE: signature}, "attributes.status = 'FINISHED'")
        return next((run for run in found if run.is_finished), None)

    def get(self, run_id: str) -> TrackedRun:
        """Return one run.

        Raises:
            StoreError: if there is no such run.
        """
        run = self.find(run_id)
        if run is None:
            raise StoreError(f"the run {run_id} is no longer in the store")
        return run

    def find(self, run_id: str) -> TrackedRun | None:
        """Return one run; None where it was deleted in MLflow's pages, or with its database."""
        from mlflow.exceptions import MlflowException

        try:
            run = self.client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None
        return _tracked(run) if run.info.lifecycle_stage == "active" else None

    def with_sources(self, run: TrackedRun) -> list[TrackedRun]:
        """Return the run, and where it is a copy those that it was copied from, as far as they are there."""
        found = [run]
        while source := self.find(found[-1].tags[REUSED]) if REUSED in found[-1].tags else None:
            found.append(source)
        return found

    def children(self, parent: str, sweep: str) -> list[TrackedRun]:
        """All runs of the sweep with the parent run `parent`."""
        return list(self._search([self.experiment(sweep)], {PARENT: parent}))

    def history(self, run_id: str) -> dict[str, list[float]]:
        """Per metric that has a value per epoch, its values in the order of the epochs.

        MLflow orders by time of day, which a clock that is set back in mid-run turns around.
        """
        names = [n for n in self.client.get_run(run_id).data.metrics if n.split("/")[0] in ("train", "val", "test")]
        by_epoch = {n: {m.step: m.value for m in self.client.get_metric_history(run_id, n)} for n in names}
        return {n: [values[epoch] for epoch in sorted(values)] for n, values in by_epoch.items()}

    def copy_run(self, source: TrackedRun, run: ResolvedRun, experiment: str, name: str, tags: dict[str, str]) -> str:
        """A new finished run with the metrics of `source`, tagged with where they come from. Nothing is trained."""
        kept = {key: source.tags[key] for key in OF_THE_TRAINING if key in source.tags}
        run_id = self.open_run(run, experiment, name, tags | kept | {REUSED: source.run_id}, [])
        result = RunResult(self.history(source.run_id))
        result.final = {name: value for name, value in source.metrics.items() if name not in result.history}
        self.log_epochs(run_id, result)
        self.finish_run(run_id, result, name)
        return run_id

    def close_abandoned(self) -> int:
        """Close as KILLED every run whose process is gone; how many there were."""
        abandoned = [
            run
            for run in self._search(self._all_experiments(), {}, "attributes.status = 'RUNNING'")
            if OWNER in run.tags and not is_alive(run.tags[OWNER])
        ]
        for run in abandoned:
            self.close(run.run_id, "KILLED", "its process ended without a word")
        return len(abandoned)

    def prepare_log_model(self) -> None:
        """Import ahead what `log_model` imports."""
        import mlflow.keras  # noqa: F401

    def log_model(self, run_id: str, net: keras.Model, config: RunConfig) -> None:
        """Log a Keras model with its signature as the run's `model`."""
        import keras
        import mlflow.keras
        import numpy as np
        from mlflow.models import Model, ModelSignature
        from mlflow.types import Schema, TensorSpec

        # Model.log files a model under the active experiment, whatever its run's is.
        mlflow.set_experiment(experiment_id=self.client.get_run(run_id).info.experiment_id)
        shape = (-1, *config.data.shape)
        inputs = Schema([TensorSpec(np.dtype(np.float32), shape)])
        outputs = Schema([TensorSpec(np.dtype(np.float32), (-1, config.data.outputs))])
        log = partial(
            Model.log,
            None,
            mlflow.keras,
            name="model",
            run_id=run_id,
            model=net,
            signature=ModelSignature(inputs, outputs),
            pip_requirements=[f"keras=={keras.__version__}", "tensorflow"],
        )
        patiently(log, self.patience, self.name)

    def has_model(self, run_id: str) -> bool:
        """Whether a model is logged with the run."""
        return self._model_id(run_id) is not None

    def _model_id(self, run_id: str) -> str | None:
        """Id of the run's logged model; None where none is, it was deleted, or logging it was cut off."""
        outputs = self.client.get_run(run_id).outputs
        ids = [str(output.model_id) for output in (outputs.model_outputs if outputs else None) or []]
        return next((each for each in ids if self._is_ready(each)), None)

    def _is_ready(self, model_id: str) -> bool:
        from mlflow.exceptions import MlflowException

        with suppress(MlflowException):  # deleted in MLflow's pages
            return bool(self.client.get_logged_model(model_id).status == "READY")
        return False

    def model_file(self, run_id: str, folder: Path) -> Path | None:
        """The `.keras` file of the run's logged model, fetched into `folder`; None where none is logged."""
        model_id = self._model_id(run_id)
        if model_id is None:
            return None
        import mlflow.artifacts

        fetch = partial(mlflow.artifacts.download_artifacts, artifact_uri=f"models:/{model_id}", dst_path=str(folder))
        fetched = Path(patiently(fetch, self.patience, self.name))
        return next(iter(sorted(fetched.rglob("*.keras"))), None)

    def runs_beginning(self, letters: str) -> list[TrackedRun]:
        """All runs whose id begins so."""
        return [run for run in self._search(self._all_experiments(), {}) if run.run_id.startswith(letters)]

    def registered_run(self, name: str, alias: str) -> TrackedRun | None:
        """The run whose model is registered as `name` under `alias`; None where there is none."""
        from mlflow.exceptions import MlflowException

        try:
            return self.get(cast("str", self.client.get_model_version_by_alias(name, alias).run_id))
        except MlflowException:
            return None

    def registered_names(self) -> list[str]:
        """Names of all registered models."""
        return sorted(model.name for model in self.client.search_registered_models())

    def register(self, run_id: str, name: str, alias: str) -> bool:
        """Register the run's logged model as the newest version of `name` under `alias`; False where it has none.

        A model that is registered under the alias already is left as it is.
        """
        from mlflow.exceptions import MlflowException

        model_id = self._model_id(run_id)
        if model_id is None:
            return False
        with suppress(MlflowException):  # no such name or alias yet
            if self.client.get_model_version_by_alias(name, alias).source == f"models:/{model_id}":
                return True
        with suppress(MlflowException):  # known already
            self.client.create_registered_model(name)
        version = self.client.create_model_version(name, f"models:/{model_id}", run_id, model_id=model_id)
        self.client.set_registered_model_alias(name, alias, version.version)
        return True

    def epoch_times(self, cost_key: str, threads: int) -> list[tuple[float, int]]:
        """Return seconds and epochs of finished runs with this cost key and as many threads, copies left out."""
        tags = {"convsweep.cost_key": cost_key, "convsweep.threads": str(threads)}
        found = self._search(self._all_experiments(), tags, "attributes.status = 'FINISHED'")
        return [
            (run.metrics["seconds"], int(run.params["trainer.epochs"]))
            for run in found
            if REUSED not in run.tags and "convsweep.stopped" not in run.tags and "seconds" in run.metrics
        ]

    def log_files(self, run_id: str, files: Iterable[Path], folder: str | None = None) -> None:
        """Log files as artifacts of a run, in a folder of its artifacts if one is given."""
        for file in files:
            self.client.log_artifact(run_id, str(file), folder)

    def write_file(self, run_id: str, name: str, text: str) -> None:
        """Log a text as the artifact `name` of a run."""
        self.client.log_text(run_id, text, name)

    def read_file(self, run_id: str, name: str) -> str | None:
        """The text of the artifact `name` of a run; None where there is none."""
        if not any(artifact.path == name for artifact in self.client.list_artifacts(run_id)):
            return None
        with tempfile.TemporaryDirectory() as scratch:
            return Path(self.client.download_artifacts(run_id, name, scratch)).read_text(errors="replace")

    def tag(self, run_id: str, tags: dict[str, str]) -> None:
        """Set tags of a run."""
        from mlflow.entities import RunTag

        self.client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def replace_tags(self, run_id: str, prefix: str, tags: dict[str, str]) -> None:
        """Set tags of a run, and take away its others that begin with `prefix`."""
        for key in self.get(run_id).tags:
            if key.startswith(prefix) and key not in tags:
                self.client.delete_tag(run_id, key)
        self.tag(run_id, tags)

    def find_sweep(self, sweep: str) -> TrackedRun | None:
        """The sweep's parent run; None where there is none."""
        if self.client.get_experiment_by_name(sweep) is None or self.is_deleted(sweep):
            return None
        return next(self._search([self.experiment(sweep)], {KIND: "sweep", SWEEP: sweep}), None)

    def save_view(self, sweep: str, parent: str, columns: list[str]) -> str:
        """Save a view of the sweep for MLflow's page and return the page's address behind host and port.

        Runs of one config are a group, called as the config is, with their metrics averaged.

        Args:
            sweep: Name of the experiment.
            parent: The sweep's parent run; the view shows its runs.
            columns: Columns of the table, as in `metrics.test/accuracy` or `params.model.filters`.
        """
        experiment = self.experiment(sweep)
        key = f"convsweep-{zlib.crc32(parent.encode()):08x}"
        now = int(time.time() * 1000)
        state = {
            "searchFilter": f"tags.`{PARENT}` = '{parent}'",
            "orderByKey": "attributes.start_time",
            "orderByAsc": True,
            "selectedColumns": [f"{kind}.`{name}`" for kind, _, name in (c.partition(".") for c in columns)],
            "runsHiddenMode": "SHOWALL",
            "groupBy": {
                "aggregateFunction": "average",
                "groupByKeys": [{"mode": "tag", "groupByData": TRIAL}],
            },
            "useGroupedValuesInCharts": True,
            "hideEmptyCharts": True,
        }
        packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
        view = {"name": sweep, "createdAt": now, "updatedAt": now, "state": f"deflate;{packed}"}
        self.client.set_experiment_tag(experiment, f"mlflow.sharedViewState.{key}", json.dumps(view))
        self.client.set_experiment_tag(experiment, "convsweep.view", key)
        return view_path(experiment, key)

    def sweeps(self) -> list[str]:
        """Names of all experiments that hold runs of ours."""
        return sorted(e.name for e in self.client.search_experiments() if e.name != "Default")

    def _all_experiments(self) -> list[str]:
        return [e.experiment_id for e in self.client.search_experiments()]

    def _create(self, experiment: str, name: str, tags: dict[str, str]) -> str:
        user = {"mlflow.user": getpass.getuser(), "mlflow.source.name": "convsweep", OWNER: owner()}
        run = self.client.create_run(self.experiment(experiment), run_name=name, tags=user | tags)
        return str(run.info.run_id)

    def _flush(self, run_id: str) -> None:
        if waiting := self._waiting.pop(run_id, []):
            self.client.log_batch(run_id, metrics=waiting)
            self._flushed[run_id] = time.time()

    def _search(self, experiments: list[str], tags: dict[str, str], also: str = "") -> Iterator[TrackedRun]:
        wanted = " and ".join([f"tags.`{key}` = '{value}'" for key, value in tags.items()] + ([also] if also else []))
        token = None
        while True:
            page = self.client.search_runs(experiments, wanted, max_results=1000, page_token=token)
            yield from map(_tracked, page)
            token = page.token
            if not token:
                return

    @contextmanager
    def _folder_for(self, run_id: str) -> Iterator[Path]:
        """A scratch folder whose files become artifacts of the run."""
        with tempfile.TemporaryDirectory() as scratch:
            yield Path(scratch)
            self.client.log_artifacts(run_id, scratch)


def _require_own_place(store: StoreConfig) -> None:
    """Raise UnopenedStoreError where the store was moved or copied: files would be looked for in the old place."""
    if roots := old_roots(store):
        raise UnopenedStoreError(
            f"the store {store.folder} cannot be used yet: it was moved or copied, and its database looks for files in "
            f"{', '.join(str(place_of(root)) for root in roots)}. Let it look here: "
            f"convsweep doctor --relocate store.root={store.folder}"
        )


def set_up_mlflow() -> None:
    """Say to MLflow, before it is imported, what it reads from the environment."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # The patience with a server that is away is ours: MLflow's own takes four minutes, and says nothing.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # It logs what it raises, with the traceback; we tell it in one line, or try again.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def _build(uri: str, root: Path) -> None:
    """Make MLflow's tables in the empty database at `uri`; what the default experiment logs goes below `root`."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore(uri, root.as_uri())  # type: ignore[no-untyped-call]
    SqlAlchemyStore._engine_map.pop(uri).dispose()  # MLflow keeps them for ever, and this address is gone


def view_path(experiment: str, key: str | None) -> str:
    """Address of an experiment's page behind host and port: charts of a saved view, or its table of runs."""
    query = {"workflowType": "machine_learning"}
    query |= {"viewStateShareKey": key, "compareRunsMode": "CHART"} if key else {}
    return f"/#/experiments/{experiment}/runs?{urlencode(query)}"


def run_path(run: TrackedRun) -> str:
    """Address of a run's page behind host and port."""
    return f"/#/experiments/{run.experiment_id}/runs/{run.run_id}"


def owner() -> str:
    """Host, process and its start: what tells whether a RUNNING run still has someone who runs it."""
    return f"{socket.gethostname()}:{os.getpid()}:{_started(os.getpid())}"


def is_alive(owner: str) -> bool:
    """Whether the process that `owner` names may still live; True for other hosts, of which nothing is known."""
    host, pid, started = owner.rsplit(":", 2)
    return host != socket.gethostname() or _started(int(pid)) == started


def _started(pid: int) -> str:
    """When a process started, which tells it from a later one with its number; empty where it is gone.

    On Linux in clock ticks since the machine started: seconds of the day change where the clock is set.
    """
    import psutil

    stat = Path(f"/proc/{pid}/stat")
    with suppress(OSError, psutil.Error):
        if Path("/proc/self/stat").exists():
            return stat.read_text().rpartition(")")[2].split()[19]
        return f"{psutil.Process(pid).create_time():.0f}"
    return ""


def _tracked(run: Run) -> TrackedRun:
    return TrackedRun(
        run.info.run_id,
        run.info.status,
        dict(run.data.metrics),
        dict(run.data.tags),
        dict(run.data.params),
        run.info.experiment_id,
        (run.info.end_time or 0) / 1000,
    )


def as_text(value: object) -> str:
    """A param's value as MLflow keeps it."""
    return "null" if value is None else str(value)
