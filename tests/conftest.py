"""Fixtures: a fresh folder and a migrated store per test, and data that must not be missing in CI."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pipeline.config import RunConfig, StoreConfig, compose

SMALL = ["data=digits", "model.padding=same", "model.filters=4", "trainer.epochs=2", "trainer.threads=1"]


def need(condition: bool, reason: str) -> None:
    """Skip the test where something is missing; in CI that is a failure."""
    if not condition and os.environ.get("CI"):
        pytest.fail(f"CI must not skip: {reason}")
    if not condition:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with an empty, migrated MLflow database; making one costs seconds, copying it nothing."""
    from pipeline.tracking import Tracker

    root = tmp_path_factory.mktemp("template")
    Tracker(StoreConfig(str(root), None, None, 60.0, "none", 5000))
    return root / "mlflow.db"


@pytest.fixture
def root(tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store, as `mlruns` of the folder in which the test runs."""
    (tmp_path / "mlruns").mkdir()
    shutil.copy(migrated, tmp_path / "mlruns" / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "mlruns"


@pytest.fixture
def config() -> Callable[..., RunConfig]:
    """Composes a run's config: small and quick, unless the overrides say otherwise."""

    def composed(*overrides: str, base: Sequence[str] = SMALL) -> RunConfig:
        return compose(RunConfig, "train", [*base, *overrides])

    return composed
