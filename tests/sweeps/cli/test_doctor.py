"""The check-up: what needs attention, what mends it, and that nothing is written."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.config.compose import compose
from pipeline.config.groups import CONF
from pipeline.config.schema import RunConfig, StoreConfig
from pipeline.system import machine
from pipeline.system.notes import Note, notes_of
from pipeline.tracking.leases import Leases, of_run, of_sweep
from pipeline.tracking.ownership import owner
from pipeline.tracking.tracker import Tracker
from pipeline.training.identity import resolve
from sweeps.cli.main import main

Ask = Callable[..., tuple[int, str]]
WELL = "nothing needs attention"


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Run the doctor; return its exit code and what it prints."""
    monkeypatch.delenv("CONVSWEEP_DATA_DIR", raising=False)
    monkeypatch.setenv("CONVSWEEP_CACHE_DIR", str(tmp_path / "cache"))

    def run(*arguments: str) -> tuple[int, str]:
        code = main(["doctor", *arguments])
        return code, capsys.readouterr().out

    return run


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file()}


def running(root: Path, by: str) -> None:
    """Leave a RUNNING run of a process in the store."""
    tracker = Tracker(StoreConfig(str(root), None, None, 5.0, "none", 5000))
    run_id = tracker.open_run(resolve(compose(RunConfig, "train", []), "data"), "demo", "filters=32 seed=1", {}, [])
    tracker.tag(run_id, {"convsweep.owner": by})


def test_a_healthy_store_needs_no_attention_and_is_left_as_it_is(root: Path, ask: Ask) -> None:
    before = files(root.parent)
    code, told = ask()
    assert (code, told.splitlines()[-1]) == (0, WELL), told
    assert told.count("sound, of this version of") == 2
    for title in ("versions", "cores", "GPU", "precision and threads", "datasets", "store", "disk of the store"):
        assert f"\n{title}\n" in f"\n{told}", title
    assert files(root.parent) == before


def test_no_store_is_fine_and_none_is_made(empty: Path, ask: Ask) -> None:
    code, told = ask()
    assert (code, told.splitlines()[-1]) == (0, WELL)
    assert "nothing is there yet" in told
    assert list(empty.iterdir()) == []


def test_it_is_quick_as_it_imports_none_of_the_libraries(root: Path) -> None:
    code = "import sys; from sweeps.cli.main import main; main(['doctor']); print(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"tensorflow", "keras", "mlflow", "optuna"} & {*told.splitlines()[-1].split()}


def test_a_moved_store_is_relocated_by_the_command_that_is_shown(root: Path, ask: Ask) -> None:
    Tracker(StoreConfig(str(root), None, None, 5.0, "none", 5000)).experiment("demo")
    moved = root.with_name("moved")
    shutil.move(root, moved)
    code, told = ask(f"store.root={moved}")
    assert code == 1
    assert f"its database looks for files in {root}\n" in told
    assert f"    convsweep doctor --relocate store.root={moved}\n" in told
    assert ask("--relocate", f"store.root={moved}")[0] == 0
    assert ask(f"store.root={moved}")[0] == 0


@pytest.fixture
def ended() -> str:
    """The owner of a run whose process has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    host = owner().rsplit(":", 2)[0]
    return f"{host}:{process.pid}:12345"


def test_a_run_whose_process_has_ended_is_closed_by_the_command_that_is_shown(root: Path, ask: Ask, ended: str) -> None:
    running(root, ended)
    code, told = ask()
    assert code == 1
    pid = ended.split(":")[-2]
    assert f"! RUNNING: filters=32 seed=1 of demo, by process {pid} on " in told
    assert f"which has ended\n    convsweep doctor --close store.root={root}\n" in told
    assert ask("--close") == (0, "1 runs are closed as KILLED: their processes have ended\n")
    assert ask()[0] == 0


@pytest.mark.parametrize("by", ["", "elsewhere:1:2"], ids=["alive", "another host"])
def test_a_run_that_may_be_trained_is_shown_and_left_alone(root: Path, ask: Ask, by: str) -> None:
    state = "which cannot be asked from here" if by else "which is alive"
    by = by or owner()
    running(root, by)
    code, told = ask()
    assert code == 0, told
    host, pid, _ = by.rsplit(":", 2)
    assert f"  RUNNING: filters=32 seed=1 of demo, by process {pid} on {host}, {state}\n" in told


@pytest.fixture
def locked(root: Path) -> Iterator[None]:
    with closing(sqlite3.connect(root / "mlflow.db")) as database:
        database.execute("BEGIN EXCLUSIVE")
        yield


@pytest.mark.usefixtures("locked")
def test_a_locked_database_says_by_whom(root: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.tracking.health.SECONDS", 0.1)
    code, told = ask()
    assert code == 1
    assert f"! {root / 'mlflow.db'} is locked by process {os.getpid()} (" in told
    assert f"{root / 'optuna.db'}: " in told, "the other one is looked at all the same"


def test_whoever_holds_a_lock_of_the_store_is_named(root: Path, ask: Ask) -> None:
    (root / "locks").mkdir()
    with (root / "locks" / "demo.lock").open("w") as file, (root / "locks" / "free.lock").open("w"):
        fcntl.flock(file, fcntl.LOCK_EX)
        code, told = ask()
    assert code == 0
    assert f"the lock demo is held by process {os.getpid()} (" in told
    assert "the lock free" not in told


def test_what_launches_hold_is_shown_with_its_holder_and_age(root: Path, ask: Ask) -> None:
    with Leases(StoreConfig(str(root), None, None, 5.0, "none", 5000), "sweep demo") as held:
        held.acquire(of_sweep("demo"))
        held.acquire(of_run("0123456789abcdef"))
        held.table.acquire(of_run("f" * 64), replace(held.holder, id="gone", owner=held.holder.owner + "0"))
        before = files(root)
        code, told = ask()
        assert files(root) == before
    by = rf"is held by process {os.getpid()} on {socket.gethostname()} \(sweep demo\) for \d+ s, last heard of \d s ago"
    assert code == 0, told
    assert re.search(rf"  the sweep demo {by}\n", told)
    assert re.search(rf"  the run 0123456789ab {by}\n", told)
    assert re.search(rf"  the run ffffffffffff {by}, which has ended: the next launch that needs it takes it\n", told)


def changed(file: Path, statement: str) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        database.execute(statement)


BROKEN: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "damaged": (lambda file: file.write_bytes(b"no database " * 1000), "is damaged: file is not a database", "mv "),
    "torn": (lambda file: file.write_bytes(file.read_bytes()[:-8192]), "is damaged", "mv "),
    "newer": (
        lambda file: changed(file, "UPDATE alembic_version SET version_num = 'of tomorrow'"),
        "was made by a newer version of ",
        "pip install --upgrade ",
    ),
    "foreign": (lambda file: (file.unlink(), changed(file, "CREATE TABLE songs (x)")), "is no database of ", "mv "),
    "folder": (lambda file: (file.unlink(), file.mkdir()), "is no file, so no database", "mv "),
}


@pytest.mark.parametrize("name", ["mlflow.db", "optuna.db"])
@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_database_says_how_and_what_mends_it(root: Path, ask: Ask, kind: str, name: str) -> None:
    break_it, text, mend = BROKEN[kind]
    break_it(root / name)
    before = files(root)
    code, told = ask()
    assert code == 1, told
    assert f"! {root / name} {text}" in told
    assert f"    {mend}" in told
    assert "disk of the cache" in told, "what comes after is checked all the same"
    assert files(root) == before


@pytest.mark.parametrize(
    ("name", "version", "command"),
    [
        ("mlflow.db", "451aebb31d03", "mlflow db upgrade"),
        ("optuna.db", "v0.9.0.a", "optuna storage upgrade --storage"),
    ],
)
def test_an_older_database_is_copied_and_upgraded(root: Path, ask: Ask, name: str, version: str, command: str) -> None:
    changed(root / name, f"UPDATE alembic_version SET version_num = '{version}'")
    code, told = ask()
    assert code == 1
    assert "was made by an older version of" in told
    assert f"    cp '{root / name}' '{root / name}.before' && {command} 'sqlite" in told


def test_what_a_killed_process_has_half_written_is_left_to_the_next_command(root: Path, ask: Ask) -> None:
    file, copy = root / "optuna.db", root / "copy"
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("CREATE TABLE filler (x)")
        database.execute("INSERT INTO filler VALUES (zeroblob(1000000))")
        for statement in ("PRAGMA cache_size = 1", "BEGIN", "UPDATE filler SET x = zeroblob(2000000)"):
            database.execute(statement)
        copy.mkdir()
        for path in (file, root / "optuna.db-journal"):
            shutil.copy(path, copy)
    for path in copy.iterdir():
        shutil.move(path, root / path.name)
    before = files(root)
    code, told = ask()
    assert f"  {file}: a process was killed while it wrote" in told
    assert code == 0
    assert files(root) == before


def test_little_space_is_told_with_what_frees_some(root: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2**29, total=2**40))
    code, told = ask()
    assert code == 1
    assert f"! store {root}: 0.5 of 1,024.0 GiB are free\n    convsweep prune-cache store.root={root}\n" in told
    assert "\n2 of these need attention: !\n" in told


def test_a_folder_of_datasets_that_is_not_there_is_told(
    root: Path, ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVSWEEP_DATA_DIR", str(tmp_path / "nowhere"))
    code, told = ask()
    assert code == 1
    assert f"! CONVSWEEP_DATA_DIR (data.dir) is {tmp_path / 'nowhere'}, which is no folder\n    unset CONVS" in told


def test_a_server_that_is_away_is_told(root: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.tracking.health.SECONDS", 0.1)
    code, told = ask("store.tracking_uri=http://127.0.0.1:9")
    assert code == 1
    assert "! the store http://127.0.0.1:9 did not answer" in told
    assert "disk of the cache" in told


def test_a_database_that_is_away_is_told_once(root: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.tracking.health.SECONDS", 0.1)
    code, told = ask("store.optuna_url=postgresql+psycopg://me@127.0.0.1:9/optuna")
    assert code == 1
    assert told.count("! the store postgresql+psycopg://me@127.0.0.1:9/optuna did not answer") == 1
    assert "1 of these need attention" in told
    assert "Nothing was started" not in told


def test_a_wrong_override_is_refused_as_everywhere(empty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "store.rot=x"]) == 2
    assert "did you mean store.root?" in capsys.readouterr().err
    assert main(["doctor", "--relocate"]) == 2
    assert "there is no store in" in capsys.readouterr().err


def test_a_config_folder_of_ones_own_is_shown_and_a_broken_file_in_it_stops_nothing(root: Path, ask: Ask) -> None:
    (root.parent / "conf" / "optimizer").mkdir(parents=True)
    file = root.parent / "conf" / "optimizer" / "adam.yaml"
    shutil.copy(CONF / "optimizer" / "adam.yaml", file)
    code, told = ask()
    assert code == 0, told
    assert f"yours, {file.parent.parent}, before convsweep's own" in told
    assert "optimizer=adam is yours, instead of ours" in told
    file.write_text("name: [adam\n")
    code, told = ask()
    assert code == 1
    assert f"! {file} cannot be read: " in told
    assert f"    mend '{file}'\n" in told
    assert "disk of the cache" in told, "what comes after is checked with the built-in configs"


# -- this machine -----------------------------------------------------------------------------------------------------


def test_a_check_that_fails_keeps_what_it_found_before() -> None:
    def check() -> Iterator[Note]:
        yield Note("so far so good")
        raise OSError("the disk is gone")

    first, second = notes_of(check)
    assert (first.text, first.mend) == ("so far so good", "")
    assert "the disk is gone" in second.text
    assert second.mend


def test_packages_that_are_not_as_required_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "requires", lambda name: ["optuna<2", "numpy>=1", "absent-package", "x; extra=='y'"])
    found = [note for note in machine.version_notes() if note.mend]
    assert [note.mend for note in found] == ["pip install 'optuna<2'", "pip install 'absent-package'"]


def test_a_hidden_gpu_and_one_without_cudnn_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.system.hardware.NVIDIA_DRIVER", tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    (hidden,) = machine.gpu_notes()
    assert (hidden.text, hidden.mend) == ("no GPU: CUDA_VISIBLE_DEVICES=-1 hides it", "")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr("pipeline.system.hardware._has_cudnn", lambda: False)
    (lacking,) = machine.gpu_notes()
    assert "finds no cuDNN" in lacking.text
    assert lacking.mend.startswith("pip install 'tensorflow[and-cuda]==")


def test_tensorflow_is_asked_where_there_seems_to_be_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.system.hardware.NVIDIA_DRIVER", tmp_path)
    monkeypatch.setattr("pipeline.system.hardware._has_cudnn", lambda: True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(machine, "LIST_GPUS", "print('GPUs: /physical_device:GPU:0')")
    assert [note.text for note in machine.gpu_notes()] == ["TensorFlow computes on /physical_device:GPU:0"]
    monkeypatch.setattr(machine, "LIST_GPUS", "import sys; print('GPUs:'); sys.stderr.write('libcuda is too old')")
    (note,) = machine.gpu_notes()
    assert note.text.endswith("finds no GPU: libcuda is too old")
    assert note.mend
