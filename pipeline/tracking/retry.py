"""Patience with a store that is locked or away for a moment; and the errors where that lasts, or where it is broken."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

from pipeline.system.messages import masked, root_cause, with_causes

Result = TypeVar("Result")

PAUSE_SECONDS = 0.5
# How databases, servers and disks say that they are busy, full or away, through whatever wraps them.
PASSING = (
    "database is locked",
    "database table is locked",
    "database or disk is full",
    "unable to open database file",
    "disk i/o error",
    "server closed the connection",
    "connection refused",
    "could not connect",
    "can't connect to",
    "terminating connection",
    "the database system is",
    "connection reset",
    "connection aborted",
    "no space left on device",
    "error responses",
    "timed out",
    "name resolution",
    "name or service not known",
    "could not translate host name",
)


class StoreError(RuntimeError):
    """A store that fails. The message says which, and why, without a password."""

    verb = "fails"
    advice = "What was finished is kept; once the store is well, the same command continues"

    def __init__(self, message: str) -> None:
        """Say `message`, its passwords masked."""
        super().__init__(masked(message))


class UnopenedStoreError(StoreError):
    """A store that cannot be opened: nothing was started."""

    verb = "cannot be opened"
    advice = "Nothing was started. Mend it, or name another store"


class Patient:
    """Stands for `target`: a call that fails because the store is busy or away is made again, for `seconds` at most."""

    def __init__(self, target: Any, seconds: float, name: str) -> None:
        """Stand for `target`, a part of the store called `name`."""
        self._target, self._seconds, self._name = target, seconds, name

    def __getattr__(self, name: str) -> Any:
        """The target's attribute; its methods are patient."""
        found = getattr(self._target, name)
        if not callable(found):
            return found
        return lambda *given, **named: patiently(lambda: found(*given, **named), self._seconds, self._name)


def patiently(call: Callable[[], Result], seconds: float, name: str, kind: type[StoreError] = StoreError) -> Result:
    """What `call` returns; called again while it fails because the store `name` is busy or away.

    Raises:
        StoreError: of this kind, if that lasts longer than `seconds`, or if the store is broken.
    """
    begin, is_said = time.monotonic(), False
    while True:
        try:
            return call()
        except Exception as error:
            waited = time.monotonic() - begin
            if not is_passing(error):
                if is_failure(error):
                    raise kind(f"the store {name} {kind.verb}: {root_cause(error)}. {kind.advice}") from error
                raise
            if waited >= seconds:
                raise kind(
                    f"the store {name} did not answer for {waited:.0f} s: {root_cause(error)}. {kind.advice}"
                ) from error
            if not is_said:
                say(f"the store {name} does not answer ({root_cause(error)}); it is tried again for {seconds:.0f} s")
                is_said = True
        time.sleep(PAUSE_SECONDS)


def say(line: str) -> None:
    """Tell a person who waits, in one line, what is waited for."""
    print(f"convsweep: {masked(line)}", file=sys.stderr, flush=True)


def is_passing(error: BaseException) -> bool:
    """Whether an error, or one that it came from, says that the store is busy, full or away."""
    return any(sign in str(each).lower() for each in with_causes(error) for sign in PASSING)


def is_failure(error: BaseException) -> bool:
    """Whether an error says that the store itself failed; those that answer a question, as in "no such run", do not."""
    match type(error).__module__.partition(".")[0]:
        case "sqlalchemy" | "sqlite3":
            return True
        case "mlflow":
            return not str(getattr(error, "error_code", "")).startswith(("RESOURCE_", "INVALID_"))
        case "optuna":
            return type(error).__name__ == "StorageInternalError"
        case _:
            return isinstance(error, OSError) and not isinstance(error, FileNotFoundError)
