"""Optuna's storage while it is locked, and studies of earlier versions in it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import optuna
import pytest

from pipeline.config.checks import ConfigError
from pipeline.tracking.retry import StoreError
from sweeps.config.study import compose_study
from sweeps.search.storage import IDENTITY, open_study

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


def test_a_study_from_before_a_key_is_continued_with_its_default_alone(root: Path) -> None:
    study = open_study(compose_study("smoke", []))
    study.add_trial(optuna.trial.create_trial(value=0.5, params={}, distributions={}))
    assert study.metric_names == ["val/accuracy"]
    assert not study.user_attrs
    before = study._storage.get_study_system_attrs(study._study_id)[IDENTITY]
    for key in ("optimizer.schedule", "optimizer.boundaries"):
        del before["base"][key]
    study._storage.set_study_system_attr(study._study_id, IDENTITY, before)
    open_study(compose_study("smoke", []))
    with pytest.raises(ConfigError, match=r"optimizer\.schedule: constant -> cosine"):
        open_study(compose_study("smoke", ["optimizer.schedule=cosine"]))


def test_a_study_that_shows_its_identity_is_known_by_it(root: Path) -> None:
    study = open_study(compose_study("smoke", []))
    study.add_trial(optuna.trial.create_trial(value=0.5, params={}, distributions={}))
    identity = study._storage.get_study_system_attrs(study._study_id)[IDENTITY]
    study._storage.set_study_system_attr(study._study_id, IDENTITY, None)
    study.set_user_attr(IDENTITY, identity)
    with pytest.raises(ConfigError, match=r"exists with another config"):
        open_study(compose_study("smoke", ["trainer.batch_size=7"]))
