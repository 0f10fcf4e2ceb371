"""Leases: of many launches one has it, as long as it lives; real processes, real signals, real databases."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config.schema import StoreConfig
from pipeline.tracking import databases, lease_table, leases
from pipeline.tracking.lease_table import Holder, LeaseTable, read_leases
from pipeline.tracking.leases import Leases, LostLeaseError, living, of_sweep
from pipeline.tracking.ownership import machine, owner
from pipeline.tracking.tracker import Tracker

HERE = Holder("here", owner(), machine(), "sweep a")
ELSEWHERE = Holder("elsewhere", "elsewhere:1:2", "another machine", "sweep b")
# Holds a lease in a process of its own, says so, and tells on demand whether it still has it.
HOLD = """
import sys
from pipeline.config.schema import StoreConfig
from pipeline.tracking import lease_table, leases
lease_table.LEASE_SECONDS = leases.LEASE_SECONDS = float(sys.argv[2])
leases.BEAT_SECONDS = leases.LONGEST_PAUSE = float(sys.argv[2]) / 8
with leases.Leases(StoreConfig(sys.argv[1], None, sys.argv[3] or None, 20.0, "none", 5000), "sweep c") as held:
    print(held.need("a"), held.acquire("run:1"), flush=True)
    for line in sys.stdin:
        try:
            held.check()
            print(held.is_ours("run:1"), flush=True)
        except leases.LostLeaseError as error:
            print(held.is_ours("run:1"), error, flush=True)
"""
# Waits for the others, then tries to take twenty leases.
RACE = """
import sys, time
from pathlib import Path
from pipeline.tracking.lease_table import Holder, LeaseTable
from pipeline.tracking.ownership import machine, owner
table = LeaseTable(sys.argv[1], 20.0)
me = Holder(sys.argv[2], owner(), machine(), "race")
print("ready", flush=True)
sys.stdin.readline()
print(*[number for number in range(20) if table.acquire(f"run:{number}", me)], flush=True)
sys.stdin.readline()
"""


def store_in(folder: Path) -> StoreConfig:
    return StoreConfig(str(folder), None, None, 20.0, "none", 5000)


@pytest.fixture
def store(tmp_path: Path) -> StoreConfig:
    return store_in(tmp_path)


@pytest.fixture
def table(store: StoreConfig) -> Iterator[LeaseTable]:
    made = LeaseTable(store.launches_uri, store.retry_seconds)
    yield made
    made.close()


@pytest.fixture
def age(table: LeaseTable) -> Callable[[float], None]:
    """Let all leases be older by so many seconds."""

    def older(seconds: float) -> None:
        from sqlalchemy import text

        with table._engine.begin() as connection:
            connection.execute(
                text("UPDATE convsweep_leases SET beat = beat - :by, since = since - :by"), {"by": seconds}
            )

    return older


@contextmanager
def process(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    words = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


def said(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def ask(child: subprocess.Popen[str]) -> str:
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()
    return said(child)


def test_a_lease_has_one_holder_until_it_is_given_back(table: LeaseTable) -> None:
    assert table.acquire("run:1", HERE)
    assert table.acquire("run:1", HERE), "taking it twice changes nothing"
    assert not table.acquire("run:1", ELSEWHERE)
    assert table.acquire("run:2", ELSEWHERE)
    assert {name: lease.holder for name, lease in table.read().items()} == {"run:1": HERE, "run:2": ELSEWHERE}
    table.release(ELSEWHERE, "run:1")
    assert table.confirm(HERE, "run:1"), "nobody gives back what is another's"
    table.release(HERE)
    assert table.acquire("run:1", ELSEWHERE)
    assert not table.confirm(HERE, "run:1")


def test_a_lease_that_another_has_just_taken_is_not_ours(table: LeaseTable, monkeypatch: pytest.MonkeyPatch) -> None:
    assert table.acquire("a", ELSEWHERE)
    monkeypatch.setattr(table, "read", dict)  # as it was read before
    assert not table.acquire("a", HERE)
    monkeypatch.undo()
    assert table.read()["a"].holder == ELSEWHERE


def test_what_was_not_confirmed_for_long_is_anybodys(table: LeaseTable, age: Callable[[float], None]) -> None:
    assert table.acquire("run:1", ELSEWHERE)
    age(lease_table.LEASE_SECONDS - 5)
    assert not table.acquire("run:1", HERE)
    age(10)
    assert table.acquire("run:1", HERE)
    assert not table.confirm(ELSEWHERE, "run:1")


def test_a_silent_launch_keeps_what_nobody_has_taken(table: LeaseTable, age: Callable[[float], None]) -> None:
    assert table.acquire("run:1", ELSEWHERE)
    age(1000)
    assert table.confirm(ELSEWHERE, "run:1")
    assert not table.acquire("run:1", HERE)


def test_the_dead_are_forgotten_and_the_living_are_not(table: LeaseTable, age: Callable[[float], None]) -> None:
    table.acquire("run:1", ELSEWHERE)
    age(1000)
    table.acquire("run:2", HERE)
    table.acquire("run:3", replace(HERE, id="gone", owner=HERE.owner + "0"))
    table.acquire("run:4", replace(HERE, id="there", owner=HERE.owner + "0", machine="another machine"))
    table.remove_dead()
    assert set(table.read()) == {"run:2", "run:4"}


@pytest.mark.slow
def test_of_many_processes_at_once_exactly_one_takes_each_lease(store: StoreConfig) -> None:
    address, taken = store.launches_uri, Counter[str]()
    with ExitStack() as stack:
        racing = [stack.enter_context(process(RACE, address, number)) for number in range(4)]
        assert [said(child) for child in racing] == ["ready"] * 4
        for child in racing:
            assert child.stdin is not None
            child.stdin.write("\n")
            child.stdin.flush()
        for child in racing:
            taken.update(said(child).split())
    assert taken == {str(number): 1 for number in range(20)}


def test_what_a_killed_process_held_is_free_at_once_on_its_machine(store: StoreConfig) -> None:
    with process(HOLD, store.root, 30, store.optuna_url or "") as child, Leases(store, "sweep d") as ours:
        assert said(child) == "True True"
        assert not ours.acquire("a")
        assert "sweep c" in str(ours.others()["a"].holder)
        child.kill()
        child.wait()
        with ours.held("a"):
            assert ours.is_ours("a")


def test_a_launch_that_ends_gives_back_what_it_held(store: StoreConfig, table: LeaseTable) -> None:
    with Leases(store, "sweep d") as ours:
        assert ours.need("sweep:d")
        assert ours.acquire("run:1")
        assert set(table.read()) == {"sweep:d", "run:1"}
    assert table.read() == {}


def test_what_is_suspended_for_too_long_learns_that_it_has_lost_its_leases(
    store: StoreConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_table, "LEASE_SECONDS", 2.0)
    with process(HOLD, store.root, 2, store.optuna_url or "") as child, Leases(store, "sweep d") as ours:
        assert said(child) == "True True"
        assert ask(child) == "True"
        os.kill(child.pid, signal.SIGSTOP)
        with ours.held("a"), ours.held("run:1"):
            os.kill(child.pid, signal.SIGCONT)
            told = ask(child)
    assert told.startswith("False this launch was suspended"), told
    assert f"process {os.getpid()} on " in told
    assert "has taken its place" in told


@pytest.fixture
def given_up(store: StoreConfig, table: LeaseTable, monkeypatch: pytest.MonkeyPatch) -> Iterator[Leases]:
    """The leases of a launch that needed a sweep and trained a run when others gave it up for dead."""
    monkeypatch.setattr(leases, "LONGEST_PAUSE", 0.0)
    with Leases(store, "sweep d") as ours:
        ours.need("sweep:d")
        ours.acquire("run:1")
        table.release(ours.holder)
        yield ours


def test_a_launch_that_was_given_up_for_dead_takes_back_what_it_needs(given_up: Leases, table: LeaseTable) -> None:
    given_up.check()
    assert set(table.read()) == {"sweep:d"}, "of a run it is not known what became of it meanwhile"
    assert not given_up.is_ours("run:1")


def test_a_sweep_that_another_launch_has_is_lost(given_up: Leases, table: LeaseTable) -> None:
    table.acquire("sweep:d", ELSEWHERE)
    with pytest.raises(LostLeaseError, match=r"process 1 on elsewhere \(sweep b\) has taken its place"):
        given_up.check()


def test_signs_of_life_go_on_beside_long_work_and_after_a_locked_database(
    store: StoreConfig, table: LeaseTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(databases, "LOCKED_SECONDS", 0.1)

    def beats() -> float:
        return table.read()["run:1"].age

    with Leases(store, "sweep d") as ours:
        ours.acquire("run:1")
        with sqlite3.connect(Path(store.root) / "launches.db", timeout=30) as database:
            database.execute("BEGIN EXCLUSIVE")
            end = time.monotonic() + 1
            while time.monotonic() < end:  # work that lets go of the interpreter's lock as rarely as it can
                sum(range(100_000))
        database.close()
        time.sleep(0.5)
        assert beats() < 0.5
        assert ours._beating.is_alive()


@pytest.mark.slow
def test_a_locked_database_is_waited_for(store: StoreConfig, table: LeaseTable) -> None:
    code = (
        "import sqlite3, sys, time; base = sqlite3.connect(sys.argv[1]); base.execute('BEGIN EXCLUSIVE'); "
        "print('locked', flush=True); time.sleep(4)"
    )
    with process(code, Path(store.root) / "launches.db") as child:
        assert said(child) == "locked"
        assert table.acquire("run:1", HERE)


def test_a_broken_database_is_told_with_its_name(store: StoreConfig) -> None:
    (Path(store.root) / "launches.db").write_bytes(b"no database" * 1000)
    with pytest.raises(leases.StoreError, match=r"launches\.db cannot be opened: file is not a database"):
        Leases(store, "sweep d")


def test_reading_creates_nothing(store: StoreConfig) -> None:
    assert read_leases(store.launches_uri, 1.0) == ("", {})
    assert list(Path(store.root).iterdir()) == []


def test_runs_of_launches_that_are_gone_are_closed_and_others_are_not(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_in(root)
    tracker = Tracker(store)
    with Leases(store, "sweep d") as ours, Leases(store, "sweep e") as joined:
        joined.acquire(of_sweep("d", joined.id))
        ours.acquire(of_sweep("d"))
        ids, tags = (
            {},
            {"alive": ours.tag, "gone": f"{ours.table.id}:gone", "unknown": "another database:gone", "old": ""},
        )
        for name, tag in tags.items():
            tracker.launch = tag
            ids[name] = tracker.create("d", name, {"convsweep.kind": "run"})
            tracker.tag(ids[name], {"convsweep.owner": "elsewhere:1:2"})
        tracker.launch = ours.tag
        parent = tracker.open_sweep("d", {})
        assert tracker.close_abandoned() == 1
        assert {name for name, run_id in ids.items() if tracker.get(run_id).status == "RUNNING"} == {
            "alive",
            "unknown",
            "old",
        }
        ours.table.release(ours.holder)
        assert tracker.close_abandoned() == 1, "the run, and not the sweep, as another launch has joined it"
        assert tracker.get(parent).status == "RUNNING"
        joined.table.release(joined.holder)
        assert living(store).leases == {}
        assert tracker.close_abandoned() == 1
        assert tracker.get(parent).status == "KILLED"
