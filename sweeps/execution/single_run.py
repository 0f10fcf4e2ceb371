"""One run in a worker process, for a program of one's own: TensorFlow is not loaded into that, nor anything changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from pipeline.config.checks import ConfigError
from pipeline.config.schema import RunConfig
from pipeline.datasets import dataset as data
from pipeline.progress import ProgressReporter
from pipeline.run import Trainer
from pipeline.training.identity import ResolvedRun
from pipeline.training.result import RunResult, TrainingError
from pipeline.training.trainer import OnEpoch, OnSteps
from sweeps.backends.base import POLL_SECONDS, AnyJob, Done, Epoch, Failed, Inspect, Job, LogModel, Resources, Steps
from sweeps.backends.local import LocalBackend

if TYPE_CHECKING:
    from pipeline.tracking.reader import TrackedRun
    from pipeline.tracking.tracker import Tracker

MEMORY = float("inf")  # a worker that has one run is never replaced


class WorkerTrainer(Trainer):
    """Trains runs and logs their models in worker processes, one for each."""

    def __init__(self, reporter: ProgressReporter) -> None:
        """Show progress by `reporter`."""
        self._reporter = reporter

    def reporter(self, console: Console) -> ProgressReporter:
        """Return what shows progress."""
        return self._reporter

    def inspect(self, run: ResolvedRun) -> None:
        """Build the network of the user's own once. Raise ConfigError if that fails."""
        in_worker(Inspect("run", run, timed=False), run.threads)

    def train(self, run: ResolvedRun, on_epoch: OnEpoch, on_steps: OnSteps, dataset: data.Dataset) -> RunResult:
        """Train a run, from its newest checkpoint on. Raise TrainingError if that fails."""
        return in_worker(Job("run", run, run.checkpoints), run.threads, on_epoch, on_steps)

    def log_model(self, config: RunConfig, tracked: TrackedRun, dataset: data.Dataset, tracker: Tracker) -> None:
        """Log the model of a run: its checkpoint's, or trained again if that is gone."""
        in_worker(LogModel(config, tracked), int(tracked.tags.get("convsweep.threads", "1")))


def in_worker(
    job: AnyJob,
    threads: int,
    on_epoch: OnEpoch = lambda epoch, metrics: True,
    on_steps: OnSteps = lambda epoch, step, steps, metrics: None,
) -> RunResult:
    """Do a job in a worker process of its own, with so many threads; return its result.

    Raises:
        ConfigError: if it cannot be done as the config asks.
        TrainingError: if it fails otherwise.
    """
    with LocalBackend(Resources(1, threads), MEMORY) as backend:
        backend.start(job)
        while True:
            for key, message in backend.messages(POLL_SECONDS):
                match message:
                    case Steps(epoch, step, steps, metrics):
                        on_steps(epoch, step, steps, metrics)
                    case Epoch(epoch, metrics):
                        backend.answer(key, on_epoch(epoch, metrics))
                    case Done(result):
                        return result
                    case Failed(reason):
                        raise (ConfigError if message.is_final else TrainingError)(reason)
