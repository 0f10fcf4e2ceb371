"""Models are logged on the parent's machine, which has store and checkpoints, where workers may be elsewhere."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Self

from sweeps.backends.base import LogModel, Message, Resources
from sweeps.backends.local import LocalBackend


class ModelLogging:
    """Logs models one after the other in a process on this machine, which is started with the first of them."""

    def __init__(self, max_memory: float) -> None:
        """Start nothing yet; `max_memory` is as of `LocalBackend`."""
        self.max_memory = max_memory
        self.jobs: deque[LogModel] = deque()
        self.backend: LocalBackend | None = None

    def __enter__(self) -> Self:
        """Return this."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the process, if there is one."""
        if self.backend:
            self.backend.__exit__(*error)

    @property
    def is_busy(self) -> bool:
        """Whether a model is being logged, or waits."""
        return bool(self.jobs) or (self.backend is not None and self.backend.idle == 0)

    def start(self, job: LogModel) -> None:
        """Log a model when its turn comes."""
        if self.backend is None:
            self.backend = LocalBackend(Resources(1, int(job.run.tags.get("convsweep.threads", "1"))), self.max_memory)
        self.jobs.append(job)
        self._next()

    def _next(self) -> None:
        if self.jobs and self.backend and self.backend.idle:
            self.backend.start(self.jobs.popleft())

    def messages(self) -> Iterator[tuple[str, Message]]:
        """Yield what the process has sent."""
        if self.backend:
            yield from self.backend.messages(0)
            self._next()
