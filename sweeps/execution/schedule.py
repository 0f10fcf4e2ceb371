"""Runs of a sweep, and which of them is trained next: never two at once that share checkpoints."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass

from pipeline.models.layers import multiplications
from pipeline.run import run_name
from pipeline.tracking.reader import TrackedRun
from pipeline.training.identity import ResolvedRun
from sweeps.sweep import Trial


@dataclass
class SweepRun:
    """One run of a sweep: a trial with one seed, and what became of it.

    Attributes:
        trial, seed, run: What it is.
        tracked: The finished run in MLflow, its own or a copy of an equal one.
        run_id: MLflow's id while it is being trained.
        failed: Why it failed for good.
        pruned_at: The epoch after which it was pruned.
        cancelled: Whether its trial was given up.
        lost: Whether another launch has taken it over.
        attempts: How often it failed.
    """

    trial: Trial
    seed: int
    run: ResolvedRun
    tracked: TrackedRun | None = None
    run_id: str = ""
    failed: str = ""
    pruned_at: int = 0
    cancelled: bool = False
    lost: bool = False
    attempts: int = 0

    @property
    def key(self) -> str:
        """Unique within the sweep."""
        return f"{self.trial.label} seed={self.seed}"

    @property
    def name(self) -> str:
        """The run's name in MLflow."""
        return run_name(self.trial.overrides, self.seed)

    @property
    def shown(self) -> str:
        """What people see while it is trained: its key; of a search, whose trials have numbers, with what it sets."""
        is_numbered = self.trial.label.partition(" ")[0].isdigit()
        return f"{self.trial.label} {self.name}" if is_numbered else self.key

    @property
    def epochs(self) -> int:
        """Epochs to train."""
        return self.run.config.trainer.epochs

    @property
    def cost(self) -> int:
        """Arithmetic of all epochs, for one example; of a network of the user's own, its epochs."""
        return (1 if self.run.layers is None else multiplications(self.run.layers)) * self.epochs

    @property
    def is_done(self) -> bool:
        """Whether it has ended, one way or another."""
        return bool(self.tracked or self.failed or self.pruned_at or self.cancelled)


class Schedule:
    """Runs that wait for a worker, most expensive first, and those that are being trained.

    Attributes:
        queue: Runs that wait for a worker.
        elsewhere: Runs that wait because another launch trains them, or one that shares their resume key.
        running: Runs that are being trained, by key.
    """

    def __init__(self) -> None:
        self.queue: list[SweepRun] = []
        self.elsewhere: list[SweepRun] = []
        self.running: dict[str, SweepRun] = {}

    @property
    def left(self) -> int:
        """Number of runs that were not begun."""
        return len(self.queue) + len(self.elsewhere)

    def add(self, runs: Iterable[SweepRun]) -> None:
        """Queue runs behind those that are queued, the most expensive of them first."""
        self.queue += sorted(runs, key=lambda run: -run.cost)

    def retry(self, run: SweepRun) -> None:
        """Queue a run that failed before all others."""
        self.queue.insert(0, run)

    def put_aside(self, run: SweepRun) -> None:
        """Let a run that was taken, and those that share its resume key, wait for another launch."""
        key = run.run.resume_key
        self.elsewhere += [run, *(each for each in self.queue if each.run.resume_key == key)]
        self.queue = [each for each in self.queue if each.run.resume_key != key]

    def take_up(self, held: Container[str]) -> None:
        """Queue again, before all others, what waited for another launch, but for resume keys `held` by one."""
        self.queue[:0] = [run for run in self.elsewhere if run.run.resume_key not in held]
        self.elsewhere = [run for run in self.elsewhere if run.run.resume_key in held]

    def take(self) -> SweepRun | None:
        """Remove and return the next run; None if there is none now.

        It is the first whose resume key is not being trained and, of those that share its key, the shortest, from whose
        checkpoint the longer ones are resumed.
        """
        busy = {run.run.resume_key for run in self.running.values()}
        first = next((run for run in self.queue if run.run.resume_key not in busy), None)
        if first is None:
            return None
        alike = [run for run in self.queue if run.run.resume_key == first.run.resume_key]
        shortest = min(alike, key=lambda run: (run.epochs, run.run.config.trainer.stop_at_accuracy or 1.0))
        self.queue.remove(shortest)
        return shortest

    def cancel(self, runs: Iterable[SweepRun]) -> None:
        """Cancel those of the runs that have not ended; those that are being trained stop after their epoch."""
        for run in runs:
            if not run.is_done:
                run.cancelled = True
                for waiting in (self.queue, self.elsewhere):
                    if run in waiting:
                        waiting.remove(run)
