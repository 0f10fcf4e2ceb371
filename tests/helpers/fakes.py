"""A backend that trains nothing: every run's metrics follow from its config by a formula, in microseconds."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from pipeline.config.schema import RunConfig
from pipeline.training.result import RunResult
from sweeps.backends.base import Done, Epoch, Failed, Job, Message, Resources

FINAL = {"parameters": 10.0, "seconds": 1.0, "seconds_per_epoch": 0.1}
Formula = Callable[[RunConfig, int], float]


def accuracy(config: RunConfig, epoch: int) -> float:
    """Validation accuracy after an epoch: best at a learning rate of 0.01, a little different for every seed."""
    distance = abs(math.log10(config.optimizer.learning_rate) + 2)
    return 0.9 - 0.1 * distance - 0.2 / epoch + 0.001 * (config.seed % 7)


class FakeBackend:
    """Runs jobs at once, in the order in which they were started; `fails` says how the nth start of a job fails."""

    def __init__(
        self, size: int = 2, formula: Formula = accuracy, fails: Callable[[Job, int], Failed | None] = lambda j, n: None
    ) -> None:
        self.resources = Resources(size, 1)
        self.size, self.formula, self.fails = size, formula, fails
        self.jobs: deque[Job] = deque()
        self.started: list[str] = []
        self.answers: dict[str, bool] = {}
        self.results: dict[str, RunResult] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    @property
    def idle(self) -> int:
        return self.size - len(self.jobs)

    def start(self, job: Job) -> None:
        self.started.append(job.key)
        self.jobs.append(job)
        self.results[job.key] = RunResult()

    def answer(self, key: str, go_on: bool) -> None:
        self.answers[key] = go_on

    def messages(self, timeout: float) -> Iterator[tuple[str, Message]]:
        """One epoch, or the end, of every job that is running, in turn."""
        for job in list(self.jobs):
            yield job.key, self._next(job)

    def _next(self, job: Job) -> Message:
        result = self.results[job.key]
        failure = self.fails(job, self.started.count(job.key)) if result.epochs == 0 else None
        if (
            failure is not None
            or result.epochs == job.run.config.trainer.epochs
            or self.answers.pop(job.key, True) is False
        ):
            self.jobs.remove(job)
            if failure is not None:
                return failure
            result.final = FINAL | {"epochs": float(result.epochs)}
            return Done(result)
        value = self.formula(job.run.config, result.epochs + 1)
        for part in ("val", "test") if job.run.config.trainer.evaluate_test else ("val",):
            result.history.setdefault(f"{part}/accuracy", []).append(value)
            result.history.setdefault(f"{part}/loss", []).append(1 - value)
        return Epoch(result.epochs, {name: values[-1] for name, values in result.history.items()})
