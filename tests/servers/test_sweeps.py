"""Sweeps on servers: what one person trains, another finds, with its files; nothing is trained twice."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from sweeps.cli.main import main
from tests.conftest import SMALL
from tests.helpers.servers import PASSWORD, Service, answers_http, free_port, mlflow_service, running
from tests.servers.conftest import Team
from tests.test_secrets import holding

pytestmark = [pytest.mark.servers, pytest.mark.slow]

SWEEP = [
    "train",
    "-m",
    *SMALL,
    "data.limit=100",
    "model.filters=2,3",
    "hydra.sweeper.name=shared",
    "hydra.sweeper.workers=1",
]


def test_what_one_trains_another_finds(team: Team, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SWEEP, *team.of("me")]) == 0
    told = capsys.readouterr()
    assert "View run" not in told.out + told.err, "MLflow's own lines"
    assert f"to browse: {team.address}/#/experiments/1/runs" in told.out
    experiment = team.client.get_experiment_by_name("shared")
    assert experiment.artifact_location == f"mlflow-artifacts:/{experiment.experiment_id}"
    runs = team.client.search_runs([experiment.experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len(runs) == 3, "two, and their parent"
    assert not (team.folder / "me" / "mlruns" / "artifacts").exists()

    np.save("x.npy", np.zeros((2, 8, 8, 1), np.float32))
    assert main(["predict", "shared@best", "x.npy", *team.of("you")]) == 0
    assert main(["explain", "shared@best", *team.of("you")]) == 0
    assert main(["report", "shared", *team.of("you")]) == 0
    page = (team.folder / "you" / "mlruns" / "reports" / "shared" / "report.html").read_text()
    assert f'href="{team.address}/#/experiments/{experiment.experiment_id}/runs/' in page
    assert "127.0.0.1:5000" not in page

    capsys.readouterr()
    assert main([*SWEEP, *team.of("you")]) == 0
    assert "2 runs, 2 known, 0 to train" in capsys.readouterr().out
    assert len(team.client.search_runs([experiment.experiment_id])) == 3
    assert main(["ui", "shared", "--no-browser", *team.of("you")]) == 0
    assert f"MLflow's pages: {team.address}/#/experiments/" in capsys.readouterr().out
    assert main(["doctor", *team.of("you")]) in (0, 1)  # the machine itself may need attention
    assert f"{team.address} answers" in capsys.readouterr().out
    assert holding(team.folder, PASSWORD) == []


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An S3 endpoint with a bucket `team`; yields what the environment of its client must say."""
    port = free_port()
    environment = {
        "MLFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    command = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)]
    log = tmp_path / "s3.log"
    with running(Service(command, port, log, lambda: answers_http(port, "/moto-api/"), folder=tmp_path)):
        with closing(HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
            connection.request("PUT", "/team", headers={"Authorization": "AWS testing:testing"})
            assert connection.getresponse().status == 200
        yield environment


def test_files_go_to_s3_through_a_server_that_alone_has_the_keys(
    team: Team, bucket: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in bucket:
        monkeypatch.delenv(name, raising=False)
    words = ["--artifacts-destination", "s3://team/files"]
    with running(mlflow_service(team.folder / "server", team.database.url("mlflow"), *words, **bucket)) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.port}")
        assert main(["train", *SMALL, "data.limit=100", *team.of("me")]) == 0
        client = MlflowClient(f"http://127.0.0.1:{server.port}")
        (run,) = client.search_runs([client.get_experiment_by_name("train").experiment_id])
        np.save("x.npy", np.zeros((2, 8, 8, 1), np.float32))
        assert main(["predict", run.info.run_id, "x.npy", *team.of("you")]) == 0
        assert not (team.folder / "server" / "mlruns").exists()
