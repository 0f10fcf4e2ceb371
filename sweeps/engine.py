"""Runs a sweep's missing runs on workers: schedules, tracks, tells the study, and closes all whatever happens."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from pipeline import model
from pipeline.config import RunConfig
from pipeline.hardware import cores
from pipeline.progress import Watch
from pipeline.run import checkpoint_file, run_name, run_tags
from pipeline.tracking import PARENT, SWEEP, TRIAL, TrackedRun, Tracker
from sweeps.study import Study, Sweep, Trial
from sweeps.workers import Done, Epoch, Failed, Job, Message, Pool, Steps


@dataclass
class Unit:
    """One run of a sweep: a trial with one seed, and what became of it."""

    trial: Trial
    seed: int
    config: RunConfig
    tags: dict[str, str]
    tracked: TrackedRun | None = None
    run_id: str = ""
    reason: str = ""

    @property
    def key(self) -> str:
        """Unique within the sweep."""
        return f"{self.trial.label} seed={self.seed}"

    @property
    def cost(self) -> int:
        """Arithmetic of one example: what runs are ordered by."""
        return model.multiplications(model.layers(self.config))

    @property
    def name(self) -> str:
        """The run's name: what differs."""
        return run_name(list(self.trial.overrides), self.seed)


@dataclass
class Engine:
    """One launch of a sweep."""

    sweep: Sweep
    tracker: Tracker
    study: Study
    parent: str
    data_sha256: str
    watch: Watch
    units: list[Unit] = field(default_factory=list)
    asked: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """List the runs, trial by trial."""
        for trial in self.sweep.trials:
            for seed in self.sweep.seeds:
                config = trial.config(seed)
                tags = {SWEEP: self.sweep.name, TRIAL: trial.label, PARENT: self.parent}
                self.units.append(Unit(trial, seed, config, tags | run_tags(config, self.data_sha256)))

    def reuse(self) -> int:
        """Take what is tracked already; runs of other sweeps are copied. The number of runs left to train."""
        children = {
            r.signature: r for r in self.tracker.children(self.parent, self.sweep.name) if r.status == "FINISHED"
        }
        for unit in self.units:
            signature = unit.tags["convsweep.signature"]
            unit.tracked = children.get(signature)
            if unit.tracked is None and (known := self.tracker.find_finished(signature)):
                copy = self.tracker.copy_run(known, unit.config, self.sweep.name, unit.name, unit.tags)
                unit.tracked = self.tracker.get(copy)
        return sum(unit.tracked is None for unit in self.units)

    def run(self) -> None:
        """Train what `reuse` left, seed by seed so that every config has a result early, dearest first; tell all."""
        missing = deque(sorted((u for u in self.units if u.tracked is None), key=lambda u: (u.seed, -u.cost)))
        self.watch.on_total(len(missing))
        count = min(self.sweep.workers or cores(), max(1, len(missing)))
        try:
            if missing:
                threads = self.sweep.threads or max(1, cores() // count)
                with Pool(count, threads) as pool:
                    self._train(pool, missing, threads)
            for trial in self.sweep.trials:
                self._tell(trial)
        except BaseException:
            self._close_open_runs()
            raise

    def _train(self, pool: Pool, missing: deque[Unit], threads: int) -> None:
        running: dict[str, Unit] = {}
        while missing or running:
            while missing and pool.idle:
                self._start(pool, missing.popleft(), running, threads)
            for key, message in pool.messages(timeout=1.0):
                if isinstance(message, Done | Failed):
                    unit = running.pop(key)
                    if missing:  # the worker goes on while its last run is written down
                        self._start(pool, missing.popleft(), running, threads)
                    self._end(unit, message)
                else:
                    self._follow(pool, running[key], message)

    def _start(self, pool: Pool, unit: Unit, running: dict[str, Unit], threads: int) -> None:
        wanted = self.sweep.store.log_model != "none"
        save_to = checkpoint_file(unit.config, unit.tags["convsweep.signature"]) if wanted else None
        pool.start(Job(unit.key, unit.config, save_to))
        running[unit.key] = unit
        self._ask(unit.trial)
        unit.tags["convsweep.threads"] = str(threads)
        overrides = [*unit.trial.overrides, f"seed={unit.seed}"]
        unit.run_id = self.tracker.open_run(unit.config, self.sweep.name, unit.name, unit.tags, overrides)

    def _follow(self, pool: Pool, unit: Unit, message: Message) -> None:
        epochs = unit.config.trainer.epochs
        if isinstance(message, Steps):
            self.watch.on_steps(unit.key, epochs, message.epoch, message.step, message.steps, message.metrics)
        elif isinstance(message, Epoch):
            pool.answer(unit.key, go_on=True)
            self.watch.on_epoch(unit.key, epochs, message.epoch, message.metrics)
            self.tracker.log_epoch(unit.run_id, message.epoch, message.metrics)

    def _end(self, unit: Unit, message: Done | Failed) -> None:
        if isinstance(message, Done):
            self.tracker.finish_run(unit.run_id, message.result, unit.key)
            unit.tracked = self.tracker.get(unit.run_id)
            self.watch.on_end(unit.key, "finished")
        else:
            unit.reason = message.reason
            self.tracker.close(unit.run_id, "FAILED", message.reason, message.details)
            self.watch.on_end(unit.key, f"failed: {message.reason}")
        unit.run_id = ""

    def _ask(self, trial: Trial) -> None:
        if trial.label not in self.asked and not self.study.is_complete(trial):
            self.asked[trial.label] = self.study.ask(trial)

    def _tell(self, trial: Trial) -> None:
        """Tell the study the trial's mean over its seeds, or its failure."""
        self._ask(trial)
        units = [unit for unit in self.units if unit.trial is trial]
        asked = self.asked.pop(trial.label, None)
        if asked is None:
            return
        runs = [unit.tracked for unit in units if unit.tracked]
        if len(runs) < len(units):
            self.study.fail(asked, "; ".join(f"{unit.key}: {unit.reason}" for unit in units if not unit.tracked))
            return
        metric = self.sweep.objective
        values = {str(unit.seed): run.metrics[metric] for unit, run in zip(units, runs, strict=True)}
        attrs = {"seeds": [unit.seed for unit in units], "values": values, "metric": metric}
        attrs["run_ids"] = [run.run_id for run in runs]
        attrs["signatures"] = [run.signature for run in runs]
        self.study.complete(asked, fmean(values.values()), attrs)

    def _close_open_runs(self) -> None:
        for unit in self.units:
            if unit.run_id:
                self.tracker.close(unit.run_id, "KILLED", "the sweep was interrupted")
        for asked in self.asked.values():
            self.study.fail(asked, "the sweep was interrupted")
