"""The launches of one sweep: the first, those that join it, and the last, which closes its parent run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pipeline.config.checks import ConfigError
from pipeline.tracking.leases import NoLeases, members, of_sweep


class Membership:
    """A launch as one of those that work on a sweep, which may be the only one."""

    def __init__(self, sweep: str = "", leases: NoLeases | None = None) -> None:
        """Name the sweep, and what this launch holds of the store; nothing where it is alone on that."""
        self.sweep, self.leases = sweep, leases or NoLeases()
        self.name = of_sweep(sweep)

    @contextmanager
    def entered(self, join: bool, is_search: bool, console_print: Callable[..., Any]) -> Iterator[None]:
        """Become a launch of the sweep and open it inside, while no other does, nor closes it.

        Args:
            join: Work beside others that live; else their being there is an error.
            is_search: A sampler proposes its trials, which one launch alone can ask; it is never joined.
            console_print: Prints a line.

        Raises:
            ConfigError: if it runs already, and is not to be joined, or cannot be.
        """
        with self.leases.held(f"open:{self.sweep}"):
            if others := members(self.leases.others(), self.sweep):
                advice = "To train beside it what it has not begun: --join (in Python join=True)"
                if is_search:
                    advice = "A search cannot be joined, as one launch alone asks its sampler: wait until it has ended"
                if is_search or not join:
                    raise ConfigError(f"the sweep {self.sweep} is running already, in {others[0]}. {advice}")
                console_print(f"{self.sweep}: joined, beside {', '.join(map(str, others))}", soft_wrap=True)
                self.name = of_sweep(self.sweep, self.leases.id)
            self.leases.need(self.name)
            yield

    def leave(self, close: Callable[[], None]) -> None:
        """Leave the sweep; `close` its parent run if no other launch works on it."""
        with self.leases.held(f"open:{self.sweep}"):
            self.leases.release(self.name)
            if not members(self.leases.others(), self.sweep):
                close()

    @contextmanager
    def in_turn(self, console_print: Callable[..., Any]) -> Iterator[None]:
        """Do what one launch of the sweep does at a time, and those after it find done."""
        with self.leases.held(
            f"finish:{self.sweep}",
            lambda holder: console_print(f"waiting for {holder}, which times epochs or writes the report"),
        ):
            yield
