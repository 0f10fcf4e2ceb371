"""Text for people: no password in it, errors in one line."""

from __future__ import annotations

import pytest

from pipeline.system.messages import hide_environment, masked, one_line, printable, reason, root_cause, shown_address
from pipeline.tracking.retry import StoreError

SECRET = "hunter2"


@pytest.mark.parametrize(
    "address",
    [
        f"http://user:{SECRET}@host:5000/path",
        f"https://:{SECRET}@host",
        f"postgresql+psycopg://user:{SECRET}@host:5432/db",
        f"mysql://us%40er:pa@{SECRET}/x@host/db",
        f"mysql://user:pa%40{SECRET}%2F@host/db",
        f"postgresql://host/db?user=me&password={SECRET}&sslmode=require",
        f"mssql://host/db?PWD={SECRET}",
        f"http://host/?access_token={SECRET}",
        f"sqlite:////x.db?password={SECRET}",
    ],
)
def test_a_password_is_never_shown(address: str) -> None:
    for text in (address, f"['store.tracking_uri={address}']", f'failed: "{address}" (Connection refused)'):
        assert SECRET not in masked(text)
        assert "***" in masked(text)
        assert SECRET not in str(StoreError(text))
    assert SECRET not in shown_address(address)


@pytest.mark.parametrize("text", ["http://host:5000/#/experiments/1", "sqlite:////a b.db", "model@best", "a: b@c"])
def test_what_holds_no_password_is_shown_as_it_is(text: str) -> None:
    assert masked(text) == text


def test_errors_in_one_line() -> None:
    refused = OSError(111, "Connection refused", "/a/b")
    error = RuntimeError(f"sqlalchemy says\nmysql://me:{SECRET}@host")
    error.__cause__ = refused
    assert one_line(error) == "RuntimeError: sqlalchemy says"
    assert root_cause(error) == "[Errno 111] Connection refused: '/a/b'"
    assert reason(refused) == "Connection refused"
    assert (one_line(KeyError()), reason(KeyError()), root_cause(KeyError())) == ("KeyError: ", "KeyError", "KeyError")
    assert len(one_line(ValueError("x" * 999))) == 300


def test_control_characters_are_escaped() -> None:
    assert printable("a\x1b[31m\nb é") == r"a\x1b[31m\nb é"


def test_passwords_of_the_environment_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "of-the-server")
    monkeypatch.setenv("PGPASSWORD", "of-the-database")
    hide_environment()
    assert masked("of-the-server, of-the-database") == "***, ***"
