"""Runs copied from a store to another, as from a folder to a server: with files and models, each once."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config.checks import ConfigError
from pipeline.config.overrides import in_store
from pipeline.tracking.reader import KIND, LAUNCH, OWNER, PARENT, REUSED, RunReader, TrackedRun
from pipeline.tracking.registry import ModelRegistry
from pipeline.tracking.tracker import CREATION, Tracker

if TYPE_CHECKING:
    from mlflow.entities import Run

COPIED = "convsweep.copied_from"  # tag: the run's id in the store that it was copied from
OF_RUNS = (PARENT, REUSED)  # tags that name other runs
LEFT = (CREATION, OWNER, LAUNCH, "mlflow.log-model.history")  # tags of the store, not of the run
AT_ONCE = 1000  # metrics that MLflow takes in one request


class RunCopies:
    """Copies of a store's runs in another, by the ids that they had; what was copied earlier is found."""

    def __init__(self, source: RunReader, target: Tracker, experiments: Iterable[str]) -> None:
        """Look up what is to be copied, and what was.

        Raises:
            ConfigError: if a run is not ended yet, or the target has another sweep of the same name.
        """
        self.source, self.target = source, target
        self._models = ModelRegistry(source.client, source.store)
        self.ids: dict[str, str] = {}
        self._runs: list[tuple[str, TrackedRun]] = []
        for name in experiments:
            runs = source.runs(name)
            if open_runs := [run.run_id for run in runs if run.status == "RUNNING"]:
                raise ConfigError(
                    f"{len(open_runs)} runs of {name} are not ended; wait, or close those whose process is gone: "
                    + in_store("convsweep doctor --close", source.store.folder)
                )
            self._find(name, runs)
            self._runs += [(name, run) for run in runs]

    def _find(self, experiment: str, runs: list[TrackedRun]) -> None:
        """Find the copies that are whole, and delete those that are not.

        A copy of a sweep that is RUNNING by a launch was whole: that launch went on with it.
        """
        there = self.target.runs(experiment)
        wanted = {run.run_id for run in runs}
        for run in there:
            if run.tags.get(KIND) == "sweep" and run.tags.get(COPIED) not in wanted:
                raise ConfigError(
                    f"{self.target.store.place} has another sweep {experiment}: rename its experiment in MLflow's pages"
                )
        copies = {run.tags[COPIED]: run for run in there if run.tags.get(COPIED) in wanted}
        for old, run in copies.items():
            if run.status == "RUNNING" and not run.tags.get(LAUNCH):  # copying it was cut off
                self.target.client.delete_run(run.run_id)
            else:
                self.ids[old] = run.run_id

    def copy(self, check: Callable[[], object]) -> int:
        """Copy the runs that were not copied yet, the eldest first, which others name; return how many there were.

        Call `check` before each, which raises if another process copies by now.
        """
        missing = [(experiment, run.run_id) for experiment, run in self._runs if run.run_id not in self.ids]
        started = [(experiment, self.source.client.get_run(run_id)) for experiment, run_id in missing]
        for experiment, run in sorted(started, key=lambda pair: (pair[1].info.start_time, pair[1].info.run_id)):
            check()
            self.ids[run.info.run_id] = self._copy(experiment, run)
        return len(missing)

    def _copy(self, experiment: str, run: Run) -> str:
        from mlflow.entities import Param

        target, old = self.target, run.info.run_id
        tags = {key: value for key, value in run.data.tags.items() if key not in LEFT} | {COPIED: old}
        tags |= {key: self.ids.get(tags[key], tags[key]) for key in OF_RUNS if key in tags}
        run_id = target.create(experiment, run.info.run_name or "", tags, run.info.start_time)
        target.client.log_batch(run_id, params=[Param(*item) for item in run.data.params.items()])
        metrics = [each for name in run.data.metrics for each in self.source.client.get_metric_history(old, name)]
        for first in range(0, len(metrics), AT_ONCE):
            target.client.log_batch(run_id, metrics=metrics[first : first + AT_ONCE])
        if run.inputs and run.inputs.dataset_inputs:
            target.client.log_inputs(run_id, run.inputs.dataset_inputs)
        models = self._copy_models(run, run_id)
        with tempfile.TemporaryDirectory() as scratch:
            for file in self.source.client.list_artifacts(old):
                if file.path not in models:
                    self.source.client.download_artifacts(old, file.path, scratch)
            target.client.log_artifacts(run_id, scratch)
        target.client.set_terminated(run_id, run.info.status, run.info.end_time)
        return str(run_id)

    def _copy_models(self, run: Run, run_id: str) -> set[str]:
        """Copy the models that are logged with a run; return their names."""
        names = set()
        for output in (run.outputs.model_outputs if run.outputs else None) or []:
            with tempfile.TemporaryDirectory() as scratch:
                if found := self._models.download(output.model_id, Path(scratch)):
                    name, folder = found
                    self.target.models.upload(folder, name, run_id, output.step)
                    names.add(name)
        return names

    def register(self, alias: str) -> int:
        """Register the copied models as the source has them under `alias`; return how many there are.

        A name that has the alias in the target stays as it is: its sweep went on there.
        """
        names = [n for n in self._models.registered_names() if not self.target.models.registered_run(n, alias)]
        registered = {name: found for name in names if (found := self._models.registered(name, alias))}
        copied = [(self.ids[run_id], name, said) for name, (run_id, said) in registered.items() if run_id in self.ids]
        return sum(self.target.models.register(run_id, name, alias, said) for run_id, name, said in copied)
