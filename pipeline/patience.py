"""Patience with a store that is locked or away for a moment; and the error where that lasts."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")

PAUSE_SECONDS = 0.5
# How SQLite and PostgreSQL say that they are busy, full or away, through whatever wraps them.
PASSING = (
    "database is locked",
    "database table is locked",
    "database or disk is full",
    "unable to open database file",
    "disk i/o error",
    "server closed the connection",
    "connection refused",
    "could not connect",
    "terminating connection",
    "the database system is",
    "connection reset",
    "no space left on device",
)


class StoreError(RuntimeError):
    """A store that cannot be used. The message says which, and why."""


class Patient:
    """Stands for `target`: a call that fails because the store is busy or away is made again, for `seconds` at most."""

    def __init__(self, target: Any, seconds: float) -> None:
        """Stand for `target`."""
        self._target, self._seconds = target, seconds

    def __getattr__(self, name: str) -> Any:
        """The target's attribute; its methods are patient."""
        found = getattr(self._target, name)
        if not callable(found):
            return found
        return lambda *given, **named: patiently(lambda: found(*given, **named), self._seconds)


def patiently(call: Callable[[], Result], seconds: float) -> Result:
    """What `call` returns; called again while it fails because the store is busy or away.

    Raises:
        StoreError: if that lasts longer than `seconds`.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            return call()
        except Exception as error:
            if not is_passing(error):
                raise
            if time.monotonic() >= end:
                told = str(error).strip().splitlines()[0]
                raise StoreError(f"the store did not answer for {seconds:.0f} s: {told}") from error
        time.sleep(PAUSE_SECONDS)


def is_passing(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, says that the store is busy, full or away."""
    while error is not None:
        if any(told in str(error).lower() for told in PASSING):
            return True
        error = error.__cause__ or error.__context__
    return False
