"""Runs written to MLflow: parameters, metrics, artifacts, and how they ended."""

from __future__ import annotations

import getpass
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import yaml

from pipeline.config.compose import without_store
from pipeline.config.overrides import is_of_store
from pipeline.config.schema import StoreConfig
from pipeline.models import layers as model
from pipeline.system.messages import masked, one_line
from pipeline.system.plotting import try_to_draw
from pipeline.tracking.databases import MLFLOW, is_made, opened
from pipeline.tracking.experiments import Experiments
from pipeline.tracking.learning_curves import draw_learning_curves
from pipeline.tracking.leases import living
from pipeline.tracking.ownership import owner
from pipeline.tracking.params import params_of
from pipeline.tracking.reader import KIND, LAUNCH, OWNER, REASON, REUSED, SWEEP, RunReader, TrackedRun
from pipeline.tracking.registry import ModelRegistry
from pipeline.tracking.relocation import require_own_place
from pipeline.tracking.retry import created
from pipeline.training.identity import ResolvedRun
from pipeline.training.result import RunResult

if TYPE_CHECKING:
    from mlflow import MlflowClient

# Tags on how a run's numbers came about, which a copy keeps.
IMAGE_STATISTICS = "convsweep.image_statistics"
OF_THE_TRAINING = (
    *(f"convsweep.{name}" for name in ("threads", "processor", "precision", "versions", "stopped")),
    IMAGE_STATISTICS,
)
CREATION = "convsweep.creation"  # tag: which call created the run, so that it is not repeated
FLUSH_SECONDS = 2.0
SUMMARY = "model_summary.txt"


def existing_tracker(store: StoreConfig) -> Tracker | None:
    """Return the store's tracker if there is anything in the store; create nothing.

    Raises:
        UnopenedStoreError: if the store cannot be opened.
    """
    uri = store.mlflow_uri
    if store.exists and (store.is_server or opened(uri, store.retry_seconds, lambda: is_made(uri, MLFLOW))):
        return Tracker(store)
    return None


class Tracker(RunReader):
    """Reads and writes the runs of one MLflow store, by run id, so that any number of them may be open.

    Attributes:
        launch: Names the launch whose runs these are, see `Leases.tag`.
    """

    launch = ""

    def __init__(self, store: StoreConfig) -> None:
        """Open the store, creating its database on first use.

        Raises:
            UnopenedStoreError: if it cannot be opened, or was moved.
        """
        super().__init__(store)
        opened(store.mlflow_uri, store.retry_seconds, partial(require_own_place, store))
        self.models = ModelRegistry(self.client, store)
        self._experiments = Experiments(self)
        self._waiting: dict[str, list[Any]] = {}
        self._flushed: dict[str, float] = {}

    def experiment(self, name: str) -> str:
        """Return the id of the experiment `name`, creating it if needed. Raises as `Experiments.id_of`."""
        return self._experiments.id_of(name)

    def restore(self, experiment: str, say: Callable[[str], object]) -> None:
        """Restore the experiment and its runs if it was deleted in MLflow's pages, and say so."""
        if self.is_deleted(experiment):
            self.client.restore_experiment(self.experiment(experiment))
            say(f"the experiment {experiment} was deleted in MLflow's pages: it is restored, with all of its runs")

    def open_sweep(self, sweep: str, tags: dict[str, str], params: dict[str, str] | None = None) -> str:
        """Return the id of the sweep's parent run, an earlier launch's or a new one, RUNNING from now on.

        Its params are those of the first launch.
        """
        from mlflow.entities import Param

        if run := self.find_sweep(sweep):
            self.client.update_run(run.run_id, status="RUNNING")
            self._delete_tag(run, REASON)
            self.tag(run.run_id, tags | self._by)
            run_id, params = run.run_id, None if run.params else params
        else:
            run_id = self.create(sweep, sweep, tags | {KIND: "sweep", SWEEP: sweep})
        self.client.log_batch(run_id, params=[Param(*item) for item in (params or {}).items()])
        return run_id

    def open_run(
        self, run: ResolvedRun, experiment: str, name: str, tags: dict[str, str], overrides: Sequence[str]
    ) -> str:
        """Create a RUNNING run with its params, tags, dataset and config files; return its id."""
        run_id = self.create(experiment, name, {KIND: "run"} | run.tags | tags)
        try:
            self._describe(run_id, run, overrides)
        except BaseException as error:  # it was not trained: it is the store, or the user, that ended it
            self.close(run_id, "KILLED", one_line(error))
            raise
        return run_id

    def _describe(self, run_id: str, run: ResolvedRun, overrides: Sequence[str]) -> None:
        """Log a new run's params, dataset and config files."""
        from mlflow.entities import Dataset, DatasetInput, InputTag, Param

        config, data = without_store(run.composed), run.composed.data
        self.client.log_batch(run_id, params=[Param(*item) for item in params_of(run.composed, overrides).items()])
        source = json.dumps({"uri": data.name})
        schema = json.dumps({"shape": data.shape, "task": data.task})
        used = Dataset(data.name, run.data_sha256[:32], "local", source, schema)
        self.client.log_inputs(run_id, [DatasetInput(used, [InputTag("mlflow.data.context", "training")])])
        with self._folder_for(run_id) as folder:
            (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
            given = [override for override in overrides if not is_of_store(override)]
            (folder / "overrides.yaml").write_text(yaml.safe_dump(given))
            if run.layers is not None:  # else it comes with the result
                (folder / SUMMARY).write_text(model.summary(run.layers) + "\n")

    def log_epoch(self, run_id: str, epoch: int, metrics: dict[str, float]) -> None:
        """Log one epoch's metrics with step `epoch`, at once or within a few seconds."""
        from mlflow.entities import Metric

        now = time.time()
        waiting = self._waiting.setdefault(run_id, [])
        waiting += [Metric(name, value, int(now * 1000), epoch) for name, value in metrics.items()]
        if now - self._flushed.get(run_id, 0) > FLUSH_SECONDS:
            self._flush(run_id)

    def _flush(self, run_id: str) -> None:
        if waiting := self._waiting.pop(run_id, []):
            self.client.log_batch(run_id, metrics=waiting)
            self._flushed[run_id] = time.time()

    def log_epochs(self, run_id: str, result: RunResult) -> None:
        """Log every epoch of a result."""
        for epoch in range(1, result.epochs + 1):
            self.log_epoch(run_id, epoch, {metric: values[epoch - 1] for metric, values in result.history.items()})

    def finish_run(self, run_id: str, result: RunResult, title: str) -> str:
        """Log the final metrics and the learning curves, and close the run as FINISHED.

        Return one line on why the curves cannot be drawn, or an empty string.
        """
        self.log_epoch(run_id, 0, result.final)  # MLflow's page draws bars only for metrics whose last step is 0
        if result.stopped:
            self.tag(run_id, {"convsweep.stopped": result.stopped})
        if result.image_statistics:
            self.tag(run_id, {IMAGE_STATISTICS: result.image_statistics.as_text()})
        with self._folder_for(run_id) as folder:
            if result.summary:
                (folder / SUMMARY).write_text(result.summary + "\n")
            trouble = try_to_draw(partial(draw_learning_curves, result, title), folder / "learning_curves.png")
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
            self.write_file(run_id, "traceback.txt", masked(details))
        self.client.set_terminated(run_id, status)

    def close_abandoned(self) -> int:
        """Close as KILLED every run whose launch is gone; return their number."""
        running = [run for run in self._search({}, status="RUNNING") if OWNER in run.tags]
        launches = living(self.store) if running else None
        abandoned = [run for run in running if launches and launches.are_training(run.tags) is False]
        for run in abandoned:
            self.close(run.run_id, "KILLED", "the process exited without closing the run")
        return len(abandoned)

    def copy_run(self, source: TrackedRun, run: ResolvedRun, experiment: str, name: str, tags: dict[str, str]) -> str:
        """Create a finished run with the metrics of `source`, tagged with its id; return the new run's id."""
        of_training = {key: source.tags[key] for key in OF_THE_TRAINING if key in source.tags}
        run_id = self.open_run(run, experiment, name, tags | of_training | {REUSED: source.run_id}, [])
        result = RunResult(self.history(source.run_id))
        result.summary = "" if run.layers else self.read_file(source.run_id, SUMMARY) or ""
        result.final = {name: value for name, value in source.metrics.items() if name not in result.history}
        self.log_epochs(run_id, result)
        self.finish_run(run_id, result, name)
        return run_id

    def log_files(self, run_id: str, files: Iterable[Path], folder: str | None = None) -> None:
        """Log files as artifacts of a run, in `folder` of its artifacts if given."""
        for file in files:
            self.client.log_artifact(run_id, str(file), folder)

    def write_file(self, run_id: str, name: str, text: str) -> None:
        """Log a text as the artifact `name` of a run."""
        self.client.log_text(run_id, text, name)

    def tag(self, run_id: str, tags: dict[str, str]) -> None:
        """Set tags of a run."""
        from mlflow.entities import RunTag

        self.client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def replace_tags(self, run_id: str, prefix: str, tags: dict[str, str]) -> None:
        """Set tags of a run, and delete its other tags that begin with `prefix`."""
        run = self.get(run_id)
        for key in run.tags:
            if key.startswith(prefix) and key not in tags:
                self._delete_tag(run, key)
        self.tag(run_id, tags)

    def _delete_tag(self, run: TrackedRun, key: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            if key in run.tags:
                self.client.delete_tag(run.run_id, key)
        except MlflowException:  # repeated, as the answer was lost
            if key in self.get(run.run_id).tags:
                raise

    def create(self, experiment: str, name: str, tags: dict[str, str], start: int | None = None) -> str:
        """Create a RUNNING run once, whatever answer is lost; `start` in ms since 1970, None for now; return its id."""
        ours = {"mlflow.user": getpass.getuser(), "mlflow.source.name": "convsweep"} | self._by
        ours[CREATION], experiment_id = uuid4().hex, self.experiment(experiment)

        def create(client: MlflowClient) -> str:
            return str(client.create_run(experiment_id, start, ours | tags, name).info.run_id)

        def find() -> str | None:
            return next((run.run_id for run in self._search({CREATION: ours[CREATION]}, experiment=experiment)), None)

        return created(self.client, create, find)

    @property
    def _by(self) -> dict[str, str]:
        """Tags that say whose a RUNNING run is."""
        return {OWNER: owner(), LAUNCH: self.launch}

    @contextmanager
    def _folder_for(self, run_id: str) -> Iterator[Path]:
        """Yield a scratch folder whose files become artifacts of the run."""
        with tempfile.TemporaryDirectory() as scratch:
            yield Path(scratch)
            self.client.log_artifacts(run_id, scratch)
