"""Runs a sweep: trials x seeds -> workers -> results. Schedules, tracks, prunes, retries, and loses nothing."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import suppress

from pipeline.config.data import DataConfig
from pipeline.progress import ProgressReporter
from pipeline.tracking.retry import StoreError
from pipeline.training.identity import resolve
from sweeps.backends.base import POLL_SECONDS, Backend, Epoch, Failed, Job, Message, Steps
from sweeps.execution.recorder import Recorder
from sweeps.execution.schedule import Schedule, SweepRun
from sweeps.execution.signals import Interruption, handled_by
from sweeps.execution.trials import Trials
from sweeps.search.proposers import Proposer
from sweeps.sweep import Sweep, Trial


class Engine:
    """Trains what a proposer proposes, with every seed.

    Attributes:
        trials: The trials so far, with their runs; those that were finished already included.
        schedule: Runs that wait for a worker, and those that are being trained.
    """

    def __init__(
        self,
        sweep: Sweep,
        proposer: Proposer,
        backend: Backend,
        recorder: Recorder,
        data_sha256: Callable[[DataConfig], str],
        interruption: Interruption,
        reporter: ProgressReporter,
        is_over: Callable[[], bool],
    ) -> None:
        """Prepare; nothing is looked up or trained yet.

        Args:
            sweep: The sweep, for its objectives and limits.
            proposer: What gives the trials and their seeds.
            backend: Where runs are trained.
            recorder: Where they are tracked.
            data_sha256: Gives the hash of a dataset's content.
            interruption: Whether to stop, because of a signal.
            reporter: Shows progress.
            is_over: Whether nothing more is to be started: the time is up, or there was a signal.
        """
        self.sweep, self.proposer = sweep, proposer
        self.backend, self.recorder, self.data_sha256 = backend, recorder, data_sha256
        self.interruption, self.reporter, self.is_over = interruption, reporter, is_over
        self.schedule = Schedule()
        self.trials = Trials(sweep, proposer, self.schedule)

    def add_listed(self) -> None:
        """Add the trials that the proposer lists: reuse finished runs, queue the rest, most expensive first."""
        queued = [run for trial in self.proposer.listed for run in self._add(trial)]
        first = [run for run in queued if run.trial.label in self.proposer.first]
        self.schedule.add(first)
        self.schedule.add(run for run in queued if run.trial.label not in self.proposer.first)

    def run(self) -> None:
        """Train until nothing is left, or a limit is reached.

        Raises:
            KeyboardInterrupt: after Ctrl-C or SIGTERM; what is finished is recorded, what was running is closed.
        """
        self.reporter.on_total(*self.trials.runs_in_all())
        for trial in self.proposer.listed:
            self._settle(trial)
        try:
            with self.interruption.noted():
                while self._start_runs() or self.schedule.running or self._waits or self._has_no_worker():
                    for key, message in self.backend.messages(POLL_SECONDS):
                        self._handle(self.schedule.running[key], message)
                    self.interruption.check()
            self.interruption.check()
        except BaseException:
            self._close_open()
            raise
        self.proposer.interrupt()  # a limit may have cut trials off

    def _start_runs(self) -> bool:
        """Hand a run to every idle worker, as far as there are any; return whether one was started."""
        self._look_elsewhere()
        started = False
        while self.backend.idle and (run := self._next()):
            self.backend.start(Job(run.key, run.run, run.run.checkpoints))
            self.schedule.running[run.key] = run
            self.recorder.open(run)
            started = True
        return started

    def _has_no_worker(self) -> bool:
        """Return whether a run waits for a worker, of which there is none now."""
        if self.backend.idle or self.is_over():
            return False
        if not self.schedule.queue and (run := self._next()):
            self.recorder.release(run)  # another launch may have a worker
            self.schedule.retry(run)
        return bool(self.schedule.left)

    def _next(self) -> SweepRun | None:
        """Return the next run to train; None if there is none now."""
        while not self.is_over():
            run = self.schedule.take()
            if run is None:
                trial = self.proposer.next()
                if trial is None:
                    return None
                self.schedule.add(self._add(trial))
            elif not self.recorder.claim(run):  # another launch trains it, or one from whose checkpoint it is resumed
                self.schedule.put_aside(run)
                continue
            elif not self._reuse(run):
                return run
            else:  # an equal one has finished since it was queued
                self.recorder.release(run)
                self.reporter.on_end(run.shown, "reused: an equal run has finished")
                trial = run.trial
            self._settle(trial)
        return None

    @property
    def _waits(self) -> bool:
        """Whether runs are waited for that other launches train."""
        return bool(self.schedule.elsewhere) and not self.is_over()

    def _look_elsewhere(self) -> None:
        """Queue runs again that no other launch trains any more; say for whom the others wait."""
        if not self.schedule.elsewhere:
            return
        claimed = self.recorder.claimed_elsewhere()
        self.schedule.take_up(claimed)
        waiting = self.schedule.elsewhere
        self.reporter.on_elsewhere(len(waiting), sorted({claimed[run.run.resume_key] for run in waiting}))

    def _add(self, trial: Trial) -> list[SweepRun]:
        """Make the trial's runs; return those that have to be trained."""
        runs, given = [], self.backend.resources
        for seed in self.proposer.seeds:
            config = trial.config(seed)
            resolved = resolve(config, self.data_sha256(config.data), given.threads, auto=given.precision)
            runs.append(SweepRun(trial, seed, resolved))
        self.trials.runs[trial.label] = runs
        return [run for run in runs if not self._reuse(run)]

    def _reuse(self, run: SweepRun) -> bool:
        """Take an equal finished run, if there is one."""
        if not self.recorder.reuse(run, self.proposer.shares_runs):
            return False
        self.trials.reused += 1
        assert run.tracked is not None
        if self._is_judged(run.trial):  # not pruned, as it is known to its end; but later trials are compared with it
            curve = self.recorder.curve(run.tracked, self.sweep.objective)
            for epoch, value in enumerate(curve, start=1):
                self.proposer.report(run.trial, value, epoch)
        return True

    def _handle(self, run: SweepRun, message: Message) -> None:
        if isinstance(message, Steps):
            self.reporter.on_steps(run.shown, run.epochs, message.epoch, message.step, message.steps, message.metrics)
        elif isinstance(message, Epoch):
            self.backend.answer(run.key, self._goes_on(run, message))
            self.reporter.on_epoch(run.shown, run.epochs, message.epoch, message.metrics)
            self.recorder.epoch(run, message.epoch, message.metrics)
        else:
            if isinstance(message, Failed):
                self._fail(run, message)
            else:
                if self.schedule.queue:  # the worker goes on while its last run is recorded
                    self._start_runs()
                outcome = self.recorder.end(run, message)
                self.reporter.on_end(run.shown, outcome, again=run.lost)
                del self.schedule.running[run.key]
                if run.lost:
                    self.schedule.retry(run)
            self.recorder.free_checkpoints(list(self.schedule.running.values()))
            self._settle(run.trial)

    def _is_judged(self, trial: Trial) -> bool:
        """Return whether the pruner is asked after each epoch: it judges seeds where a trial has several."""
        return len(self.proposer.seeds) == 1 and self.proposer.prunes(trial)

    def _goes_on(self, run: SweepRun, message: Epoch) -> bool:
        """Return whether a run trains on."""
        if not run.cancelled and self._is_judged(run.trial):
            hopeless = self.proposer.report(run.trial, message.metrics[self.sweep.objective], message.epoch)
            run.pruned_at = message.epoch if hopeless and message.epoch < run.epochs else 0
        return not (run.cancelled or run.pruned_at or run.lost)

    def _fail(self, run: SweepRun, message: Failed) -> None:
        """Record a failed run; queue it again if retries are left."""
        self.recorder.end(run, message)
        del self.schedule.running[run.key]
        run.attempts += not message.uncounted
        again = run.attempts <= self.sweep.config.retries and not (run.cancelled or message.is_final)
        if again:
            self.schedule.retry(run)
        else:
            run.failed = message.reason
        outcome = f"failed, is tried again: {message.reason}" if again else f"failed: {message.reason}"
        self.reporter.on_end(run.shown, outcome, again=again)

    def _settle(self, trial: Trial) -> None:
        """Tell the proposer what is known of a trial, if that decides it."""
        if self.trials.settle(trial):
            self.reporter.on_counts(self.trials.summary())

    def _close_open(self) -> None:
        """Close what is open in MLflow as KILLED and in Optuna as interrupted, for the next launch to run again."""
        # What cannot be closed now is closed by the next launch. Nothing may disturb this; it takes seconds.
        with suppress(StoreError), handled_by(signal.SIG_IGN):
            for run in self.schedule.running.values():
                if run.run_id:
                    self.recorder.interrupt(run)
            self.proposer.interrupt()
