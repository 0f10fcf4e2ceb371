"""Runs a sweep: trials x seeds -> workers -> results. Schedules, tracks, prunes, retries, and loses nothing."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from statistics import fmean
from types import FrameType, TracebackType
from typing import Self

from pipeline.config.schema import DataConfig, RunConfig
from pipeline.models import layers as model
from pipeline.progress import Watch, silent
from pipeline.run import run_name
from pipeline.tracking.retry import StoreError
from pipeline.tracking.tracker import PARENT, SWEEP, TRIAL, TrackedRun, Tracker
from pipeline.training.checkpoints import folder_of, free
from pipeline.training.identity import ResolvedRun, resolve
from sweeps.backends.local import Done, Epoch, Failed, Job, Keep, Message, Pool, Steps, shape
from sweeps.search.optuna_study import Study
from sweeps.sweep import Sweep, Trial

PRUNED_AT = "convsweep.pruned_at"
# Ends the label of a trial that is trained again on fresh seeds.
CONFIRMED = " confirmed"
POLL_SECONDS = 0.25


@dataclass
class Unit:
    """One run of a sweep: a trial with one seed, and what became of it."""

    trial: Trial
    seed: int
    run: ResolvedRun
    tags: dict[str, str]
    tracked: TrackedRun | None = None
    run_id: str = ""
    reason: str = ""
    pruned_at: int = 0
    unwanted: bool = False
    failures: int = 0

    @property
    def key(self) -> str:
        """Unique within the sweep."""
        return f"{self.trial.label} seed={self.seed}"

    @property
    def signature(self) -> str:
        """The run's signature."""
        return self.run.signature

    @property
    def config(self) -> RunConfig:
        """The run's config."""
        return self.run.config

    @property
    def name(self) -> str:
        """The run's name: what differs."""
        return run_name(list(self.trial.overrides), self.seed)

    @property
    def chain(self) -> str:
        """What runs share that continue one another."""
        return self.run.resume_key

    @property
    def cost(self) -> int:
        """Arithmetic of all epochs, for one example: what runs are ordered by."""
        return model.multiplications(list(self.run.layers)) * self.config.trainer.epochs

    @property
    def settled(self) -> bool:
        """Whether it has ended, one way or another."""
        return bool(self.tracked or self.reason or self.pruned_at or self.unwanted)


@dataclass
class Engine:
    """One launch of a sweep. `units` are its runs, by trial and seed, those known from earlier launches included."""

    sweep: Sweep
    tracker: Tracker
    study: Study
    parent: str
    data_sha256: Callable[[DataConfig], str]
    pool: Callable[[int], Pool]
    watch: Watch = field(default_factory=silent)
    units: list[Unit] = field(default_factory=list)
    queue: list[Unit] = field(default_factory=list)
    running: dict[str, Unit] = field(default_factory=dict)
    waiting: dict[str, list[Unit]] = field(default_factory=dict)
    by_label: dict[str, list[Unit]] = field(default_factory=dict)
    to_keep: list[Keep] = field(default_factory=list)
    keeping: set[str] = field(default_factory=set)
    not_kept: list[str] = field(default_factory=list)
    prepared: bool = False
    reused: int = 0
    stopped_by: str = ""
    _open_pool: Pool | None = None

    def __post_init__(self) -> None:
        """Look up what this sweep has finished already."""
        self.start = time.monotonic()
        self.shape = shape(self.sweep)
        self.study.is_stopped = lambda: bool(self.stopped_by) or self._out_of_time()
        children = self.tracker.children(self.parent, self.sweep.name)
        self.finished = {run.signature: run for run in children if run.is_finished}
        self.own = {(run.signature, run.tags.get(TRIAL)): run for run in children if run.is_finished}

    def __enter__(self) -> Self:
        """The engine itself; it takes workers with the first run that has to be trained."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the workers; after an error, close what is open in MLflow as KILLED and in Optuna as interrupted."""
        with _signals_handled_by(signal.SIG_IGN):  # nothing may disturb this; it takes seconds
            if self._open_pool is not None:
                self._open_pool.__exit__(kind, error, trace)
            if error is not None:
                self._close_open()

    def add_listed(self) -> None:
        """List the runs of a grid: what is tracked is taken, what is missing is queued, the dearest first."""
        for trial in self.sweep.trials or []:
            self._add(trial, self.sweep.seeds)
        self.queue.sort(key=lambda unit: -unit.cost)

    def run(self) -> None:
        """Train what is queued and, in a study, what the sampler proposes, until nothing is left or a limit is reached.

        Raises:
            KeyboardInterrupt: after Ctrl-C or SIGTERM; everything finished is recorded, what ran is closed as KILLED.
        """
        with self._signals_noted():
            for trial in self.sweep.trials or []:
                self._settle(trial)
            self._run()

    def confirm(self, trial: Trial, seeds: list[int]) -> list[Unit]:
        """Train a study's best config on fresh seeds with the test set, which no sampler has seen; its runs."""
        trainer = replace(trial.base.trainer, evaluate_test=True)
        confirmed = replace(trial, label=trial.label + CONFIRMED, base=replace(trial.base, trainer=trainer))
        before = len(self.units)
        self._add(confirmed, seeds)
        with self._signals_noted():
            self._run(propose=False)
        return self.units[before:]

    def keep(self, models: list[Keep]) -> None:
        """Have idle workers log the models of finished runs; `kept` waits for them. No run may go on meanwhile."""
        self.to_keep = list(models)
        if models:
            self._hand_out(self._opened(len(models)))

    def kept(self) -> list[str]:
        """Wait for the models to be logged; what went wrong, a line each."""
        while self.keeping:
            pool = self._opened(len(self.keeping))
            for key, message in pool.messages(POLL_SECONDS):
                self.keeping.discard(key)
                if isinstance(message, Failed):
                    self.not_kept.append(f"the model of {key} is not kept: {message.reason}")
            self._hand_out(pool)
        return self.not_kept

    def _hand_out(self, pool: Pool) -> None:
        while self.to_keep and pool.idle:
            job = self.to_keep.pop(0)
            pool.start(job)
            self.keeping.add(job.key)

    def units_of(self, label: str) -> list[Unit]:
        """Runs of one trial, in the order of the seeds."""
        return self.by_label.get(label, [])

    # -- scheduling ---------------------------------------------------------------------------------------------------

    def _run(self, propose: bool = True) -> None:
        first = self._next(propose)
        if first is None:
            self._leave(propose)
            return
        self.queue.insert(0, first)
        known = len(self.queue) if self.sweep.trials is not None or not propose else self.shape.workers
        self.watch.on_total(self._total() if propose else len(self.queue))
        pool = self._opened(known)
        while not self.stopped_by:
            self._fill(pool, propose)
            if not self.running:
                self._leave(propose)
                return
            for key, message in pool.messages(POLL_SECONDS):
                self._handle(pool, key, message, propose)
        raise KeyboardInterrupt(self.stopped_by)

    def _opened(self, runs: int) -> Pool:
        """The workers: those that are there, or as many as so many runs want."""
        if self._open_pool is None:
            self._open_pool = self.pool(min(runs, self.shape.workers)).__enter__()
        return self._open_pool

    def _leave(self, propose: bool) -> None:
        """Nothing runs any more: what a limit cut off is left to the next launch; a noted signal is obeyed."""
        if propose and self.sweep.trials is None:
            self.queue.clear()
            self.study.interrupt_open()
        if self.stopped_by:
            raise KeyboardInterrupt(self.stopped_by)

    def _fill(self, pool: Pool, propose: bool) -> None:
        while pool.idle and not self.stopped_by and (unit := self._next(propose)):
            self._start(pool, unit)
        wants_models = self.sweep.store.log_model != "none" and self.sweep.config.checkpoints.max_gib
        if pool.idle and not self.prepared and wants_models and not self.stopped_by:
            self.prepared = True
            pool.prepare(self.sweep.store)

    def _next(self, propose: bool) -> Unit | None:
        """The next run to train; None where there is none now."""
        while (unit := self._ready()) is None:
            if not propose or self.sweep.trials is not None or self._out_of_time():
                return None
            trial = self.study.next()
            if trial is None:
                return None
            self._add(trial, self.sweep.seeds)
            self._settle(trial)
        if propose and self.sweep.trials is None and self._out_of_time():
            return None
        self.queue.remove(unit)
        return unit

    def _ready(self) -> Unit | None:
        """The first queued run whose epochs no other trains now; of those that continue one another, the shortest."""
        busy = {unit.chain for unit in self.running.values()}
        first = next((unit for unit in self.queue if unit.chain not in busy), None)
        if first is None:
            return None
        return min((unit for unit in self.queue if unit.chain == first.chain), key=_end_of)

    def _out_of_time(self) -> bool:
        limit = self.sweep.limits.seconds
        return limit is not None and time.monotonic() - self.start >= limit

    def _total(self) -> int:
        """Runs that are to be trained in all, as far as that is known."""
        if self.sweep.trials is not None:
            return len(self.queue)
        n_trials = self.sweep.limits.n_trials
        return 0 if n_trials is None else (n_trials - self.study.counts.finished) * len(self.sweep.seeds)

    def _add(self, trial: Trial, seeds: list[int]) -> None:
        """Make the trial's runs: taken where equal ones are finished, waiting where equal ones run, else queued."""
        for seed in seeds:
            config = trial.config(seed)
            run = resolve(config, self.data_sha256(config.data), self.shape.threads)
            unit = Unit(trial, seed, run, {SWEEP: self.sweep.name, TRIAL: trial.label, PARENT: self.parent})
            self.units.append(unit)
            self.by_label.setdefault(trial.label, []).append(unit)
            if unit.signature in self.waiting:
                self.waiting[unit.signature].append(unit)
            elif not self._reuse(unit):
                self.waiting[unit.signature] = []
                self.queue.append(unit)

    def _reuse(self, unit: Unit) -> bool:
        """Take an equal finished run: this trial's own, or a copy of another's, tagged with where it comes from."""
        own = self.own.get((unit.signature, unit.trial.label))
        known = own or self.finished.get(unit.signature) or self.tracker.find_finished(unit.signature)
        if known is None:
            return False
        self.reused += 1
        if own or (known.tags.get(PARENT) == self.parent and self.sweep.trials is None):
            unit.tracked = known
        else:
            copy = self.tracker.copy_run(known, unit.run, self.sweep.name, unit.name, unit.tags)
            unit.tracked = self.tracker.get(copy)
        self.finished.setdefault(unit.signature, unit.tracked)
        if self._is_judged(unit):
            # Known to its end, it is not pruned; but later trials are compared with it.
            for epoch, value in enumerate(self.tracker.history(known.run_id)[self.sweep.objective], start=1):
                self.study.report(unit.trial.label, value, epoch)
        return True

    def _is_judged(self, unit: Unit) -> bool:
        """Whether the pruner is asked after each epoch: where a sampler proposes, and a trial has one seed."""
        return self.sweep.trials is None and len(self.sweep.seeds) == 1 and unit.trial.label in self.study.open

    def _start(self, pool: Pool, unit: Unit) -> None:
        pool.start(Job(unit.key, unit.run, unit.run.checkpoints))
        self.running[unit.key] = unit
        self._open(unit)

    def _open(self, unit: Unit) -> None:
        """Open the run in the study and in MLflow."""
        if self.sweep.trials is not None:
            self.study.begin(unit.trial)
        overrides = [*unit.trial.overrides, f"seed={unit.seed}"]
        unit.run_id = self.tracker.open_run(unit.run, self.sweep.name, unit.name, unit.tags, overrides)

    # -- what workers say ---------------------------------------------------------------------------------------------

    def _handle(self, pool: Pool, key: str, message: Message, propose: bool) -> None:
        unit = self.running[key]
        epochs = unit.config.trainer.epochs
        if isinstance(message, Steps):
            self.watch.on_steps(key, epochs, message.epoch, message.step, message.steps, message.metrics)
        elif isinstance(message, Epoch):
            pool.answer(key, self._goes_on(unit, message))
            self.watch.on_epoch(key, epochs, message.epoch, message.metrics)
            self.tracker.log_epoch(unit.run_id, message.epoch, message.metrics)
        else:
            del self.running[key]
            if isinstance(message, Failed):
                self._end(unit, message)
            if isinstance(message, Done):
                if self.queue:  # the worker goes on while its last run is written down
                    self._fill(pool, propose)
                self._end(unit, message)
            self._settle(unit.trial)

    def _goes_on(self, unit: Unit, message: Epoch) -> bool:
        """Whether a run trains on: asks the pruner after each epoch where a trial has one seed."""
        label, last = unit.trial.label, message.epoch == unit.config.trainer.epochs
        if unit.unwanted:
            return False
        if self._is_judged(unit):
            hopeless = self.study.report(label, message.metrics[self.sweep.objective], message.epoch)
            unit.pruned_at = message.epoch if hopeless and not last else 0
        return not unit.pruned_at

    def _end(self, unit: Unit, message: Done | Failed) -> None:
        """Write down how a run ended, and queue it again where it deserves that."""
        how = "finished"
        if isinstance(message, Failed):
            how = self._failed(unit, message)
        elif unit.pruned_at:
            how = f"pruned after epoch {unit.pruned_at}"
            self.tracker.close(unit.run_id, "KILLED", how, tags={PRUNED_AT: str(unit.pruned_at)})
        elif unit.unwanted:
            how = "stopped: its trial was given up"
            self.tracker.close(unit.run_id, "KILLED", how)
        else:
            trouble = self.tracker.finish_run(unit.run_id, message.result, unit.key)
            how = f"{how}; {trouble}" if trouble else how
            unit.tracked = self.finished[unit.signature] = self.tracker.get(unit.run_id)
        unit.run_id = ""
        used = [other.run.checkpoints.folder for other in self.running.values()]
        if self.sweep.config.checkpoints.max_gib:
            free(folder_of(self.sweep.store), self.sweep.config.checkpoints.max_gib, used)
        if unit.settled:
            self._release_waiting(unit)
        self.watch.on_end(unit.key, how, again=not unit.settled)

    def _failed(self, unit: Unit, message: Failed) -> str:
        status = "KILLED" if message.died else "FAILED"
        self.tracker.close(unit.run_id, status, message.reason, message.details)
        unit.failures += 1
        if unit.failures <= self.sweep.config.retries and not unit.unwanted:
            self.queue.insert(0, unit)
            return f"failed, is tried again: {message.reason}"
        unit.reason = message.reason
        return f"failed: {message.reason}"

    def _release_waiting(self, unit: Unit) -> None:
        """Give an ended run's result to equal runs that waited for it, or train the first of them."""
        equals = self.waiting.pop(unit.signature, [])
        for other in equals:
            if not self._reuse(other):
                if unit.signature in self.waiting:
                    self.waiting[unit.signature].append(other)
                else:
                    self.waiting[unit.signature] = []
                    self.queue.append(other)
        for other in equals:
            self._settle(other.trial)

    # -- trials -------------------------------------------------------------------------------------------------------

    def _settle(self, trial: Trial) -> None:
        """Tell the study what is known of a trial, if that decides it."""
        units = self.units_of(trial.label)
        if self.sweep.trials is None and trial.label in self.study.open:
            self._report_seeds(trial, units)
        if not all(unit.settled for unit in units):
            return
        if self.sweep.trials is not None:
            self.study.begin(trial)
        if trial.label not in self.study.open:
            return
        attrs = {"seeds": self.sweep.seeds, "values": self._values(units, self.sweep.objective)}
        attrs["metric"] = self.sweep.objective
        attrs["run_ids"] = [unit.tracked.run_id for unit in units if unit.tracked]
        attrs["signatures"] = [unit.signature for unit in units if unit.tracked]
        if any(unit.reason for unit in units):
            self.study.fail(trial.label, "; ".join(f"{unit.key}: {unit.reason}" for unit in units if unit.reason))
        elif any(unit.pruned_at or unit.unwanted for unit in units):
            self.study.prune(trial.label, attrs)
        else:
            means = [fmean(self._values(units, metric).values()) for metric in self.sweep.objectives]
            self.study.complete(trial.label, means, attrs)
        self.watch.on_counts(self._told())

    def _report_seeds(self, trial: Trial, units: list[Unit]) -> None:
        """Where a trial has several seeds: ask the pruner after each, in their order, and give up a hopeless trial."""
        if len(units) > 1:
            for step, unit in enumerate(units):
                if unit.tracked is None:
                    break
                if self.study.report(trial.label, unit.tracked.metrics[self.sweep.objective], step):
                    self._give_up(units)
        if any(unit.reason for unit in units):
            self._give_up(units)

    def _give_up(self, units: list[Unit]) -> None:
        """Start none of these runs that has not begun; stop those that run after their epoch."""
        for unit in units:
            if not unit.settled:
                unit.unwanted = True
                if unit in self.queue:
                    self.queue.remove(unit)
                    self._release_waiting(unit)

    def _values(self, units: list[Unit], metric: str) -> dict[str, float]:
        return {str(unit.seed): unit.tracked.metrics[metric] for unit in units if unit.tracked}

    def _told(self) -> str:
        """Counts and best value so far, in one line."""
        counts = self.study.counts
        parts = {"done": counts.complete, "pruned": counts.pruned, "failed": counts.failed, "reused": self.reused}
        told = ", ".join(f"{count} {name}" for name, count in parts.items() if count or name == "done")
        return told if self.study.best is None else f"{told}, best {self.sweep.objective} {self.study.best:.4f}"

    # -- ending -------------------------------------------------------------------------------------------------------

    @contextmanager
    def _signals_noted(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM end the loop where nothing is half written; a second one interrupts at once."""

        def note(number: int, frame: FrameType | None) -> None:
            if self.stopped_by:
                raise KeyboardInterrupt
            self.stopped_by = signal.Signals(number).name

        with _signals_handled_by(note):
            yield

    def _close_open(self) -> None:
        """Close what is open in MLflow as KILLED and in Optuna as interrupted, for the next launch to run again."""
        with suppress(StoreError):  # what cannot be closed now is closed by the next launch
            for unit in self.units:
                if unit.run_id:
                    self.tracker.close(unit.run_id, "KILLED", "the sweep was interrupted")
                    unit.run_id = ""
            self.study.interrupt_open()


def _end_of(unit: Unit) -> tuple[int, float]:
    trainer = unit.config.trainer
    return trainer.epochs, trainer.stop_at_accuracy or 1.0


@contextmanager
def _signals_handled_by(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> Iterator[None]:
    """Let `handler` have Ctrl-C and SIGTERM for a while."""
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
