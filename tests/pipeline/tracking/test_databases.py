"""Databases: made whole or not at all, once; and never changed by a look at them."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.config.schema import StoreConfig
from pipeline.system.addresses import sqlite_url
from pipeline.tracking.databases import MLFLOW, Schema, is_made, make
from pipeline.tracking.retry import UnopenedStoreError
from pipeline.tracking.tracker import Tracker
from sweeps.cli.main import main

ANY = Schema("optuna", "storages/_rdb/alembic", "studies", "trials", "")
DRY_RUNS = [["ablate", "demo", "--dry-run"], ["study", "smoke", "--dry-run"]]


def fill(file: Path, *statements: str) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        for statement in statements:
            database.execute(statement)


def build(address: str) -> None:
    """Make an Optuna database of this version."""
    from sweeps.search.storage import _build

    _build(address)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_database_is_made_once_by_many_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "convsweep")
    file, built = tmp_path / "new" / "x.db", []

    def build_one(address: str) -> None:
        built.append(address)
        assert not file.exists(), "nobody sees it before it is whole"
        build(address)

    threads = [threading.Thread(target=make, args=(sqlite_url(file), ANY, build_one, tmp_path)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    assert is_made(sqlite_url(file), ANY)
    assert caplog.messages == [f"making the database {file}"], "a person waits"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, RuntimeError])
def test_a_build_that_is_cut_off_leaves_nothing_in_its_place(tmp_path: Path, kind: type[BaseException]) -> None:
    file = tmp_path / "x.db"

    def cut(address: str) -> None:
        build(address)
        raise kind

    with pytest.raises(kind):
        make(sqlite_url(file), ANY, cut, tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]
    make(sqlite_url(file), ANY, build, tmp_path)
    assert is_made(sqlite_url(file), ANY)


def test_what_a_killed_build_left_is_cleared_away(tmp_path: Path) -> None:
    file = tmp_path / "x.db"
    fill(tmp_path / ".x.db.new", "create table _alembic_tmp_half (x)")
    for name in (".x.db.new-journal", "x.db-journal"):
        (tmp_path / name).write_bytes(b"half")
    file.touch()  # empty, as a killed command of an earlier version left it
    make(sqlite_url(file), ANY, build, tmp_path)
    assert is_made(sqlite_url(file), ANY)
    assert {path.name for path in tmp_path.iterdir()} == {"x.db", ".x.db.lock"}


HALF = ("create table experiments (x)", "create table runs (x)", "create table _alembic_tmp_runs (x)")
BROKEN = {
    "foreign": (("create table songs (x)",), "another application's: it has the tables songs"),
    "half": (HALF, "delete it, and the same command makes a new one"),
    "older": ((*HALF[:2], "insert into runs values (1)"), "mlflow db upgrade"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_database_of_ours_is_told_with_what_to_do(tmp_path: Path, kind: str) -> None:
    statements, message = BROKEN[kind]
    fill(tmp_path / "mlflow.db", *statements)
    before = files(tmp_path)
    with pytest.raises(UnopenedStoreError, match=message):
        Tracker(StoreConfig(str(tmp_path), None, None, 1.0, "none", 5000))
    assert files(tmp_path) == before


@pytest.mark.parametrize("arguments", DRY_RUNS)
@pytest.mark.parametrize("name", ["mlflow.db", "optuna.db"])
@pytest.mark.parametrize("content", ["damaged", "foreign", "older", "empty"])
def test_a_dry_run_tells_of_a_broken_database_and_changes_nothing(
    root: Path, name: str, content: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    file = root / name
    file.unlink(missing_ok=True)
    if content == "damaged":
        file.write_bytes(b"this is no database, and long enough to be noticed" * 100)
    elif content == "foreign":
        fill(file, "create table songs (x)")
    elif content == "older":
        fill(file, *(f"create table {table} (x)" for table in ("experiments", "runs", "studies", "trials")))
        fill(file, "insert into runs values (1)", "insert into trials values (1)")
    else:
        file.touch()
    before = files(root.parent)
    assert main([*arguments, "store.retry_seconds=1"]) == (0 if content == "empty" else 2)
    told = capsys.readouterr()
    assert files(root.parent) == before
    if content != "empty":
        assert str(file) in told.err
        assert told.err.count("\n") == 1
        assert told.out == ""


def test_a_dry_run_of_a_training_tells_of_a_broken_database(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "mlflow.db").write_bytes(b"this is no database, and long enough to be noticed" * 100)
    assert main(["train", "--dry-run"]) == 2
    assert "mlflow.db cannot be opened" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["train", "--dry-run"], *DRY_RUNS])
@pytest.mark.parametrize(
    "store", ["store.root=new", "store.tracking_uri=sqlite:///new.db", "store.optuna_url=sqlite:///o"]
)
def test_a_dry_run_on_a_new_store_writes_nothing(
    tmp_path: Path, arguments: list[str], store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*arguments, store]) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", ["store.tracking_uri", "store.optuna_url"])
@pytest.mark.parametrize("value", ["..", "x.db", "sqlite://x.db"])
def test_what_is_no_address_is_refused_with_an_example(
    tmp_path: Path, key: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["study", "smoke", f"{key}={value}"]) == 2
    assert "an address as in sqlite:////home/me/" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        (
            {},
            "MLFLOW_TRACKING_URI and CONVSWEEP_OPTUNA_URL are not set: export MLFLOW_TRACKING_URI=http://HOST:5000 "
            "CONVSWEEP_OPTUNA_URL=postgresql+psycopg://USER@HOST/optuna, or give store.tracking_uri=... "
            "store.optuna_url=...",
        ),
        (
            {"CONVSWEEP_OPTUNA_URL": "postgresql://host/optuna"},
            "MLFLOW_TRACKING_URI is not set: export MLFLOW_TRACKING_URI=http://HOST:5000, "
            "or give store.tracking_uri=...",
        ),
        (
            {"MLFLOW_TRACKING_URI": "http://host:5000", "CONVSWEEP_OPTUNA_URL": ""},
            "CONVSWEEP_OPTUNA_URL is not set: export CONVSWEEP_OPTUNA_URL=postgresql+psycopg://USER@HOST/optuna, "
            "or give store.optuna_url=...",
        ),
    ],
)
def test_variables_that_are_not_set_are_named(
    variables: dict[str, str],
    told: str,
    empty: Path,
    no_servers: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert main(["report", "demo", "store=server"]) == 2
    assert capsys.readouterr().err == f"convsweep: {told}\n"


def test_any_folder_can_be_a_store(tmp_path: Path, migrated: Path) -> None:
    folder = tmp_path / "a%20b?c#d é"
    folder.mkdir()
    shutil.copy(migrated / "mlflow.db", folder / "mlflow.db")
    store = StoreConfig(str(folder), None, None, 5.0, "none", 5000)
    tracker = Tracker(store)
    run = tracker.create("train", "name", {"convsweep.kind": "run"})
    tracker.write_file(run, "told.txt", "told")
    make(store.optuna_uri, ANY, build, folder)
    again = Tracker(store)
    assert again.read_file(run, "told.txt") == "told"
    assert [p.name for p in tmp_path.iterdir()] == [folder.name]
    assert {p.name for p in folder.iterdir()} == {"mlflow.db", "optuna.db", "artifacts", ".optuna.db.lock"}
    assert is_made(store.mlflow_uri, MLFLOW)
