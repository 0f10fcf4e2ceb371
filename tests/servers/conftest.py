"""Fixtures: a PostgreSQL and an MLflow server for all tests, with fresh databases and artifacts for each."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipeline.config.schema import StoreConfig
from pipeline.tracking.client import _build
from sweeps.search.storage import open_storage
from tests.helpers.servers import Postgres, Service, mlflow_service, postgres, running


@dataclass
class Team:
    """Servers that several people use, each from a folder of their own.

    Attributes:
        database: PostgreSQL, with a database `optuna`, and `mlflow` behind MLflow's server.
        server: MLflow's.
        folder: Below which everyone has a folder.
    """

    database: Postgres
    server: Service
    folder: Path

    @property
    def address(self) -> str:
        """MLflow's server."""
        return f"http://127.0.0.1:{self.server.port}"

    @property
    def optuna_url(self) -> str:
        """Optuna's database."""
        return self.database.url("optuna")

    @property
    def client(self) -> MlflowClient:
        """MLflow's own client of the server."""
        return MlflowClient(self.address)

    @property
    def artifacts(self) -> Path:
        """Where the server keeps files."""
        assert self.server.folder is not None
        return self.server.folder / "artifacts"

    def of(self, person: str, retry_seconds: float = 30.0) -> list[str]:
        """Return the overrides of a person's store."""
        root = self.folder / person / "mlruns"
        return ["store=server", f"store.root={root}", f"store.retry_seconds={retry_seconds}"]


@pytest.fixture(scope="session")
def database() -> Iterator[Postgres]:
    """A PostgreSQL with databases `mlflow_made` and `optuna_made`, whose tables are made, to be copied."""
    with postgres() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        for name in ("mlflow_made", "optuna_made"):
            server.create(name)
        _build(server.url("mlflow_made"), Path("/nowhere"))
        store = StoreConfig("/nowhere", None, server.url("optuna_made"), 10.0, "none", 5000)
        open_storage(store).engine.dispose()  # type: ignore[attr-defined]
        yield server


@pytest.fixture(scope="session")
def mlflow_server(database: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """MLflow's server in front of the database `mlflow`, with its artifacts in a folder."""
    database.create("mlflow", "mlflow_made")
    with running(mlflow_service(tmp_path_factory.mktemp("server"), database.url("mlflow"))) as server:
        yield server


@pytest.fixture
def team(database: Postgres, mlflow_server: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Team:
    """Both servers with nothing in them, named by the environment; the test runs in a person's empty folder."""
    for name in ("mlflow", "optuna"):
        database.create(name, f"{name}_made")  # MLflow's server connects again
    made = Team(database, mlflow_server, tmp_path)
    shutil.rmtree(made.artifacts, ignore_errors=True)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", made.address)
    monkeypatch.setenv("CONVSWEEP_OPTUNA_URL", made.optuna_url)
    (tmp_path / "me").mkdir()
    monkeypatch.chdir(tmp_path / "me")
    return made
