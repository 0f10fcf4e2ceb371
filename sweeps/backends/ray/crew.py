"""The workers of a sweep: hired while there is room, welcomed or refused, missed when they are lost."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from sweeps.backends.base import AnyJob, BackendError, Say
from sweeps.backends.ray.cluster import Node, living_nodes, options_of
from sweeps.backends.ray.fitness import FAILED_STARTS, Fitness
from sweeps.backends.ray.worker import Hello
from sweeps.claims.words import plural

LOOK_SECONDS = 1.0  # between looks at the cluster's nodes
SILENT_SECONDS = 10.0  # without a worker, until it is said what is waited for


@dataclass(eq=False)
class Worker:
    """The parent's end of one actor.

    Attributes:
        actor: Ray's handle.
        placed: The call that ends when it has a place on a node.
        call: The call that is under way; None where the parent is to speak.
        hello: What it has; None until it has started.
        job: What it does.
        has_begun: Whether it has taken the job.
        has_worked: Whether it has ever taken one: else it may be one that cannot start.
        is_doubted: Whether the connection to it broke: it is asked until Ray knows what became of it.
    """

    actor: Any
    placed: Any
    call: Any
    hello: Hello | None = None
    job: AnyJob | None = None
    has_begun: bool = False
    has_worked: bool = False
    is_doubted: bool = False

    @property
    def host(self) -> str:
        """Its machine's name."""
        return self.hello.host if self.hello else "a worker that has not started"


@dataclass
class Crew:
    """Workers that are starting, idle and busy.

    Attributes:
        arguments: What every actor is started with.
        demand: What each reserves, by Ray's names.
        wanted: How many are wanted; None for as many as the cluster has room for.
        most: More are never needed.
        start_timeout: Seconds to wait for a first one, or for one where all are gone.
        say: Tells of those that come and go.
        fitness: Which nodes can have workers.
    """

    arguments: list[Any]
    demand: dict[str, float]
    wanted: int | None
    most: int
    start_timeout: float
    say: Say
    fitness: Fitness
    workers: list[Worker] = field(default_factory=list)
    looked: float = 0.0
    nodes: list[Node] = field(default_factory=list)
    alone_since: float = field(default_factory=time.monotonic)
    is_waiting: bool = False
    is_reported: bool = False

    @property
    def started(self) -> list[Worker]:
        """Those that have said what they have."""
        return [worker for worker in self.workers if worker.hello]

    @property
    def room(self) -> int:
        """How many workers the nodes that are not refused can have."""
        return sum(node.room(self.demand) for node in self.nodes if node.id not in self.fitness.refused)

    @property
    def asked(self) -> int:
        """How many workers there are to be."""
        return min(self.most, self.room if self.wanted is None else self.wanted)

    def look_after(self) -> None:
        """Hire for the room that there is, at most once a second.

        Raises:
            BackendError: if there is no worker, and will be none.
        """
        now = time.monotonic()
        if now - self.looked < LOOK_SECONDS:
            return
        self.looked, self.nodes = now, living_nodes()
        self._forget_idle()
        for worker in self.workers:
            if worker.is_doubted and worker.call is None:
                worker.call = worker.actor.hello.remote()
        # One more than there is room for waits for room, and is there at once when a node joins.
        target = min(self.most, self.asked + (self.wanted is None))
        while len(self.workers) < target:
            self._hire()
        self._require_hope(now)

    def _forget_idle(self) -> None:
        """Dismiss idle workers whose node is gone: no call of theirs could tell."""
        alive = {node.id for node in self.nodes}
        for worker in self.started:
            if worker.job is None and worker.hello and worker.hello.node not in alive:
                self.dismiss(worker)

    def _hire(self) -> None:
        import ray

        from sweeps.backends.ray import bootstrap

        ray.cloudpickle.register_pickle_by_value(bootstrap)
        actor_class = ray.remote(bootstrap.Bootstrap).options(**options_of(self.demand, set(self.fitness.refused)))
        actor = actor_class.remote(*self.arguments)
        self.workers.append(Worker(actor, actor.is_placed.remote(), actor.hello.remote()))

    def _require_hope(self, now: float) -> None:
        if self.started:
            if self.is_waiting:
                self.say("there are workers again")
            self.alone_since, self.is_waiting, self.is_reported = now, False, False
            return
        if self.fitness.refused and not self.room:
            reasons = "; ".join(dict.fromkeys(self.fitness.refused.values()))
            raise BackendError(f"every worker is refused: {reasons}")
        waited = now - self.alone_since
        if waited > self.start_timeout:
            raise BackendError(
                f"there was no worker for backend.start_timeout={self.start_timeout:g} seconds: "
                f"{self.fitness.trouble or _why_none(count_placed(self.workers))}. "
                "What is finished is kept, and the same command continues"
            )
        if waited > SILENT_SECONDS and not self.is_waiting and not self.is_reported:
            self.is_reported = True
            self.say(_what_is_waited_for(self))

    def listen(self, timeout: float) -> list[Worker]:
        """Look after the workers; return those busy ones of whom a call has ended, for whom to wait so long."""
        import ray

        self.look_after()
        calls = {worker.call: worker for worker in self.workers if worker.call is not None}
        if not calls:
            time.sleep(timeout)
            return []
        ready, _ = ray.wait(list(calls), num_returns=1, timeout=timeout)
        if ready:
            ready, _ = ray.wait(list(calls), num_returns=len(calls), timeout=0)
        busy = []
        for worker in (calls[call] for call in ready):
            if worker.hello is not None:
                busy.append(worker)
            elif worker in self.workers:  # else it was dismissed meanwhile
                self._hear_first(worker)
        return busy

    def _hear_first(self, worker: Worker) -> None:
        import ray

        try:
            said: Hello | tuple[str, str, str] = ray.get(worker.call)
        except ray.exceptions.RayError as error:
            self.miss(worker, error)
            return
        if isinstance(said, tuple):
            self.dismiss(worker)
            self._count_failed_start(*said)
        else:
            self.welcome(worker, said)

    def welcome(self, worker: Worker, hello: Hello) -> None:
        """Let a worker that has started work, or refuse it where it would give other numbers."""
        worker.hello, worker.call = hello, None
        if why := self.fitness.why_not(hello):
            self.refuse(worker, why)

    def refuse(self, worker: Worker, why: str) -> None:
        """Dismiss a worker, and hire none on its node any more."""
        assert worker.hello
        self.dismiss(worker)
        self.fitness.refuse(worker.hello.node, worker.hello.host, why)
        self._dismiss_unused()

    def _dismiss_unused(self) -> None:
        """Dismiss who has not worked yet on refused nodes, and hire anew those that wait for room there."""
        for worker in list(self.workers):
            is_refused = worker.hello and worker.hello.node in self.fitness.refused
            if worker.hello is None or (is_refused and worker.job is None and not worker.has_worked):
                self.dismiss(worker)
        self.looked = 0.0

    def dismiss(self, worker: Worker) -> None:
        """End a worker."""
        import ray

        self.workers.remove(worker)
        ray.kill(worker.actor)

    def dismiss_all(self) -> None:
        """End the workers."""
        for worker in list(self.workers):
            self.dismiss(worker)

    def begun(self, worker: Worker) -> None:
        """Note that a worker has taken its job: on its node, workers can start."""
        assert worker.hello
        if not worker.has_worked:
            self.fitness.note_start(worker.hello.node)
        worker.has_begun = worker.has_worked = True

    def _count_failed_start(self, node: str, host: str, text: str) -> None:
        if self.fitness.note_failed_start(node, host, text):
            self._dismiss_unused()
        elif node or not self.started:  # else others work, while nobody knows which node to refuse
            self.looked = 0.0
        if not self.started and self.fitness.failed_starts[""] >= FAILED_STARTS:
            raise BackendError(self.fitness.trouble)

    def miss(self, worker: Worker, error: Exception) -> bool:
        """Note that a worker is lost; return whether its whole node is.

        Raises:
            BackendError: if it is the third in a row that could not start, and there is no other.
        """
        self.dismiss(worker)
        text, hello = str(error), worker.hello
        is_gone = "node has died" in text
        if hello and not is_gone:
            is_gone = hello.node not in {node.id for node in living_nodes()}
        if not is_gone and not worker.has_worked:
            self._count_failed_start(hello.node if hello else "", hello.host if hello else "", text)
        else:
            self.looked = 0.0
        if is_gone and hello and not self.started:
            self.alone_since, self.is_waiting = time.monotonic(), True
            self.say(f"no worker is left: waiting for a node, for at most {self.start_timeout:g} seconds")
        return is_gone


def size_of(crew: Crew, threads: int) -> str:
    """Return how many nodes there are, and how many workers with as many threads, for a message."""
    workers = plural(min(crew.room, crew.asked), "worker{s}")
    return f"{plural(len(crew.nodes), 'node{s}')}, up to {workers} with {plural(threads, 'thread{s}')} each"


def count_placed(workers: list[Worker]) -> int:
    """Return how many of the workers have a place on a node."""
    import ray

    calls = [worker.placed for worker in workers]
    return len(ray.wait(calls, num_returns=len(calls), timeout=0)[0]) if calls else 0


def _what_is_waited_for(crew: Crew) -> str:
    nodes = sum(node.room(crew.demand) > 0 and node.id not in crew.fitness.refused for node in crew.nodes)
    return (
        f"waiting for workers on the cluster: {crew.asked} asked for, {count_placed(crew.workers) or 'none'} placed, "
        f"none ready; {plural(nodes, 'node{s}')} with room for {crew.room}"
    )


def _why_none(placed: int) -> str:
    """Return why no worker is ready, where `placed` have a place on a node, and what to do."""
    if placed:
        return (
            f"{plural(placed, 'worker{s}')} found a place, but none became ready, on slow or busy machines: "
            "wait longer with backend.start_timeout"
        )
    return (
        "none found a place, as others use the cluster: ask for less with backend.workers or backend.cpus, or wait "
        "longer with backend.start_timeout"
    )
