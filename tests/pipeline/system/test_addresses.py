"""Which text is an address, and the files of SQLite addresses."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.system.addresses import (
    DATABASES,
    SERVERS,
    is_address,
    is_same_database,
    sqlite_file,
    sqlite_url,
    without_user,
)


@pytest.mark.parametrize("name", ["plain", "a b", "a%20b", "what?", "c#d", "josé", "a%20b?c#d é", "a+b&c=d"])
def test_every_file_name_has_an_address(tmp_path: Path, name: str) -> None:
    assert sqlite_file(sqlite_url(tmp_path / name)) == tmp_path / name


@pytest.mark.parametrize("text", ["", "..", "x.db", "http://", "sqlite://", "sqlite:///", "sqlite://x.db", "ftp://h/x"])
def test_what_is_no_address_is_refused(text: str) -> None:
    assert not is_address(text, (*SERVERS, *DATABASES))


@pytest.mark.parametrize("text", ["sqlite:///x.db", "sqlite+pysqlite:////x.db?timeout=3", "mysql+pymysql://u:p@h/d"])
def test_addresses_of_databases(text: str) -> None:
    assert is_address(text, DATABASES)
    assert not is_address(text, SERVERS)


MLFLOW = "postgresql+psycopg://me:secret@127.0.0.1/team"


@pytest.mark.parametrize(
    "text",
    [
        MLFLOW,
        "postgresql://localhost:5432/team",
        "postgresql+psycopg2://you@LOCALHOST/team?sslmode=disable",
        "postgresql://me@/team?host=/var/run/postgresql",
        "postgresql://[::1]/team",
    ],
)
def test_a_database_is_the_same_by_any_spelling(text: str) -> None:
    assert is_same_database(MLFLOW, text)


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://127.0.0.1/optuna",
        "postgresql://127.0.0.1:5433/team",
        "postgresql://db.team.org/team",
        "mysql://127.0.0.1/team",
        "postgresql://127.0.0.1:port/team",
        "http://127.0.0.1/team",
        "sqlite:///team",
    ],
)
def test_other_databases_are_others(text: str) -> None:
    assert not is_same_database(MLFLOW, text)


def test_files_are_the_same_by_any_spelling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_same_database(f"sqlite:///{tmp_path}/x.db", "sqlite+pysqlite:///x.db?timeout=3")
    assert not is_same_database("sqlite:///x.db", "sqlite:///y.db")


@pytest.mark.parametrize("text", ["http://me:se@cret@host:5000/mlflow/", "http://token@host:5000/mlflow"])
def test_an_address_to_open_names_no_user(text: str) -> None:
    assert without_user(text) == "http://host:5000/mlflow"
