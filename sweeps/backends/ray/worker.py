"""What the actor is once our code is there: jobs in, messages out; training goes on in a thread of it."""

from __future__ import annotations

import os
import pickle
import queue
import threading
import traceback
from dataclasses import dataclass, replace
from typing import Any

from pipeline.config.checks import ConfigError
from pipeline.config.code import code_sha256
from pipeline.datasets import dataset as data
from pipeline.models.builder import KEY as BUILDER_KEY
from pipeline.system import hardware
from pipeline.system.messages import one_line
from pipeline.training.identity import ResolvedRun, versions
from sweeps.backends.base import AnyJob, Epoch, Failed, Inspect, Job, Message
from sweeps.backends.ray.checkpoints import Luggage, Removed, Saved, TravellingCheckpoints
from sweeps.backends.worker import Datasets, serve


@dataclass(frozen=True)
class Hello:
    """What a worker has to compute with.

    Attributes:
        host, node, process: Its machine, by name and by Ray's id, and its process there.
        processor, cores: What is there.
        precision: What it computes natively, as trainer.precision=auto decides it.
        versions: Of the libraries that compute.
    """

    host: str
    node: str
    process: int
    processor: str
    cores: int
    precision: str
    versions: dict[str, str]


@dataclass(frozen=True)
class Begun:
    """The thread that trains has taken its job: what befalls the worker from now on may be the job's doing."""


@dataclass(frozen=True)
class Unfit:
    """A worker that may not do its job, since its node has other code; the job is not to blame."""

    why: str


AnyMessage = Message | Saved | Removed | Begun | Unfit


@dataclass(frozen=True)
class Reply:
    """What a worker has said since it was asked last, and the GiB of memory that it has."""

    messages: list[AnyMessage]
    memory: float


@dataclass(frozen=True)
class _Crash:
    """The thread that trains is gone."""

    details: str


class Worker:
    """Trains in a thread, and talks with the parent in the actor's own: one call at a time."""

    def __init__(self, threads: int, functions: bytes, uses_gpu: bool, answer_seconds: float) -> None:
        """Start the thread, which imports TensorFlow.

        Args:
            threads: Threads of TensorFlow.
            functions: The parent's registered functions, as shipped.
            uses_gpu: Whether it was assigned a GPU, or a part of one; else it must see none.
            answer_seconds: How long to wait for an answer: then the parent or the network is gone unnoticed, and the
                worker ends itself.
        """
        if not uses_gpu:
            os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
        self.channel, self.datasets = Queues(answer_seconds), Datasets()
        self.checked = set[tuple[str, str]]()
        self.arguments = (self.channel, threads, functions, self.datasets)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        try:
            serve(*self.arguments)
            details = "the thread that trains has ended"
        except BaseException:
            details = traceback.format_exc()
        self.channel.send(_Crash(details))

    def hello(self) -> Hello:
        """Return what there is to compute with."""
        import ray

        context = ray.get_runtime_context()
        native, cores = hardware.resolve_precision("auto"), hardware.cores()
        host = os.uname().nodename
        return Hello(host, context.get_node_id(), os.getpid(), hardware.processor(), cores, native, versions())

    def begin(self, job: bytes, luggage: Luggage | None, source: str, dataset: data.Dataset | None) -> None:
        """Begin a job; what goes wrong is said as any job's failure is.

        Args:
            job: Pickled.
            luggage: Its checkpoints, if any are kept.
            source: Which dataset it needs, by the key of its source; empty if it needs none.
            dataset: The dataset, which lies in Ray's memory for all workers of this machine.
        """
        try:
            unpickled: AnyJob = pickle.loads(job)
            if source and dataset is not None:
                self.datasets.setdefault(source, dataset)
            if isinstance(unpickled, Job | Inspect) and (why := self._other_code(unpickled.run)):
                self.channel.send(Unfit(why))
                return
            if isinstance(unpickled, Job) and luggage is not None:
                unpickled = replace(unpickled, checkpoints=TravellingCheckpoints(luggage, self.channel.send))
        except Exception as error:
            self.channel.send(Failed(one_line(error), traceback.format_exc()))
        else:
            self.channel.inbox.put(unpickled)

    def _other_code(self, run: ResolvedRun) -> str:
        """Return how a builder's code differs from that of which the run's signature was made; empty if it does not."""
        builder = run.config.model.builder
        if builder is None or (builder, run.code_sha256) in self.checked:
            return ""
        try:
            if code_sha256(BUILDER_KEY, builder) != run.code_sha256:
                return f"{BUILDER_KEY}={builder}: its code is another there than where the sweep was started"
        except ConfigError as error:
            return str(error)
        self.checked.add((builder, run.code_sha256))
        return ""

    def talk(self, answer: bool | None) -> Reply:
        """Hand an answer on, if it is one; wait for what is said next, and return that and what else is there."""
        if answer is not None:
            self.channel.inbox.put(answer)
        messages = self.channel.said()
        for message in messages:
            if isinstance(message, _Crash):
                if not self.channel.has_worked:
                    raise RuntimeError(message.details)
                reason = f"its worker crashed: {message.details.strip().splitlines()[-1]}"
                return Reply([Failed(reason, message.details, died=True)], _memory())
        return Reply(messages, _memory())


class Queues:
    """Both ends of what joins the two threads."""

    def __init__(self, answer_seconds: float) -> None:
        self.answer_seconds = answer_seconds
        self.inbox: queue.Queue[Any] = queue.Queue()
        self.outbox: queue.Queue[Any] = queue.Queue()
        self.is_asked = False
        self.has_worked = False

    def send(self, message: Any, /) -> None:
        """Send to the parent."""
        self.outbox.put(message)
        self.is_asked = isinstance(message, Epoch)

    def recv(self) -> Any:
        """Wait for a job, or for an answer, but not for ever."""
        try:
            received = self.inbox.get(timeout=self.answer_seconds if self.is_asked else None)
        except queue.Empty:
            os._exit(1)
        if not self.is_asked:
            self.has_worked = True
            self.outbox.put(Begun())
        return received

    def said(self) -> list[Any]:
        """Return what was sent; wait for the first of it."""
        messages = [self.outbox.get()]
        while not self.outbox.empty():
            messages.append(self.outbox.get())
        return messages


def _memory() -> float:
    import psutil

    return float(psutil.Process().memory_info().rss) / 2**30
