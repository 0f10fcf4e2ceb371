"""Tracked runs as MLflow has them, found by signature, tag or id."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config.schema import StoreConfig
from pipeline.tracking.client import connect
from pipeline.tracking.retry import StoreError

if TYPE_CHECKING:
    from mlflow.entities import Experiment, Run

KIND, SWEEP, TRIAL, SIGNATURE = "convsweep.kind", "convsweep.sweep", "convsweep.trial", "convsweep.signature"
REASON, OWNER, REUSED = "convsweep.reason", "convsweep.owner", "convsweep.reused_from"
LAUNCH = "convsweep.launch"
PARENT = "mlflow.parentRunId"


@dataclass
class TrackedRun:
    """A run as MLflow has it: last metrics, tags, params (as text), status, end in seconds since 1970."""

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
        """Whether it ended well and has its final metrics, which a run edited in MLflow's pages may have lost."""
        return self.status == "FINISHED" and "epochs" in self.metrics


class RunReader:
    """Reads the runs of one MLflow store."""

    def __init__(self, store: StoreConfig) -> None:
        """Open the store.

        Raises:
            UnopenedStoreError: if it cannot be opened.
        """
        self.store, self.client = store, connect(store)

    def find_experiment(self, name: str) -> Experiment | None:
        """Return an experiment, which may be a deleted one; None if there is none."""
        return self.client.get_experiment_by_name(name)

    def is_deleted(self, experiment: str) -> bool:
        """Return whether the experiment was deleted in MLflow's pages, which hides it and its runs."""
        stored = self.find_experiment(experiment)
        return stored is not None and stored.lifecycle_stage == "deleted"

    def experiments(self) -> list[str]:
        """Return the names of all experiments but MLflow's own."""
        return sorted(e.name for e in self.client.search_experiments() if e.name != "Default")

    def sweeps(self) -> list[str]:
        """Return the names of all sweeps."""
        return [name for name in self.experiments() if self.find_sweep(name)]

    def find_sweep(self, sweep: str) -> TrackedRun | None:
        """Return the sweep's parent run, or None."""
        return next(self._search({KIND: "sweep", SWEEP: sweep}, experiment=sweep), None)

    def children(self, parent: str, sweep: str) -> list[TrackedRun]:
        """Return all runs of the sweep that have the parent run `parent`."""
        return list(self._search({PARENT: parent}, experiment=sweep))

    def runs(self, experiment: str) -> list[TrackedRun]:
        """Return all runs of an experiment, whatever they are."""
        return list(self._search({}, experiment=experiment))

    def find_finished(self, signature: str) -> TrackedRun | None:
        """Return a finished run with this signature, or None."""
        return next(iter(self.all_finished(signature)), None)

    def all_finished(self, signature: str) -> list[TrackedRun]:
        """Return the finished runs with this signature."""
        return [run for run in self._search({SIGNATURE: signature}, status="FINISHED") if run.is_finished]

    def was_trained(self, cost_key: str) -> bool:
        """Return whether a run with this cost key has finished."""
        return any(run.is_finished for run in self._search({"convsweep.cost_key": cost_key}, status="FINISHED"))

    def epoch_times(self, cost_key: str, threads: int) -> list[tuple[float, int]]:
        """Return seconds and epochs of finished runs with this cost key and as many threads, copies left out."""
        runs = self._search({"convsweep.cost_key": cost_key, "convsweep.threads": str(threads)}, status="FINISHED")
        return [
            (run.metrics["seconds"], int(run.params["trainer.epochs"]))
            for run in runs
            if REUSED not in run.tags and "convsweep.stopped" not in run.tags and "seconds" in run.metrics
        ]

    def running(self) -> list[tuple[str, str, dict[str, str]]]:
        """Return experiment, name and tags of all RUNNING runs."""
        names = {each.experiment_id: each.name for each in self.client.search_experiments()}
        found = self._search({}, status="RUNNING")
        return [(names[run.experiment_id], run.tags.get("mlflow.runName", ""), run.tags) for run in found]

    def runs_beginning(self, letters: str) -> list[TrackedRun]:
        """Return all runs whose id begins with `letters`."""
        return [run for run in self._search({}) if run.run_id.startswith(letters)]

    def get(self, run_id: str) -> TrackedRun:
        """Return one run.

        Raises:
            StoreError: if there is no such run.
        """
        if run := self.find(run_id):
            return run
        raise StoreError(f"the run {run_id} is no longer in the store")

    def find(self, run_id: str) -> TrackedRun | None:
        """Return one run; None if it was deleted in MLflow's pages, or with its database."""
        from mlflow.exceptions import MlflowException

        try:
            run = self.client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None
        return _tracked(run) if run.info.lifecycle_stage == "active" else None

    def with_sources(self, run: TrackedRun) -> list[TrackedRun]:
        """Return the run and, if it is a copy, the runs that it was copied from, as far as they still exist."""
        source = self.find(run.tags[REUSED]) if REUSED in run.tags else None
        return [run, *(self.with_sources(source) if source else [])]

    def history(self, run_id: str) -> dict[str, list[float]]:
        """Return the values of each per-epoch metric, in the order of the epochs.

        MLflow orders by time of day, which is wrong where the clock was set back during the run.
        """
        metrics = self.client.get_run(run_id).data.metrics
        names = [n for n in metrics if re.fullmatch("(train|val|test)/[^/]+", n)]  # test/accuracy/CLASS is of the end
        by_epoch = {n: {m.step: m.value for m in self.client.get_metric_history(run_id, n)} for n in names}
        return {n: [values[epoch] for epoch in sorted(values)] for n, values in by_epoch.items()}

    def read_file(self, run_id: str, name: str) -> str | None:
        """Return the text of the run's artifact `name`, or None."""
        if not any(artifact.path == name for artifact in self.client.list_artifacts(run_id)):
            return None
        with tempfile.TemporaryDirectory() as scratch:
            return Path(self.client.download_artifacts(run_id, name, scratch)).read_text(errors="replace")

    def _search(self, tags: dict[str, str], status: str = "", experiment: str = "") -> Iterator[TrackedRun]:
        """Yield the runs with these tags and this status, in one experiment or in all; deleted ones are left out."""
        experiments = [self.find_experiment(experiment)] if experiment else self.client.search_experiments()
        ids = [each.experiment_id for each in experiments if each and each.lifecycle_stage == "active"]
        wanted = [f"tags.`{key}` = '{value}'" for key, value in tags.items()]
        wanted += [f"attributes.status = '{status}'"] if status else []
        token = None
        while ids:
            page = self.client.search_runs(ids, " and ".join(wanted), max_results=1000, page_token=token)
            yield from map(_tracked, page)
            token = page.token
            if not token:
                return


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
    """Return a param's value as MLflow has it."""
    return "null" if value is None else str(value)
