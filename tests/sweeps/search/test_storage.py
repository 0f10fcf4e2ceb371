"""Optuna's storage while it is locked."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from pipeline.tracking.retry import StoreError
from sweeps.config.study import compose_study
from sweeps.search.storage import open_study

DIGITS = ["data=digits", "model.padding=same", "trainer.epochs=2", "store.log_model=none"]


def test_whatever_is_asked_of_a_locked_storage_says_so(root: Path) -> None:
    study = open_study(compose_study("smoke", ["store.retry_seconds=0.3"]))
    proposed = study.ask()
    calls = [study.ask, lambda: proposed.suggest_float("x", 0, 1), lambda: proposed.report(0.5, 1)]
    calls += [lambda: proposed.set_user_attr("a", 1), lambda: study.tell(proposed, 0.5), proposed.should_prune]
    with sqlite3.connect(root / "optuna.db") as database:
        database.execute("BEGIN EXCLUSIVE")
        for call in calls:
            with pytest.raises(StoreError, match="did not answer"):
                call()
    database.close()
    proposed.suggest_float("x", 0, 1)
    assert study.tell(proposed, 0.5).params == proposed.params
