"""A server that asks for a password, or a token: whom it lets in, what others are told, and where no secret is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
import requests

from sweeps.cli.main import main
from tests.conftest import SMALL
from tests.helpers.servers import PASSWORD, Proxy, Service, mlflow_service, proxied, running
from tests.servers.conftest import Team
from tests.test_secrets import holding

pytestmark = [pytest.mark.servers, pytest.mark.slow]

ADMIN, READER, TOKEN = "the-admins-own-s3cret", "the-readers-own-s3cret", "the-tokens-own-s3cret"
RUN = ["train", *SMALL, "data.limit=100"]
SEARCH = [
    "study",
    "smoke",
    "trainer.epochs=1",
    "data.limit=100",
    "workers=1",
    "study.finalists=1",
    "study.confirm_seeds=[]",
]
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


class ByToken(Proxy):
    """Lets in who has the token, and repeats what others have in its place."""

    def answer(self, *told: Any) -> None:
        """Answer, or refuse."""
        given = self.headers.get("Authorization", "")
        super().answer(*(told if given == f"Bearer {TOKEN}" else (401, "text/plain", f"nobody's: {given}".encode())))


def test_a_token_lets_in_and_is_left_nowhere(
    team: Team, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with proxied(ByToken, team.server.port) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
        assert main([*SEARCH, "study.n_trials=1", *team.of("me")]) == 0
        assert main(["explain", "smoke@best", *team.of("me")]) == 0
        told = "".join(capfd.readouterr())
        wrong = f"not-{TOKEN}"
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", wrong)
        assert main([*RUN, *team.of("me")]) == 2
    refused = "".join(capfd.readouterr())
    assert "or by MLFLOW_TRACKING_TOKEN" in refused
    assert "Traceback" not in refused
    for secret in (TOKEN, wrong):
        assert secret not in told + refused
        assert holding(team.folder, secret) == []
        assert secret not in team.database.dump("mlflow") + team.database.dump("optuna")


class ByName(Proxy):
    """A proxy with a name that MLflow's server was not told."""

    def hand_on(self, **headers: str) -> None:
        """Hand the request on by that name."""
        super().hand_on(Host="mlflow.team.org", **headers)


def test_a_server_that_does_not_go_by_the_name_is_refused_with_what_to_do(
    team: Team, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with proxied(ByName, team.server.port) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        assert main([*SEARCH, "study.n_trials=1", *team.of("me")]) == 2
    told = capsys.readouterr().err
    assert "The server does not go by the name in this address: add it to its --allowed-hosts" in told
    assert "may not write" not in told
    assert "Traceback" not in told
