"""Errors of a store: waited for, said once, and told in one line."""

from __future__ import annotations

import pytest
from mlflow.exceptions import MlflowException, RestException
from sqlalchemy.exc import OperationalError

from pipeline.tracking import retry
from pipeline.tracking.retry import Retrying, StoreError, UnopenedStoreError, retried


class Store:
    """A store that fails so many times with an error."""

    def __init__(self, error: Exception, times: int) -> None:
        self.error, self.times = error, times

    def ask(self) -> str:
        self.times -= 1
        if self.times >= 0:
            raise self.error
        return "answer"


AWAY = [
    MlflowException("API request to http://u:hunter2@h/ failed with exception Max retries: Connection refused"),
    MlflowException("API request failed with exception too many 503 error responses"),
    OperationalError("SELECT 1", {}, Exception("database is locked")),
    OSError(28, "No space left on device"),
]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "PAUSE_SECONDS", 0.01)


@pytest.mark.parametrize("error", AWAY)
def test_what_passes_is_waited_for_and_said_once(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "convsweep")
    assert Retrying(Store(error, 3), 5, "the/store").ask() == "answer"
    (told,) = caplog.messages
    assert "the store the/store does not answer (" in told
    assert "retrying for 5 s" in told
    assert "hunter2" not in told


@pytest.mark.parametrize("error", AWAY)
def test_what_lasts_ends_with_the_time_that_was_waited(error: Exception) -> None:
    with pytest.raises(StoreError, match=r"the store x did not answer for 0 s: .*the same command continues") as told:
        retried(Store(error, 1000).ask, 0.05, "x")
    assert "hunter2" not in str(told.value)


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("INSERT", {}, Exception("attempt to write a readonly database")),
        MlflowException("(sqlite3.DatabaseError) database disk image is malformed"),
        PermissionError(13, "Permission denied"),
    ],
)
def test_what_is_broken_is_told_at_once(error: Exception) -> None:
    with pytest.raises(StoreError, match="the store x fails: "):
        retried(Store(error, 1).ask, 60, "x")
    with pytest.raises(UnopenedStoreError, match=r"the store x cannot be opened: .*Nothing was started"):
        retried(Store(error, 1).ask, 60, "x", UnopenedStoreError)


@pytest.mark.parametrize(
    "error", [RestException({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such run"}), ValueError("mine")]
)
def test_an_answer_is_no_failure(error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)):
        retried(Store(error, 1).ask, 60, "x")


@pytest.mark.parametrize(
    ("answer", "todo"),
    [
        (
            'connection to server at "db", port 5432 failed: fe_sendauth: no password supplied',
            "Give the user's password in PGPASSWORD or ~/.pgpass; one in the address takes precedence",
        ),
        (
            'connection failed: FATAL:  password authentication failed for user "me"\nMultiple attempts failed',
            "Give the user's password in PGPASSWORD or ~/.pgpass; one in the address takes precedence",
        ),
        ('connection failed: FATAL:  database "optuna" does not exist', "Create it: createdb optuna"),
        (
            "permission denied for schema public\nLINE 2: CREATE TABLE studies (",
            "The user has to own the database: ALTER DATABASE NAME OWNER TO USER",
        ),
    ],
)
def test_what_a_database_refuses_is_told_with_what_to_do(answer: str, todo: str) -> None:
    error = OperationalError("SELECT 1", {}, Exception(answer))
    error.__cause__ = error.orig
    with pytest.raises(UnopenedStoreError) as told:
        retried(Store(error, 1000).ask, 5.0, "x", UnopenedStoreError)
    advice = "Nothing was started. Repair it, or name another store"
    assert str(told.value) == f"the store x cannot be opened: {answer.splitlines()[0]}. {todo}. {advice}"
