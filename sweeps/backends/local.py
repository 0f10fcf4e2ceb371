"""Worker processes on this machine. They import TensorFlow and load the data once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import Pipe, wait
from pathlib import Path
from typing import Self

from pipeline.config.functions import shipped
from pipeline.system.hardware import cores, resolve_precision
from sweeps.backends.base import AnyJob, Done, Failed, Message, Resources
from sweeps.backends.sharing import share_cores
from sweeps.sweep import Sweep

# Run by its path: found whatever the parent has put on its sys.path.
START = Path(__file__).with_name("start.py")


def local_resources(sweep: Sweep) -> Resources:
    """Return a worker per core of this machine; see `share_cores`."""
    return replace(share_cores(sweep, cores(), cores()), precision=resolve_precision("auto"))


class LocalBackend:
    """Worker processes, each with one job at a time. Leaving the context kills them."""

    def __init__(self, resources: Resources, max_memory: float) -> None:
        """Start the processes; they import TensorFlow meanwhile.

        Args:
            resources: How many workers, with how many threads.
            max_memory: GiB beyond which a worker is replaced after its job: TensorFlow never gives all memory back.
        """
        self.resources, self.max_memory = resources, max_memory
        self.workers = [_Worker(number, resources) for number in range(resources.workers)]

    def __enter__(self) -> Self:
        """Return the backend."""
        return self

    def __exit__(self, *error: object) -> None:
        """Kill the workers."""
        for worker in self.workers:
            worker.kill()

    @property
    def idle(self) -> int:
        """Number of workers without a job."""
        return sum(worker.job is None for worker in self.workers)

    def start(self, job: AnyJob) -> None:
        """Hand a job to an idle worker."""
        worker = next(worker for worker in self.workers if worker.job is None)
        worker.job = job
        worker.send(job)

    def messages(self, timeout: float) -> Iterator[tuple[str, Message]]:
        """Yield key and message of what workers have sent; wait up to `timeout` seconds for the first."""
        busy = {worker.connection: worker for worker in self.workers if worker.job is not None}
        for connection in wait(list(busy), timeout):
            worker = busy[connection]  # type: ignore[index]
            assert worker.job is not None
            key, message = worker.job.key, worker.receive()
            if isinstance(message, Done | Failed):
                worker.job = None
                if (isinstance(message, Failed) and message.died) or worker.memory > self.max_memory:
                    worker.kill()
                    self.workers[worker.number] = _Worker(worker.number, self.resources)
            yield key, message

    def answer(self, key: str, go_on: bool) -> None:
        """Answer an Epoch message of the job `key`."""
        for worker in self.workers:
            if worker.job is not None and worker.job.key == key:
                worker.send(go_on)


class _Worker:
    """The parent's end of one worker process.

    No process of `multiprocessing`: that would import the program's main module again, which may be a script without
    `if __name__ == "__main__"`, or a notebook, which is none.
    """

    def __init__(self, number: int, resources: Resources) -> None:
        self.number = number
        self.job: AnyJob | None = None
        self.connection, theirs = Pipe()
        with theirs, _pinned(_share_of_cores(number, resources)):
            words = [sys.executable, "-P", str(START), str(theirs.fileno()), str(resources.threads)]
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
        self.send((sys.path, shipped()))

    @property
    def memory(self) -> float:
        """Resident memory of the process, in GiB; 0 if it is gone."""
        import psutil

        try:
            return float(psutil.Process(self.process.pid).memory_info().rss) / 2**30
        except psutil.Error:
            return 0.0

    def send(self, message: AnyJob | bool | tuple[list[str], bytes]) -> None:
        """Send; that a worker died is noticed when it is received from."""
        with suppress(OSError):
            self.connection.send(message)

    def receive(self) -> Message:
        """Return the next message; Failed if the worker died."""
        try:
            message: Message = self.connection.recv()
        except (EOFError, OSError):
            code = self.process.wait()
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            return Failed(f"its worker process died ({how})", died=True)
        return message

    def kill(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.process.wait()
        self.connection.close()


@contextmanager
def _pinned(to: set[int]) -> Iterator[None]:
    """Let this process, and those that it starts meanwhile, run on these cores alone; on any if there are none."""
    before = os.sched_getaffinity(0) if to else set[int]()
    if to:
        os.sched_setaffinity(0, to)
    try:
        yield
    finally:
        if to:
            os.sched_setaffinity(0, before)


def _share_of_cores(number: int, resources: Resources) -> set[int]:
    """Return the cores of a worker: its own if workers fill the machine, else all; none without affinity support."""
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if resources.workers * resources.threads != len(allowed):  # another sweep may run, or they are more than fit
        return set(allowed)
    return set(allowed[number * resources.threads : (number + 1) * resources.threads])
