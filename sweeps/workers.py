"""Warm worker processes that train. They import TensorFlow and load the data once, and hold no database connection."""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Self

from pipeline import data
from pipeline.config import DataConfig, RunConfig
from pipeline.runtime import start_tensorflow
from pipeline.train import RunResult, TrainingError, train


@dataclass(frozen=True)
class Job:
    """One run to train: its key, its config, and the file for its model, if any."""

    key: str
    config: RunConfig
    save_to: Path | None = None


@dataclass(frozen=True)
class Steps:
    """A running epoch; needs no answer."""

    epoch: int
    step: int
    steps: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class Epoch:
    """A finished epoch; the worker waits for the answer go on (True) or stop (False)."""

    epoch: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class Done:
    """A finished run."""

    result: RunResult


@dataclass(frozen=True)
class Failed:
    """A run that failed for its own reason, or whose worker died; `details` is the traceback, if any."""

    reason: str
    details: str = ""


Message = Steps | Epoch | Done | Failed


class Pool:
    """So many workers; each trains one job at a time. Leaving the context kills what still runs."""

    def __init__(self, count: int, threads: int) -> None:
        """Start `count` worker processes with `threads` threads each; they import TensorFlow meanwhile."""
        self.threads = threads
        self.workers = [_Worker(threads) for _ in range(count)]

    def __enter__(self) -> Self:
        """The pool itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Kill the workers."""
        for worker in self.workers:
            worker.kill()

    @property
    def idle(self) -> int:
        """Workers without a job."""
        return sum(worker.job is None for worker in self.workers)

    def start(self, job: Job) -> None:
        """Hand a job to an idle worker."""
        worker = next(worker for worker in self.workers if worker.job is None)
        worker.job = job
        worker.connection.send(job)

    def messages(self, timeout: float) -> Iterator[tuple[str, Message]]:
        """Key and message for everything that workers have said by now; waits up to `timeout` seconds for the first."""
        busy = {worker.connection: worker for worker in self.workers if worker.job is not None}
        for connection in wait(list(busy), timeout):
            worker = busy[connection]  # type: ignore[index]
            assert worker.job is not None
            key = worker.job.key
            message = worker.receive()
            if isinstance(message, Done | Failed):
                worker.job = None
            if not worker.process.is_alive():
                self.workers[self.workers.index(worker)] = _Worker(self.threads)
            yield key, message

    def answer(self, key: str, go_on: bool) -> None:
        """Answer an Epoch message of the job `key`."""
        for worker in self.workers:
            if worker.job is not None and worker.job.key == key:
                worker.connection.send(go_on)


class _Worker:
    """The parent's end of one worker process."""

    def __init__(self, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, threads), daemon=True)
        self.process.start()
        theirs.close()
        self.job: Job | None = None

    def receive(self) -> Message:
        """The next message; Failed where the worker died."""
        try:
            message: Message = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode or 0
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            return Failed(f"its worker process died ({how})")
        return message

    def kill(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.process.join()
        self.connection.close()


def _serve(connection: Connection[Any, Any], threads: int) -> None:
    """A worker's life: train what comes, until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what it means
    start_tensorflow(threads)

    datasets: dict[str, data.Dataset] = {}
    try:
        while True:
            job: Job = connection.recv()
            connection.send(_train(job, connection, datasets))
    except (EOFError, ConnectionError):
        return


def _train(job: Job, connection: Connection[Any, Any], datasets: dict[str, data.Dataset]) -> Done | Failed:
    def on_epoch(epoch: int, metrics: dict[str, float]) -> bool:
        connection.send(Epoch(epoch, metrics))
        return bool(connection.recv())

    def on_steps(epoch: int, step: int, steps: int, metrics: dict[str, float]) -> None:
        connection.send(Steps(epoch, step, steps, metrics))

    try:
        dataset = _loaded(job.config.data, datasets)
        return Done(train(job.config, on_epoch, on_steps, dataset, job.save_to))
    except TrainingError as error:
        return Failed(str(error))
    except (EOFError, ConnectionError):  # the parent is gone
        raise
    except Exception as error:
        return Failed(f"{type(error).__name__}: {error}", traceback.format_exc())


def _loaded(config: DataConfig, datasets: dict[str, data.Dataset]) -> data.Dataset:
    """The set, loaded once per worker."""
    if config.name not in datasets:
        datasets[config.name] = data.load(config)
    return datasets[config.name]
