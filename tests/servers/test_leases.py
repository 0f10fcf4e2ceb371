"""Leases on PostgreSQL: what is true of them on SQLite is true here, and of hosts that share nothing else."""

from __future__ import annotations

import time
from pathlib import Path
from uuid import uuid4

import pytest

from pipeline.config.schema import StoreConfig
from pipeline.tracking import lease_table, leases
from pipeline.tracking.lease_table import LeaseTable, read_leases
from pipeline.tracking.leases import Leases
from pipeline.tracking.retry import UnopenedStoreError
from sweeps.search.storage import open_storage
from tests.helpers.servers import Postgres
from tests.pipeline.tracking.test_leases import (  # noqa: F401
    age,
    given_up,
    table,
    test_a_launch_that_ends_gives_back_what_it_held,
    test_a_launch_that_was_given_up_for_dead_takes_back_what_it_needs,
    test_a_lease_has_one_holder_until_it_is_given_back,
    test_a_silent_launch_keeps_what_nobody_has_taken,
    test_a_sweep_that_another_launch_has_is_lost,
    test_of_many_processes_at_once_exactly_one_takes_each_lease,
    test_the_dead_are_forgotten_and_the_living_are_not,
    test_what_a_killed_process_held_is_free_at_once_on_its_machine,
    test_what_is_suspended_for_too_long_learns_that_it_has_lost_its_leases,
    test_what_was_not_confirmed_for_long_is_anybodys,
)

pytestmark = [pytest.mark.servers, pytest.mark.slow]


@pytest.fixture
def name(database: Postgres) -> str:
    """An empty database."""
    name = f"leases_{uuid4().hex[:8]}"
    database.create(name)
    return name


@pytest.fixture
def store(database: Postgres, name: str, tmp_path: Path) -> StoreConfig:
    return StoreConfig(str(tmp_path), None, database.url(name), 20.0, "none", 5000)


def test_two_hosts_know_of_each_other_though_they_share_no_folder(store: StoreConfig, tmp_path: Path) -> None:
    other = StoreConfig(str(tmp_path / "another"), None, store.optuna_url, 20.0, "none", 5000)
    with Leases(store, "sweep a") as ours, Leases(other, "sweep b") as theirs:
        assert ours.acquire("run:1")
        assert not theirs.acquire("run:1")
        assert set(read_leases(other.launches_uri, 5.0)[1]) == {"run:1"}
    assert not (tmp_path / "launches.db").exists()


def test_optunas_tables_are_made_beside_them(store: StoreConfig) -> None:
    with Leases(store, "sweep a"):
        open_storage(store).engine.dispose()  # type: ignore[attr-defined]
    with Leases(store, "sweep a") as again:
        assert again.acquire("run:1")


def test_a_database_of_mlflow_is_left_as_it_is(database: Postgres, name: str, store: StoreConfig) -> None:
    database.run(f"DROP DATABASE {name}")
    database.create(name, "mlflow_made")
    with pytest.raises(UnopenedStoreError, match="is no database of optuna"):
        Leases(store, "sweep a")
    assert database.count(name, "select count(*) from pg_tables where tablename like 'convsweep%'") == 0


def test_signs_of_life_go_on_after_a_restart(
    database: Postgres, store: StoreConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.2)
    with Leases(store, "sweep a") as ours:
        assert ours.acquire("run:1")
        database.service.stop()
        time.sleep(1)  # some signs of life fail
        database.service.start()
        since = LeaseTable(store.launches_uri, 20.0)
        end = time.monotonic() + 20
        while since.read()["run:1"].age > 0.5:
            assert time.monotonic() < end
            time.sleep(0.1)
        since.close()
        assert ours.is_ours("run:1")
    assert lease_table.LEASE_SECONDS == 30
