"""Servers that are away, others' or half set up: one message without passwords, and nothing half written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from sweeps.cli.main import main
from tests.conftest import SMALL
from tests.helpers.servers import PASSWORD, free_port, mlflow_service, running
from tests.servers.conftest import Team

pytestmark = [pytest.mark.servers, pytest.mark.slow]

SEARCH = ["study", "smoke", "workers=1"]
REFUSED: dict[str, tuple[Callable[[Team], str], str]] = {
    "a database that is missing": (
        lambda team: f"store.optuna_url={team.database.url('nothing')}",
        'database "nothing" does not exist. Create it: createdb nothing',
    ),
    "a wrong password": (
        lambda team: f"store.optuna_url={team.database.url('optuna', password='wrong' + PASSWORD)}",
        'password authentication failed for user "convsweep". Give the user\'s password in PGPASSWORD or ~/.pgpass',
    ),
    "the database behind MLflow's server": (
        lambda team: f"store.optuna_url={team.database.url('mlflow')}",
        "is no database of optuna, but another application's",
    ),
    "a server that is away": (
        lambda team: f"store.tracking_uri=http://me:{PASSWORD}@127.0.0.1:{free_port()}",
        "did not answer for 1 s",
    ),
    "a driver that is missing": (
        lambda team: f"store.optuna_url={team.database.url('optuna', 'postgresql+pg8000')}",
        "in convsweep's checkout, pip install '.[postgres]'",
    ),
}


def require_nothing_written(team: Team, told: str) -> None:
    assert PASSWORD not in told
    assert "Traceback" not in told
    assert [each.name for each in team.client.search_experiments()] == ["Default"]
    assert team.database.count("optuna", "SELECT count(*) FROM studies") == 0


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_used_is_told_in_one_message(team: Team, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    word, message = REFUSED[what]
    assert main([*SEARCH, *team.of("me", 1.0), word(team)]) == 2
    told = capsys.readouterr()
    assert message in told.err
    require_nothing_written(team, told.out + told.err)


def test_a_database_of_another_version_is_not_touched(team: Team, capsys: pytest.CaptureFixture[str]) -> None:
    storage = optuna.storages.RDBStorage(team.optuna_url)
    optuna.create_study(storage=storage, study_name="theirs").ask()
    storage.remove_session()
    storage.engine.dispose()
    with team.database.connected("optuna") as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v0.9.0.a'")
    assert main([*SEARCH, *team.of("me", 1.0)]) == 2
    told = capsys.readouterr().err
    assert "is of another version of optuna" in told
    assert "optuna storage upgrade --storage 'postgresql+psycopg://convsweep:***@" in told
    assert PASSWORD not in told
    assert team.database.count("optuna", "SELECT count(*) FROM studies") == 1
    assert [each.name for each in team.client.search_experiments()] == ["Default"]


def test_an_experiment_whose_files_are_on_one_machine_is_refused(
    team: Team, capsys: pytest.CaptureFixture[str]
) -> None:
    team.client.create_experiment("smoke", f"file://{team.folder}/files")
    assert main([*SEARCH, *team.of("me")]) == 2
    told = capsys.readouterr().err
    assert f"keeps its files in file://{team.folder}/files" in told
    assert "Rename it in MLflow's pages" in told
    assert team.client.search_runs([team.client.get_experiment_by_name("smoke").experiment_id]) == []
    assert team.database.count("optuna", "SELECT count(*) FROM studies") == 0


def test_a_server_that_takes_no_files_is_refused(
    team: Team, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--no-serve-artifacts", "--default-artifact-root", str(team.folder / "files")]
    with running(mlflow_service(team.folder / "server", team.database.url("mlflow"), *words)) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.port}")
        assert main([*SEARCH, *team.of("me")]) == 2
    told = capsys.readouterr()
    assert "runs without --serve-artifacts" in told.err
    require_nothing_written(team, told.out + told.err)


def test_files_that_a_server_cannot_keep_end_the_run_with_the_reason(
    team: Team, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(team.artifacts).write_text("no folder")  # also root cannot write into it
    try:
        assert main(["train", *SMALL, "data.limit=100", *team.of("me", 1.0)]) == 1
    finally:
        Path(team.artifacts).unlink()
    told = capsys.readouterr().err
    assert "usually its --artifacts-destination is not writable" in told.replace("\n", " ")
    (run,) = team.client.search_runs([team.client.get_experiment_by_name("train").experiment_id])
    assert run.info.status == "KILLED"
    assert "--artifacts-destination" in run.data.tags["convsweep.reason"]
