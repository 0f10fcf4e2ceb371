"""Retry while a store is busy or away; the errors where that lasts, or where the store is broken."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import Any, TypeVar

from pipeline.system.errors import ConvsweepError
from pipeline.system.messages import masked, root_cause, with_causes

Result = TypeVar("Result")

PAUSE_SECONDS = 0.5
_WHO = "Say who you are by MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or by MLFLOW_TRACKING_TOKEN"
_MAY = "You may not write there"
# What to do about an answer of MLflow's server, by its error's code or a part of its message.
REFUSALS = {
    "Invalid Host header": "The server does not go by the name in this address: add it to its --allowed-hosts",
    "UNAUTHENTICATED": _WHO,
    "401 Client Error": _WHO,
    "PERMISSION_DENIED": _MAY,
    "403 Client Error": _MAY,
}
# What to do about what PostgreSQL answers, by a pattern in its message, whose groups the hint may repeat.
DATABASE_REFUSALS = {
    r"no password supplied|password authentication failed": (
        "Give the user's password in PGPASSWORD or ~/.pgpass; one in the address takes precedence"
    ),
    r'database "([^"]+)" does not exist': r"Create it: createdb \1",
    r"permission denied for (?:schema|database)": "The user has to own the database: ALTER DATABASE NAME OWNER TO USER",
}
PROXY = "/mlflow-artifacts/artifacts"  # the part of an address at which MLflow's server takes and gives files
# How databases, servers and disks say that they are busy, full or away, whatever wraps their message.
TRANSIENT = re.compile(
    r"database (table )?is locked|unable to open database file|database or disk is full|disk i/o error"
    r"|no space left on device|the database system is|terminating connection|server closed the connection"
    r"|connection (refused|reset|aborted)|could not connect|can't connect to|timed out|error responses"
    r"|connection is (closed|lost)|no connection to the server|consuming input failed|could not receive data"
    r"|name resolution|name or service not known|could not translate host name",
    re.IGNORECASE,
)


class StoreError(ConvsweepError, RuntimeError):
    """A store that fails. The message names it and the cause, without passwords."""

    verb = "fails"
    advice = "Finished runs are kept; once the store works again, the same command continues"

    def __init__(self, message: str) -> None:
        """Mask passwords in `message`."""
        super().__init__(masked(message))


class UnopenedStoreError(StoreError):
    """A store that cannot be opened: nothing was started."""

    verb = "cannot be opened"
    advice = "Nothing was started. Repair it, or name another store"


class Retrying:
    """Stands in for `target`, a part of the store `name`, and retries its methods for up to `seconds`."""

    def __init__(self, target: Any, seconds: float, name: str) -> None:
        """Stand in for `target`."""
        self._target, self._seconds, self._name = target, seconds, name

    def __getattr__(self, name: str) -> Any:
        """Return the target's attribute; a method is retried."""
        value = getattr(self._target, name)
        if not callable(value):
            return value
        return lambda *args, **kwargs: retried(lambda: value(*args, **kwargs), self._seconds, self._name)


def retried(call: Callable[[], Result], seconds: float, name: str, kind: type[StoreError] = StoreError) -> Result:
    """Return `call()`, repeated for up to `seconds` while the store `name` is busy or away.

    Raises:
        StoreError: of this kind, if that lasts longer, or if the store is broken.
    """
    begin, is_announced = time.monotonic(), False
    while True:
        try:
            return call()
        except Exception as error:
            waited = time.monotonic() - begin
            if not is_transient(error):
                if not is_failure(error):
                    raise
                raise kind(f"the store {name} {kind.verb}: {_cause(error)}. {kind.advice}") from error
            if waited >= seconds:
                trouble = f"the store {name} did not answer for {waited:.0f} s: {_cause(error)}"
                raise kind(f"{trouble}. {kind.advice}") from error
            if not is_announced:
                say(f"the store {name} does not answer ({_cause(error)}); retrying for {seconds:.0f} s")
                is_announced = True
        time.sleep(PAUSE_SECONDS)


def created(target: Any, create: Callable[[Any], Result], find: Callable[[], Result | None]) -> Result:
    """Return what `create` makes by a Retrying's target, once: what was made before an answer was lost is found.

    Raises:
        StoreError: as `retried`.
    """
    is_repeated = False

    def attempt() -> Result:
        nonlocal is_repeated
        if is_repeated and (found := find()) is not None:
            return found
        is_repeated = True
        return create(target._target)

    return retried(attempt, target._seconds, target._name)


def _cause(error: Exception) -> str:
    """Return the first cause in one line, and where to look if a server lets nobody in, or cannot keep files."""
    cause = root_cause(error)
    code = getattr(error, "error_code", "")
    if hint := next((hint for sign, hint in REFUSALS.items() if sign == code or sign in cause), ""):
        return f"{cause}. {hint}"
    for pattern, hint in DATABASE_REFUSALS.items():
        if found := re.search(pattern, cause):
            return f"{cause}. {found.expand(hint)}"
    if "500 error" in cause and any(PROXY in str(each) for each in with_causes(error)):
        cause += " when a file is to be kept: its log says why; usually its --artifacts-destination is not writable"
    return cause


def say(line: str) -> None:
    """Log a line for a person who waits: the command prints it, a program that imports this shows nothing."""
    logging.getLogger("convsweep").info(masked(line))


def is_transient(error: BaseException) -> bool:
    """Return whether an error, or one of its causes, says that the store is busy, full or away."""
    return any(TRANSIENT.search(str(each)) for each in with_causes(error))


def is_failure(error: BaseException) -> bool:
    """Return whether the store itself failed; an answer such as "no such run" is no failure."""
    match type(error).__module__.partition(".")[0]:
        case "sqlalchemy" | "sqlite3":
            return True
        case "mlflow":
            return not str(getattr(error, "error_code", "")).startswith(("RESOURCE_", "INVALID_"))
        case "optuna":
            return type(error).__name__ == "StorageInternalError"
        case _:
            return isinstance(error, OSError) and not isinstance(error, FileNotFoundError)
