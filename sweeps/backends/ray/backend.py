"""Workers on a Ray cluster, as many as it has room for."""

from __future__ import annotations

import time
import traceback
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Self

from pipeline.config.functions import shipped
from pipeline.system.messages import one_line
from sweeps.backends.base import (
    POLL_SECONDS,
    AnyJob,
    Done,
    Epoch,
    Failed,
    Job,
    LogModel,
    Message,
    Resources,
    Say,
)
from sweeps.backends.ray.checkpoints import pack, unpack
from sweeps.backends.ray.cluster import demand_of, living_nodes, require_room
from sweeps.backends.ray.connection import cluster_address, connected, require_ray
from sweeps.backends.ray.crew import Crew, Worker, size_of
from sweeps.backends.ray.datasets import SharedDatasets
from sweeps.backends.ray.fitness import Fitness, last_line
from sweeps.backends.ray.models import ModelLogging
from sweeps.backends.ray.shipping import packed, without_addresses
from sweeps.backends.ray.worker import Begun, Reply, Unfit
from sweeps.backends.sharing import leaves_precision_open, runs_at_once, share_cores
from sweeps.sweep import Sweep

# Workers that start as late after the first one do not decide what all of them can.
GRACE_SECONDS = 15.0
ANSWER_SECONDS = 900  # and as long as the store is retried: a worker without an answer for so long ends itself
MOST_IN_VAIN = 3  # workers that may be lost before they begin a job, until the job is taken for the reason


class RayBackend:
    """Actors, each with one job at a time. Leaving the context ends them, and Ray if it was started here."""

    def __init__(self, sweep: Sweep, say: Say) -> None:
        """Prepare; nothing is started yet.

        Args:
            sweep: What is to be trained, and with how many workers of which size.
            say: Tells of workers that come and go.

        Raises:
            ConfigError: if Ray is not installed, or the code cannot be sent to workers.
        """
        require_ray()
        self.sweep, self.say, self.config = sweep, say, sweep.config.backend
        self.code = packed(sweep)
        self.waiting: deque[AnyJob] = deque()
        self.handed_in_vain = Counter[str]()  # how often a worker was lost before it began the job, by its key
        self.datasets = SharedDatasets()
        self.models = ModelLogging(sweep.config.workers_max_memory)
        self._stack = ExitStack()
        self._resources: Resources | None = None

    def __enter__(self) -> Self:
        """Connect, or start Ray here, and hire workers.

        Raises:
            ConfigError: if there is no such cluster, or no node has what a worker needs.
        """
        with ExitStack() as stack:
            folder = stack.enter_context(connected(self.config.address))
            self.is_here = folder is not None  # so that workers have the store's files, and nobody else is asked
            stack.enter_context(self.models)
            nodes, wanted = living_nodes(), self.sweep.config.most_workers
            total = int(sum(node.offers.get("CPU", 0) for node in nodes))
            largest = int(self.config.cpus or max((node.offers.get("CPU", 0) for node in nodes), default=1))
            self.shared = share_cores(self.sweep, max(1, total), max(1, largest))
            demand = demand_of(self.config, self.shared.threads)
            require_room(demand, nodes)
            self.crew = Crew(
                self._arguments(str(folder) if folder else None),
                demand,
                wanted,
                runs_at_once(self.sweep),
                self.config.start_timeout,
                self.say,
                Fitness(self.shared.threads, self.say),
            )
            stack.callback(self.crew.dismiss_all)
            self.crew.look_after()
            if not self.is_here:
                size = size_of(self.crew, self.shared.threads)
                self.say(f"ray: {cluster_address(self.config.address)}, {size}")
            self._stack = stack.pop_all()
        return self

    def _arguments(self, folder: str | None) -> list[Any]:
        import sys

        import ray

        gpu = self.config.gpus > 0
        settings = {"threads": self.shared.threads, "functions": shipped(), "uses_gpu": gpu}
        settings["answer_seconds"] = ANSWER_SECONDS + self.sweep.store.retry_seconds
        return [ray.put(self.code.content), self.code.digest, folder, list(sys.path), settings]

    def __exit__(self, *error: object) -> None:
        """End the workers."""
        self._stack.close()

    @property
    def resources(self) -> Resources:
        """Threads of each worker, and the precision that all of the first ones compute natively.

        Raises:
            BackendError: if none can start.
        """
        if self._resources is None:
            self._await_first()
            workers = self.crew.started
            alike = {worker.hello.precision for worker in workers if worker.hello}
            precision = alike.pop() if len(alike) == 1 else "float32"
            self.crew.fitness.precision = precision if leaves_precision_open(self.sweep) else None
            self._resources = Resources(len(workers), self.shared.threads, precision)
        return self._resources

    def _await_first(self) -> None:
        """Wait for the first workers: as many as there is room for, or those that start soon after the first one."""
        crew, first_at = self.crew, 0.0
        while True:
            crew.listen(POLL_SECONDS)
            now, started = time.monotonic(), len(crew.started)
            first_at = first_at or (now if started else 0.0)
            if started and (started >= min(crew.room, crew.asked) or now - first_at > GRACE_SECONDS):
                return

    @property
    def idle(self) -> int:
        """Number of workers without a job."""
        free = sum(worker.job is None for worker in self.crew.started)
        return max(0, free - len(self.waiting))

    def start(self, job: AnyJob) -> None:
        """Hand a job to an idle worker; a model is logged on this machine, which has store and checkpoints."""
        if isinstance(job, LogModel) and not self.is_here:
            self.models.start(job)
        else:
            self.waiting.append(job)
            self._hand_out()

    def _hand_out(self) -> None:
        """Hand jobs that wait to workers that are free."""
        import ray

        for worker in self.crew.started:
            if not self.waiting:
                return
            if worker.job is None:
                job = self.waiting.popleft()
                worker.job, worker.has_begun = job, False
                source, dataset, luggage = "", None, None
                if isinstance(job, Job):
                    source, dataset = self.datasets.reference(job.run.config.data)
                    luggage = pack(job.run, job.checkpoints)
                pickled = ray.cloudpickle.dumps(without_addresses(job))
                begun = worker.actor.begin.remote(pickled, luggage, source, dataset)
                worker.call = worker.actor.talk.remote(None, begun)

    def messages(self, timeout: float) -> Iterator[tuple[str, Message]]:
        """Yield key and message of what workers have sent; wait up to `timeout` seconds for the first.

        Raises:
            BackendError: if there is no worker, and will be none.
        """
        yield from self.models.messages()
        for worker in self.crew.listen(0.05 if self.models.is_busy else timeout):
            yield from self._heard(worker)
        self._hand_out()

    def _heard(self, worker: Worker) -> Iterator[tuple[str, Message]]:
        """Yield what a worker has said."""
        import ray

        assert worker.job is not None
        key, job, kept = worker.job.key, worker.job, list[Message]()
        try:
            reply: Reply = ray.get(worker.call)
            worker.call = None
            if worker.is_doubted:  # it is there; but what it has said meanwhile is lost
                self.crew.dismiss(worker)
                yield key, Failed(f"the connection to its worker broke ({worker.host})", died=True, uncounted=True)
                return
            if unfit := next((message for message in reply.messages if isinstance(message, Unfit)), None):
                self.waiting.appendleft(job)
                self.crew.refuse(worker, unfit.why)
                return
            if any(isinstance(message, Begun) for message in reply.messages):
                self.crew.begun(worker)
            kept = unpack(job, (message for message in reply.messages if not isinstance(message, Begun | Unfit)))
        except ray.exceptions.ActorUnavailableError:
            worker.call, worker.is_doubted = None, True
            return
        except ray.exceptions.RayError as error:
            yield from self._lost(worker, error)
            return
        except OSError as error:  # a checkpoint cannot be written: the run must not go on as if it were
            self.crew.dismiss(worker)
            yield key, Failed(one_line(error), traceback.format_exc())
            return
        for message in kept:
            if isinstance(message, Done | Failed):
                worker.job = None
                crashed = isinstance(message, Failed) and message.died
                if crashed or reply.memory > self.sweep.config.workers_max_memory:
                    self.crew.dismiss(worker)
            yield key, message
        if worker.job is job and not isinstance(reply.messages[-1], Epoch):
            worker.call = worker.actor.talk.remote(None)

    def _lost(self, worker: Worker, error: Exception) -> Iterator[tuple[str, Message]]:
        """Yield the failure of what a lost worker did; what it had not begun goes to another."""
        assert worker.job is not None
        key, node_is_gone = worker.job.key, self.crew.miss(worker, error)
        if not worker.has_begun and self.handed_in_vain[key] < MOST_IN_VAIN:
            self.handed_in_vain[key] += 1
            self.waiting.appendleft(worker.job)
            return
        what = "the node of its worker is gone" if node_is_gone else "its worker process died"
        reason = f"{what} ({worker.host}: {last_line(str(error))})"
        yield key, Failed(reason, died=True, uncounted=node_is_gone)

    def answer(self, key: str, go_on: bool) -> None:
        """Answer an Epoch message of the job `key`."""
        for worker in self.crew.workers:
            if worker.job is not None and worker.job.key == key:
                worker.call = worker.actor.talk.remote(go_on)
