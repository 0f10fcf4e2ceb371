"""Which nodes can have workers: refused are those that would give other numbers, and those on which none can start."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from pipeline.system.messages import masked, printable
from pipeline.training.identity import versions
from sweeps.backends.base import Say
from sweeps.backends.ray.worker import Hello

FAILED_STARTS = 3  # in a row, and a node is refused


@dataclass
class Fitness:
    """What is known of nodes, by Ray's ids.

    Attributes:
        threads: What a worker computes with.
        say: Tells of what is refused.
        precision: What all workers must compute natively; None for any.
        refused: Why, by node.
        failed_starts: How many in a row, by node; those of which the node is not known under the empty name.
        trouble: What kept a worker from starting last.
    """

    threads: int
    say: Say
    precision: str | None = None
    refused: dict[str, str] = field(default_factory=dict)
    failed_starts: Counter[str] = field(default_factory=Counter)
    trouble: str = ""
    _crowded: set[str] = field(default_factory=set)

    def why_not(self, hello: Hello) -> str:
        """Return why a worker would give other numbers; empty if it would not. Say where it has too few cores."""
        other = [
            f"{name} {hello.versions.get(name)} there, {version} here"
            for name, version in versions().items()
            if hello.versions.get(name) != version
        ]
        if other:
            return ", ".join(other)
        if self.precision == "mixed_bfloat16" and hello.precision != self.precision:
            return f"{hello.processor} does not compute in bfloat16, as the workers do with which the sweep began"
        if hello.cores < self.threads and hello.host not in self._crowded:
            self._crowded.add(hello.host)
            self.say(f"{hello.host} has fewer cores ({hello.cores}) than a worker has threads ({self.threads})")
        return ""

    def refuse(self, node: str, host: str, why: str) -> None:
        """Have no worker on a node any more."""
        if node not in self.refused:
            self.say(f"workers on {host} are refused: {why}")
        self.refused[node] = f"{host}: {why}"

    def note_start(self, node: str) -> None:
        """Note that a worker has begun to work."""
        self.failed_starts[node] = self.failed_starts[""] = 0

    def note_failed_start(self, node: str, host: str, text: str) -> bool:
        """Note a worker that could not start; return whether its node is refused now, as it is the third in a row."""
        self.failed_starts[node] += 1
        self.trouble = last_line(text)
        if self.failed_starts[node] < FAILED_STARTS:
            return False
        self.trouble = f"{FAILED_STARTS} workers in a row could not start: {self.trouble}"
        if node:
            self.refuse(node, host, self.trouble)
        return bool(node)


def last_line(text: str) -> str:
    """Return the last line of a traceback or of Ray's message: what happened."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return masked(printable(lines[-1] if lines else "no reason given"))[:500]
