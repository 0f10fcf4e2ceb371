"""What the engine needs of wherever runs are trained: jobs, messages, and how many workers there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from pipeline.config.schema import RunConfig
from pipeline.system.errors import ConvsweepError
from pipeline.training.checkpoints import CheckpointStore, NoCheckpoints
from pipeline.training.identity import ResolvedRun
from pipeline.training.inspection import Inspection
from pipeline.training.result import RunResult

if TYPE_CHECKING:
    from pipeline.tracking.reader import TrackedRun

Say = Callable[[str], object]

# How long to wait for messages before looking at signals again.
POLL_SECONDS = 0.25


class BackendError(ConvsweepError, RuntimeError):
    """A backend that has no worker, and will have none. The message says why and what to do."""


@dataclass(frozen=True)
class Resources:
    """What there is to train with, for the whole launch.

    Attributes:
        workers: Number of workers when it began; there may be others later.
        threads: Threads of each.
        precision: What trainer.precision=auto means: what all workers compute natively; None for what this one does.
    """

    workers: int
    threads: int
    precision: str | None = None


@dataclass(frozen=True)
class Job:
    """One run to train; `key` is unique within the sweep."""

    key: str
    run: ResolvedRun
    checkpoints: CheckpointStore = field(default_factory=NoCheckpoints)


@dataclass(frozen=True)
class LogModel:
    """A finished run whose model is to be logged in MLflow, by a worker, which has TensorFlow at hand."""

    config: RunConfig
    run: TrackedRun

    @property
    def key(self) -> str:
        """The run's id."""
        return self.run.run_id


@dataclass(frozen=True)
class Inspect:
    """A run whose network is to be built, and timed if asked, but not trained."""

    key: str
    run: ResolvedRun
    timed: bool


AnyJob = Job | LogModel | Inspect


@dataclass(frozen=True)
class Steps:
    """Progress within an epoch; needs no answer."""

    epoch: int
    step: int
    steps: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class Epoch:
    """A finished epoch; the worker waits for the answer: go on (True) or stop (False)."""

    epoch: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class Done:
    """A finished job: the result of a training and the processor that trained, or what an inspection has shown."""

    result: RunResult = field(default_factory=RunResult)
    inspection: Inspection | None = None
    processor: str = ""


@dataclass(frozen=True)
class Failed:
    """A job that failed for its own reason, with the traceback as `details`, or whose worker `died`.

    `is_final` says that it would fail again, `uncounted` that it is not the run's failure: its machine is gone.
    """

    reason: str
    details: str = ""
    died: bool = False
    is_final: bool = False
    uncounted: bool = False


Message = Steps | Epoch | Done | Failed


class Backend(Protocol):
    """Trains jobs. A context manager: leaving it ends the workers, whatever they are doing."""

    @property
    def resources(self) -> Resources:
        """What there is to train with. Raise BackendError if there is nothing."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def idle(self) -> int:
        """Number of workers without a job; workers may come and go while messages are waited for."""

    def start(self, job: AnyJob) -> None:
        """Hand a job to an idle worker."""

    def messages(self, timeout: float) -> Iterator[tuple[str, Message]]:
        """Yield key and message of what workers have sent; wait up to `timeout` seconds for the first.

        Raises:
            BackendError: if there is no worker, and will be none.
        """

    def answer(self, key: str, go_on: bool) -> None:
        """Answer an Epoch message of the job `key`."""
