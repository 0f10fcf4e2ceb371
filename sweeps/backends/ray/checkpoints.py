"""Checkpoints that travel: the newest goes with its job to the worker, every new one with a message to the parent."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.training.checkpoints import Checkpoint, CheckpointStore, NoCheckpoints
from pipeline.training.identity import ResolvedRun
from pipeline.training.trainer import resumable
from sweeps.backends.base import AnyJob, Job, Message


@dataclass(frozen=True)
class Saved:
    """A checkpoint that the parent is to keep."""

    checkpoint: Checkpoint


@dataclass(frozen=True)
class Removed:
    """An epoch whose checkpoint the parent is to delete."""

    epoch: int


@dataclass(frozen=True)
class Luggage:
    """What a worker gets of a run's checkpoints: the one to go on from, and the epochs of all."""

    newest: Checkpoint | None
    epochs: list[int]


def pack(run: ResolvedRun, checkpoints: CheckpointStore) -> Luggage | None:
    """Return what a worker needs of a run's checkpoints; None where none are kept."""
    if isinstance(checkpoints, NoCheckpoints):
        return None
    return Luggage(resumable(checkpoints, run.config.trainer), checkpoints.epochs())


def unpack(job: AnyJob, messages: Iterable[Message | Saved | Removed]) -> list[Message]:
    """Do to a job's checkpoints what messages say; return the others, which are for the engine.

    Raises:
        OSError: if a checkpoint cannot be written.
    """
    others: list[Message] = []
    for message in messages:
        if isinstance(message, Saved | Removed):
            assert isinstance(job, Job)
            if isinstance(message, Saved):
                job.checkpoints.save(message.checkpoint)
            else:
                job.checkpoints.remove(message.epoch)
        else:
            others.append(message)
    return others


class TravellingCheckpoints(CheckpointStore):
    """A run's checkpoints on a worker, whose files are the parent's."""

    def __init__(self, luggage: Luggage, send: Callable[[Saved | Removed], object]) -> None:
        """Send to the parent what it is to do with its files."""
        super().__init__(Path())
        self._newest, self._epochs, self._send = luggage.newest, set(luggage.epochs), send

    def save(self, checkpoint: Checkpoint) -> Path:
        """Send a checkpoint; the parent has it on disk before it answers the message of its epoch."""
        self._epochs.add(checkpoint.epoch)
        self._send(Saved(checkpoint))
        return self.path(checkpoint.epoch)

    def latest(self, up_to: int) -> Checkpoint | None:
        """Return the checkpoint that the parent has sent, if it is none beyond `up_to`."""
        return self._newest if self._newest and self._newest.epoch <= up_to else None

    def epochs(self) -> list[int]:
        """Return the epochs that have a checkpoint."""
        return list(self._epochs)

    def remove(self, epoch: int) -> None:
        """Let the parent delete an epoch's checkpoint."""
        self._epochs.discard(epoch)
        self._send(Removed(epoch))
