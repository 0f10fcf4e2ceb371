"""Jobs handed to a backend, and followed to their end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pipeline.config.schema import RunConfig
from pipeline.training.identity import ResolvedRun, resolve
from sweeps.backends.base import AnyJob, Backend, Done, Epoch, Failed, Message


def run_of(config: RunConfig) -> ResolvedRun:
    return resolve(config, "data", threads=1)


def follow(
    backend: Backend, jobs: Sequence[AnyJob], on_epoch: Callable[[str, Epoch], bool] = lambda key, told: True
) -> dict[str, Message]:
    """Run all jobs; the last message of each."""
    waiting, ended = list(jobs), {}
    while len(ended) < len(jobs):
        while waiting and backend.idle:
            backend.start(waiting.pop(0))
        for key, message in backend.messages(timeout=1.0):
            if isinstance(message, Epoch):
                backend.answer(key, on_epoch(key, message))
            elif isinstance(message, Done | Failed):
                ended[key] = message
    return ended
