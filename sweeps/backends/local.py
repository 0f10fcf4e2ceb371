"""Warm worker processes that train, and log models. They import TensorFlow and load the data once."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from pipeline.config.schema import ConfigError, DataConfig, RunConfig, StoreConfig
from pipeline.datasets import dataset as data
from pipeline.datasets.download import source_key
from pipeline.system.hardware import cores
from pipeline.system.tensorflow import collect_rarely, start_tensorflow
from pipeline.training.checkpoints import CheckpointStore, NoCheckpoints
from pipeline.training.cost import suitable_threads
from pipeline.training.identity import ResolvedRun, resolve
from pipeline.training.result import RunResult, TrainingError
from pipeline.training.trainer import one_line, train
from sweeps.sweep import Sweep

if TYPE_CHECKING:
    from pipeline.tracking.tracker import TrackedRun


@dataclass(frozen=True)
class Job:
    """One run to train."""

    key: str
    run: ResolvedRun
    checkpoints: CheckpointStore = field(default_factory=NoCheckpoints)


@dataclass(frozen=True)
class Keep:
    """The model of a finished run, to be logged in MLflow: by a worker, which has TensorFlow at hand."""

    config: RunConfig
    run: TrackedRun

    @property
    def key(self) -> str:
        """The run's id."""
        return self.run.run_id


@dataclass(frozen=True)
class Prepare:
    """Import what it takes to log a model in this store, half a second of it, while others train."""

    store: StoreConfig


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
    """A finished run, or a kept model."""

    result: RunResult = field(default_factory=RunResult)


@dataclass(frozen=True)
class Failed:
    """A run that failed for its own reason, with the traceback as `details`; or whose worker `died`."""

    reason: str
    details: str = ""
    died: bool = False


Message = Steps | Epoch | Done | Failed


class Pool(Protocol):
    """Where jobs are trained: what the engine needs of it. Another back end, such as a cluster's, has the same."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def idle(self) -> int:
        """Workers without a job."""

    def start(self, job: Job | Keep) -> None:
        """Hand a job to an idle worker."""

    def prepare(self, store: StoreConfig) -> None:
        """Let an idle worker, which no run is left for, prepare to log a model; it is idle still."""

    def messages(self, timeout: float) -> Iterator[tuple[str, Message]]:
        """Key and message for everything that workers have said by now; waits up to `timeout` seconds for the first."""

    def answer(self, key: str, go_on: bool) -> None:
        """Answer an Epoch message of the job `key`."""


@dataclass(frozen=True)
class Shape:
    """How many workers, and threads of each."""

    workers: int
    threads: int


def shape(sweep: Sweep) -> Shape:
    """Workers and threads of a sweep: a worker per core, and threads where runs are few and their steps large.

    Whatever of it is finished already: continued after an interruption, a sweep computes as it would have without.
    """
    bases = [trial.base for trial in sweep.trials or []] or [sweep.config]
    most = sweep.config.workers or cores() // max(base.trainer.threads or 1 for base in bases)
    if sweep.trials is not None:  # of runs that continue one another, one is trained at a time
        keys = {resolve(base, source_key(base.data)).resume_key for base in bases}
        most = min(most, len(keys) * len(sweep.seeds))
    workers = max(1, most)
    share = max(1, cores() // workers)
    return Shape(workers, max(_threads(base, share) for base in bases))


def _threads(base: RunConfig, share: int) -> int:
    try:
        return suitable_threads(base, share)
    except ConfigError:  # a search may start from what is no network yet
        return 1


class Warm:
    """Workers that begin to import TensorFlow before it is known how many are wanted."""

    def __init__(self, sweep: Sweep) -> None:
        """Start as many as the sweep wants if nothing of it is known."""
        self.config, self.shape = sweep.config, shape(sweep)
        self.pool: LocalPool | None = self._pool(self.shape)

    def __enter__(self) -> Self:
        """Itself: called with the number of workers that is wanted, it gives them."""
        return self

    def __exit__(self, *error: object) -> None:
        """Kill workers that nobody wanted."""
        self.dismiss()

    def dismiss(self) -> None:
        """Kill them: there seems to be nothing to do."""
        if self.pool is not None:
            self.pool.__exit__()
            self.pool = None

    def __call__(self, workers: int) -> LocalPool:
        """So many of the workers that were started, or of new ones; they are the caller's from now on."""
        pool, self.pool = self.pool or self._pool(replace(self.shape, workers=workers)), None
        pool.shrink(workers)
        return pool

    def _pool(self, wanted: Shape) -> LocalPool:
        return LocalPool(wanted, self.config.workers_max_memory)


class LocalPool:
    """Worker processes on this machine; each trains one job at a time. Leaving the context kills what still runs."""

    def __init__(self, wanted: Shape, max_memory: float) -> None:
        """Start the processes; they import TensorFlow meanwhile.

        A process is replaced once it holds more than `max_memory` GiB: TensorFlow never gives all of a run's memory
        back.
        """
        self.shape, self.max_memory = wanted, max_memory
        self.workers = [self._worker(number) for number in range(wanted.workers)]

    def __enter__(self) -> Self:
        """The pool itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Kill the workers."""
        for worker in self.workers:
            worker.kill()

    def shrink(self, workers: int) -> None:
        """Kill idle workers beyond so many; the others may use the cores that they leave."""
        for worker in self.workers[workers:]:
            worker.kill()
        del self.workers[workers:]
        self.shape = replace(self.shape, workers=len(self.workers))
        for number, worker in enumerate(self.workers):
            worker.pin(_share_of_cores(number, self.shape))

    @property
    def idle(self) -> int:
        """Workers without a job."""
        return sum(worker.job is None for worker in self.workers)

    def start(self, job: Job | Keep) -> None:
        """Hand a job to an idle worker; a model to one that is prepared, if there is one."""
        idle = [worker for worker in self.workers if worker.job is None]
        worker = min(idle, key=lambda worker: worker.prepared != isinstance(job, Keep))
        worker.job = job
        worker.send(job)

    def prepare(self, store: StoreConfig) -> None:
        """Let an idle worker, which no run is left for, prepare to log a model; it is idle still."""
        worker = next(worker for worker in self.workers if worker.job is None)
        worker.prepared = True
        worker.send(Prepare(store))

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
                worker.runs += 1
                died = isinstance(message, Failed) and message.died
                if died or worker.memory > self.max_memory:
                    self._replace(worker)
            yield key, message

    def answer(self, key: str, go_on: bool) -> None:
        """Answer an Epoch message of the job `key`."""
        for worker in self.workers:
            if worker.job is not None and worker.job.key == key:
                worker.send(go_on)

    def _replace(self, worker: _Worker) -> None:
        number = self.workers.index(worker)
        worker.kill()
        self.workers[number] = self._worker(number)

    def _worker(self, number: int) -> _Worker:
        worker = _Worker(self.shape.threads)
        worker.pin(_share_of_cores(number, self.shape))
        return worker


class _Worker:
    """The parent's end of one worker process."""

    def __init__(self, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, threads), daemon=True)
        self.process.start()
        theirs.close()
        self.job: Job | Keep | None = None
        self.runs = 0
        self.prepared = False

    @property
    def memory(self) -> float:
        """Resident memory of the process, in GiB; 0 where it is gone."""
        import psutil

        try:
            return float(psutil.Process(self.process.pid).memory_info().rss) / 2**30
        except psutil.Error:
            return 0.0

    def pin(self, to: set[int]) -> None:
        """Let the process, and all of its threads, run on these cores alone; no cores: nothing is pinned here."""
        with suppress(OSError):  # it has just died, which is found when it is listened to
            for task in Path(f"/proc/{self.process.pid}/task").iterdir() if to else []:
                os.sched_setaffinity(int(task.name), to)

    def send(self, what: Job | Keep | Prepare | bool) -> None:
        """Send; a worker that died is found when it is listened to."""
        with suppress(OSError):
            self.connection.send(what)

    def receive(self) -> Message:
        """The next message; Failed where the worker died."""
        try:
            message: Message = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode or 0
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            return Failed(f"its worker process died ({how})", died=True)
        return message

    def kill(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.process.join()
        self.connection.close()


def _share_of_cores(number: int, shape: Shape) -> set[int]:
    """Cores of worker `number`: its own where workers fill the machine, else all; empty where cores have no names."""
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if shape.workers * shape.threads != len(allowed):  # another sweep may be there, or they are more than fit
        return set(allowed)
    return set(allowed[number * shape.threads : (number + 1) * shape.threads])


def _serve(connection: Connection[Any, Any], threads: int) -> None:
    """A worker's life: train, and log models, until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what it means
    collect_rarely()
    start_tensorflow(threads)
    gc.freeze()  # half a million objects that a collection between runs need not look at

    datasets: dict[str, data.Dataset] = {}
    try:
        while True:
            job: Job | Keep | Prepare = connection.recv()
            if isinstance(job, Prepare):
                _prepare(job)
            else:
                connection.send(_keep(job, datasets) if isinstance(job, Keep) else _train(job, connection, datasets))
    except (EOFError, ConnectionError):
        return


def _train(job: Job, connection: Connection[Any, Any], datasets: dict[str, data.Dataset]) -> Done | Failed:
    def on_epoch(epoch: int, metrics: dict[str, float]) -> bool:
        connection.send(Epoch(epoch, metrics))
        return bool(connection.recv())

    def on_steps(epoch: int, step: int, steps: int, metrics: dict[str, float]) -> None:
        connection.send(Steps(epoch, step, steps, metrics))

    try:
        dataset = _loaded(job.run.config.data, datasets)
        return Done(train(job.run, on_epoch, on_steps, dataset, job.checkpoints))
    except TrainingError as error:
        return Failed(str(error), traceback.format_exc())
    except (EOFError, ConnectionError):  # the parent is gone
        raise
    except Exception as error:
        return Failed(one_line(error), traceback.format_exc())


def _prepare(job: Prepare) -> None:
    from pipeline.tracking.tracker import Tracker

    with suppress(Exception):  # what is wrong will be told with the model
        Tracker(job.store).prepare_log_model()


def _keep(job: Keep, datasets: dict[str, data.Dataset]) -> Done | Failed:
    from pipeline.inference.load import find_model
    from pipeline.run import train_again
    from pipeline.tracking.tracker import Tracker

    try:
        tracker = Tracker(job.config.store)
        net = find_model(job.config, job.run, tracker)
        if net is None:
            net = train_again(job.config, job.run, _loaded(job.config.data, datasets))
        tracker.log_model(job.run.run_id, net, job.config)
    except Exception as error:
        return Failed(one_line(error), traceback.format_exc())
    return Done()


def _loaded(config: DataConfig, datasets: dict[str, data.Dataset]) -> data.Dataset:
    """The set, loaded once per worker."""
    key = source_key(config)
    if key not in datasets:
        datasets[key] = data.load(config, say=lambda line: None)  # the parent has told it
    return datasets[key]
