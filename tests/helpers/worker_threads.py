"""Local workers as threads of this process, which imports TensorFlow once: a process each would import it anew."""

from __future__ import annotations

from dataclasses import replace
from multiprocessing.connection import Connection, Pipe
from threading import Thread

import pytest

from pipeline.system.tensorflow import start_tensorflow
from sweeps.backends import choose, local
from sweeps.backends.base import Resources
from sweeps.backends.worker import serve
from sweeps.sweep import Sweep


class _WorkerThread(local._Worker):
    """The parent's end of a thread that does what a worker process does, through the same kind of pipe."""

    memory = 0.0

    def __init__(self, number: int, resources: Resources) -> None:
        start_tensorflow(resources.threads)
        self.number, self.job = number, None
        self.connection, theirs = Pipe()
        self.thread = Thread(target=_serve, args=(theirs, resources.threads))
        self.thread.start()

    def kill(self) -> None:
        """End the thread, after the epoch that it is in."""
        self.connection.close()
        self.thread.join()


def _serve(connection: Connection, threads: int) -> None:
    with connection:
        serve(connection, threads, b"")


def _one_worker(sweep: Sweep) -> Resources:
    return replace(local.local_resources(sweep), workers=1)


def use_threads(patch: pytest.MonkeyPatch) -> None:
    """Let every sweep that is launched in this process have one worker, a thread: runs share NumPy's random numbers."""
    patch.setattr(local, "_Worker", _WorkerThread)
    patch.setattr(choose, "local_resources", _one_worker)
