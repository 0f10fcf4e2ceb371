"""The workers of a sweep: hired while there is room, welcomed or refused, missed when they are lost."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from pipeline.system.messages import masked, printable
from pipeline.training.identity import versions
from sweeps.backends.base import AnyJob, BackendError, Say
from sweeps.backends.ray.cluster import Node, living_nodes, options_of
from sweeps.backends.ray.worker import Hello

FAILED_STARTS = 3  # in a row end the sweep
LOOK_SECONDS = 1.0  # between looks at the cluster's nodes


@dataclass(eq=False)
class Worker:
    """The parent's end of one actor.

    Attributes:
        actor: Ray's handle.
        call: The call that is under way; None where the parent is to speak.
        hello: What it has; None until it has started.
        job: What it does.
        handed: The call that handed it the job.
        is_doubted: Whether the connection to it broke: it is asked until Ray knows what became of it.
    """

    actor: Any
    call: Any
    hello: Hello | None = None
    job: AnyJob | None = None
    handed: Any = None
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
        precision: What all must compute natively; None for any.
    """

    arguments: list[Any]
    demand: dict[str, float]
    wanted: int | None
    most: int
    start_timeout: float
    say: Say
    precision: str | None = None
    workers: list[Worker] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)  # why, by node
    failed_starts: int = 0
    trouble: str = ""
    looked: float = 0.0
    nodes: list[Node] = field(default_factory=list)
    alone_since: float = field(default_factory=time.monotonic)
    is_waiting: bool = False

    @property
    def started(self) -> list[Worker]:
        """Those that have said what they have."""
        return [worker for worker in self.workers if worker.hello]

    @property
    def room(self) -> int:
        """How many workers the nodes that are not refused can have."""
        return sum(node.room(self.demand) for node in self.nodes if node.id not in self.refused)

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
        target = min(self.most, self.room + 1 if self.wanted is None else self.wanted)
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
        actor_class = ray.remote(bootstrap.Bootstrap).options(**options_of(self.demand, set(self.refused)))
        actor = actor_class.remote(*self.arguments)
        self.workers.append(Worker(actor, actor.hello.remote()))

    def _require_hope(self, now: float) -> None:
        if self.started:
            if self.is_waiting:
                self.say("there are workers again")
            self.alone_since, self.is_waiting = now, False
            return
        if self.refused and not self.room:
            reasons = "; ".join(dict.fromkeys(self.refused.values()))
            raise BackendError(f"every worker is refused: {reasons}")
        waited = now - self.alone_since
        if waited > self.start_timeout:
            why = f": {self.trouble}" if self.trouble else "; the cluster has no room"
            raise BackendError(
                f"there was no worker for backend.start_timeout={self.start_timeout:g} seconds{why}. "
                "What is finished is kept, and the same command continues"
            )

    def welcome(self, worker: Worker, hello: Hello) -> None:
        """Let a worker that has started work, or refuse it where it would give other numbers."""
        worker.hello, worker.call = hello, None
        if why := self._why_not(hello):
            self.refused[hello.node] = f"{hello.host}: {why}"
            self.say(f"a worker on {hello.host} is refused: {why}")
            self.dismiss(worker)
            self._dismiss_starting()

    def _why_not(self, hello: Hello) -> str:
        other = [
            f"{name} {hello.versions.get(name)} there, {version} here"
            for name, version in versions().items()
            if hello.versions.get(name) != version
        ]
        if other:
            return ", ".join(other)
        if self.precision == "mixed_bfloat16" and hello.precision != self.precision:
            return f"{hello.processor} does not compute in bfloat16, as the workers do with which the sweep began"
        return ""

    def _dismiss_starting(self) -> None:
        """Hire anew those that wait for room: they may get it on the node that has just been refused."""
        for worker in [worker for worker in self.workers if worker.hello is None]:
            self.dismiss(worker)
        self.looked = 0.0

    def dismiss(self, worker: Worker) -> None:
        """End a worker."""
        import ray

        self.workers.remove(worker)
        ray.kill(worker.actor)

    def miss(self, worker: Worker, error: Exception) -> bool:
        """Note that a worker is lost; return whether its whole node is.

        Raises:
            BackendError: if it is the third in a row that could not start.
        """
        self.dismiss(worker)
        self.looked = 0.0
        text = str(error)
        gone = "node has died" in text
        if worker.hello is None:
            if not gone:
                self.note_failed_start(text)
            return gone
        gone = gone or worker.hello.node not in {node.id for node in living_nodes()}
        if gone and not self.started:
            self.alone_since, self.is_waiting = time.monotonic(), True
            self.say(f"no worker is left: waiting for a node, for at most {self.start_timeout:g} seconds")
        return gone

    def note_failed_start(self, text: str) -> None:
        """Count a worker that could not start.

        Raises:
            BackendError: if it is the third in a row.
        """
        self.trouble = last_line(text)
        self.failed_starts += 1
        if self.failed_starts >= FAILED_STARTS:
            raise BackendError(f"{FAILED_STARTS} workers in a row could not start: {self.trouble}")


def last_line(text: str) -> str:
    """Return the last line of a traceback or of Ray's message: what happened."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return masked(printable(lines[-1] if lines else "no reason given"))[:500]
