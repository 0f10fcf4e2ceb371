"""A server that asks for a password: whom it lets in, what it says to others, and where the password is not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest
import requests

from sweeps.cli.main import main
from tests.conftest import SMALL
from tests.helpers.servers import PASSWORD, Service, mlflow_service, running
from tests.servers.conftest import Team
from tests.test_secrets import holding

pytestmark = [pytest.mark.servers, pytest.mark.slow]

ADMIN, READER = "the-admins-own-s3cret", "the-readers-own-s3cret"
RUN = ["train", *SMALL, "data.limit=100"]
SEARCH = ["study", "smoke", "trainer.epochs=1", "data.limit=100", "workers=1", "study.confirm_seeds=[]"]
CONFIG = """[mlflow]
default_permission = READ
database_uri = sqlite:///{folder}/users.db
admin_username = admin
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
grant_default_workspace_access = false
auth_cache_ttl_seconds = 60
"""


@pytest.fixture
def guarded(team: Team, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """An MLflow server with two users: an admin, and one who may read; the environment names it and the admin."""
    (team.folder / "auth.ini").write_text(CONFIG.format(folder=team.folder))
    environment = {
        "MLFLOW_AUTH_CONFIG_PATH": str(team.folder / "auth.ini"),
        "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "of-the-test",
    }
    words = ["--app-name", "basic-auth"]
    service = mlflow_service(team.folder / "server", team.database.url("mlflow"), *words, **environment)
    with running(service):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{service.port}")
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", ADMIN)
        made = requests.post(
            f"http://127.0.0.1:{service.port}/api/2.0/mlflow/users/create",
            json={"username": "reader", "password": READER},
            auth=("admin", ADMIN),
            timeout=20,
        )
        assert made.status_code == 200, made.text
        yield service


def test_users_may_what_the_server_lets_them_and_no_password_is_left_anywhere(
    team: Team, guarded: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-m", "sweeps.cli.main", *SEARCH, "study.n_trials=1", *team.of("me")]
    lines: set[str] = set()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            lines |= {" ".join(each.cmdline()) for each in family if each.is_running()}
    told = "".join(said)
    assert process.returncode == 0, told
    assert any("worker" in line or "spawn" in line for line in lines), "its workers were seen"

    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "reader")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", READER)
    for words in ([*SEARCH, "study.n_trials=2"], ["report", "smoke"]):
        code = main([*words, *team.of("you")])
        error = capsys.readouterr().err
        assert code in (1, 2)
        assert "may not write" in error, error
        assert "Traceback" not in error
        told += error
    assert team.database.count("optuna", "SELECT count(*) FROM trials") == 1

    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", f"not {READER}")
    assert main([*RUN, *team.of("you")]) == 2
    error = capsys.readouterr().err
    assert "MLFLOW_TRACKING_USERNAME" in error
    told += error

    for secret in (ADMIN, READER, PASSWORD):
        assert secret not in told
        assert secret not in "".join(lines)
        assert holding(team.folder / "me", secret) == []
        assert holding(team.folder / "server" / "artifacts", secret) == []
        for database in ("mlflow", "optuna"):
            assert secret not in team.database.dump(database)
