"""Stores that MLflow's own buttons, a move, a full disk or an upgrade have changed since they were written."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from mlflow.entities import Metric
from mlflow.tracking._tracking_service import utils

from pipeline.config.checks import ConfigError
from pipeline.config.compose import compose
from pipeline.config.schema import RunConfig, StoreConfig
from pipeline.tracking.locks import locked
from pipeline.training.checkpoints import folder_of, free
from pipeline.training.identity import resolve
from pipeline.training.result import RunResult
from sweeps.cli.main import main
from sweeps.config.study import compose_study
from sweeps.reports.publish import publish_index
from sweeps.results import lost_trials, tracked_runs
from sweeps.search.history import History
from sweeps.search.proposers import Sampler
from sweeps.search.storage import open_study
from tests.conftest import SMALL
from tests.pipeline.tracking.test_tracker import client, runs, tracker
from tests.sweeps.execution.test_engine import Launched, grid, study

pytestmark = pytest.mark.usefixtures("worker_threads")
QUICK = [*SMALL, "trainer.epochs=1", "data.limit=100"]
SMOKE = ["study.n_trials=4", "study.pruner=none"]


# -- deleted in MLflow's pages ----------------------------------------------------------------------------------------


def test_a_deleted_experiment_is_restored_and_said(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *QUICK, "store.log_model=none"]) == 0
    mlflow = client(root)
    mlflow.delete_experiment(mlflow.get_experiment_by_name("train").experiment_id)
    capsys.readouterr()
    assert main(["train", *QUICK, "store.log_model=none"]) == 0
    said = capsys.readouterr().out
    assert "the experiment train was deleted in MLflow's pages: it is restored" in said
    assert "nothing is trained" in said
    assert len(runs(root)) == 1


def test_the_report_of_a_deleted_sweep_says_so(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    launched = Launched(grid("model.filters=2,4"))
    launched.tracker.client.delete_experiment(launched.tracker.experiment(launched.sweep.name))
    assert main(["report", launched.sweep.name]) == 2
    assert "It was deleted in MLflow's pages; restore it there" in capsys.readouterr().err


def test_a_deleted_run_of_a_grid_is_trained_again(root: Path) -> None:
    first = Launched(grid("model.filters=2,4"))
    first.tracker.client.delete_run(first.runs[0].run_id)
    again = Launched(grid("model.filters=2,4"))
    assert len(again.backend.started) == 1
    assert again.statuses == {"FINISHED": 2}


@pytest.mark.parametrize("which", ["one run", "mlflow.db"])
def test_trials_of_a_study_without_runs_do_not_count(root: Path, which: str, migrated: Path) -> None:
    first = Launched(study(*SMOKE))
    if which == "one run":
        first.tracker.client.delete_run(first.history.best_trials()[0].run_ids[0])
    else:
        shutil.copy(migrated / "mlflow.db", root / "mlflow.db")
    again = Launched.__new__(Launched)
    again.sweep = study(*SMOKE)
    parent = tracker(root).open_sweep("smoke", {})
    lost = lost_trials(first.history.run_ids(), tracker(root), parent, again.sweep)
    assert len(lost) == (1 if which == "one run" else 4)
    reopened = History(open_study(again.sweep), again.sweep)
    sampler = Sampler(again.sweep, reopened)
    sampler.propose_again(lost)
    assert reopened.counts.complete == sampler.ended["complete"] == 4 - len(lost)
    assert sampler.total == 4
    second = Launched(again.sweep)
    assert len(second.backend.started) == len(lost)
    assert second.history.counts.complete == 4
    assert not {trial.number for trial in second.history.completed()} & set(lost)
    assert lost_trials(second.history.run_ids(), second.tracker, second.parent, second.sweep) == []


def test_a_finished_run_without_metrics_is_no_result(root: Path) -> None:
    launched = Launched(grid("model.filters=2,4"))
    mlflow = launched.tracker
    empty = mlflow.create("train", "by hand", {"convsweep.kind": "run", "convsweep.signature": "s"})
    mlflow.client.set_terminated(empty, "FINISHED")
    assert mlflow.find_finished("s") is None


@pytest.mark.slow
def test_a_deleted_model_is_logged_again(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """First from its checkpoint; without one by training it again, which must give the same numbers."""
    arguments = ["train", "-m", *QUICK[:-1], "model.filters=2,3", "seed=0", "hydra.sweeper.name=two"]
    arguments += ["hydra.sweeper.workers=1"]
    assert main(arguments) == 0
    (model,) = client(root).search_logged_models([client(root).get_experiment_by_name("two").experiment_id])
    for without_checkpoint in (False, True):
        client(root).delete_logged_model(model.model_id)
        if without_checkpoint:
            assert free(folder_of(store_in(root)), 0.0)[0]
        assert main(arguments) == 0
        assert "0 to train" in capsys.readouterr().out
        newest = client(root).get_model_version_by_alias("two", "best").source.removeprefix("models:/")
        assert newest != model.model_id
        model = client(root).get_logged_model(newest)
        assert model.status == "READY"


@pytest.mark.slow
def test_the_model_of_a_single_run_comes_back_as_its_message_says(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *QUICK, "store.log_model=none", "checkpoints.max_gib=0"]) == 0
    run_id = capsys.readouterr().out.rpartition("tracked as run ")[2].split()[0]
    assert main(["explain", run_id, "--images", "0"]) == 2
    assert "convsweep train --from config.yaml" in capsys.readouterr().err
    shutil.copy(client(root).download_artifacts(run_id, "config.yaml"), "config.yaml")
    assert main(["train", "--from", "config.yaml"]) == 0
    assert "its model is gone: it is trained again" in capsys.readouterr().out
    assert main(["explain", run_id, "--images", "0"]) == 0


def test_a_model_that_gives_other_numbers_is_not_logged(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *QUICK, "store.log_model=none", "checkpoints.max_gib=0"]) == 0
    monkeypatch.setattr("pipeline.run.train", lambda *given, **named: RunResult({"test/accuracy": [0.5]}))
    assert main(["train", *QUICK]) == 1
    assert "trained again, the run has test/accuracy 0.500000, not" in capsys.readouterr().err


# -- made otherwise ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", ["training_version", "versions", "precision"])
def test_runs_of_other_code_are_not_averaged_with_new_ones(root: Path, tag: str) -> None:
    old = Launched(grid("model.filters=2,4", seeds=[0, 1]))
    for run in old.runs:
        if run.params["seed"] == "0":
            old.tracker.tag(run.run_id, {f"convsweep.{tag}": "other"})
    found, others = tracked_runs(old.tracker, old.parent, old.sweep)
    (seeds,) = {tuple(by_seed) for by_seed in found.values()}
    assert (len(found), len(seeds), others) == (2, 1, 2)


def test_runs_of_a_function_before_it_was_changed_are_not_averaged_with_new_ones(root: Path) -> None:
    old = Launched(grid("model.filters=2,4", seeds=[0, 1]))
    for run in old.runs:
        old.tracker.tag(run.run_id, {"convsweep.code_sha256": f"as for seed {run.params['seed']}"})
    found, others = tracked_runs(old.tracker, old.parent, old.sweep)
    (seeds,) = {tuple(by_seed) for by_seed in found.values()}
    assert (len(found), len(seeds), others) == (2, 1, 2)


def test_a_study_is_not_continued_by_other_code(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Launched(study(*SMOKE))
    monkeypatch.setattr("sweeps.config.study.TRAINING_VERSION", 2)
    with pytest.raises(ConfigError, match="training_version: 1 -> 2"):
        open_study(compose_study("smoke", SMOKE))
    sweep = compose_study("smoke", SMOKE)
    assert History(open_study(sweep, "report"), sweep).counts.complete == 4


# -- a clock that is set ----------------------------------------------------------------------------------------------


def test_a_clock_set_back_does_not_reorder_epochs(root: Path, config: Callable[..., RunConfig]) -> None:
    mlflow = tracker(root)
    run_id = mlflow.open_run(resolve(config(), "data"), "train", "a", {}, [])
    values = {1: (0.1, 3000), 2: (0.2, 1000), 3: (0.3, 2000)}
    metrics = [Metric("test/accuracy", value, at, epoch) for epoch, (value, at) in values.items()]
    mlflow.client.log_batch(run_id, metrics=metrics)
    assert mlflow.history(run_id) == {"test/accuracy": [0.1, 0.2, 0.3]}
    mlflow.log_epoch(run_id, 0, {"epochs": 3.0})
    mlflow.close(run_id, "FINISHED")
    copy = mlflow.copy_run(mlflow.get(run_id), resolve(config(), "data"), "train", "b", {})
    assert mlflow.get(copy).metrics["test/accuracy"] == 0.3


# -- moved, copied ----------------------------------------------------------------------------------------------------


def test_a_moved_store_is_refused_until_it_is_relocated(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*QUICK, "seed=0"]
    assert main(["train", *arguments]) == 0
    run_id = capsys.readouterr().out.rpartition("tracked as run ")[2].split()[0]
    moved = root.with_name("moved here")
    shutil.move(root, moved)
    there = f"store.root='{moved}'"
    for command in (["train", *QUICK, "seed=1"], ["report", "demo"], ["explain", run_id]):
        assert main([*command, there]) == 2
        assert "convsweep doctor --relocate" in capsys.readouterr().err
    assert main(["doctor", there]) == 1
    assert main(["doctor", "--relocate", there]) == 0
    assert main(["doctor", there]) == 0
    utils._artifact_repos_cache.clear()  # in this process alone MLflow remembers where the run's files were
    assert main(["explain", run_id, "--images", "0", there]) == 0
    assert main(["train", *QUICK, "seed=1", there]) == 0
    assert not root.exists()
    with closing(sqlite3.connect(moved / "mlflow.db")) as database:
        assert f"{root}/" not in "".join(database.iterdump())


def store_in(root: Path) -> StoreConfig:
    return compose(RunConfig, "train", [f"store.root={root}"]).store


# -- reports ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["explain", "index.html", "results.md", "train", "Default", "Index.html"])
def test_names_of_files_beside_reports_are_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ablate", "demo", f"ablation.name={name}", "--dry-run"]) == 2
    assert f"ablation.name={name} is not allowed" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["[]", '{"name": 1}', '{"findings": [1], "numbers": [], "changed": []}', "null"])
def test_a_damaged_claims_file_is_left_out_of_the_index(root: Path, damage: str) -> None:
    (root / "reports" / "demo").mkdir(parents=True)
    (root / "reports" / "demo" / "claims.json").write_text(damage)
    assert publish_index(store_in(root)) is None


def test_a_disk_that_is_full_while_reporting_loses_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # A fake backend's runs have too few metrics.
    monkeypatch.setattr("sweeps.reports.publish.result_drawings", lambda *given: [])
    launched = Launched(grid("model.filters=2,4"))
    launched.tracker.tag(launched.parent, {"convsweep.command": json.dumps(launched.sweep.command)})

    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    before = root / "reports" / launched.sweep.name / "report.html"
    before.parent.mkdir(parents=True)
    before.write_text("the old one")
    leftover = before.parent.with_name(f".{launched.sweep.name}.{dead_pid()}")
    leftover.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("sweeps.reports.publish.write_page", full)
        assert main(["report", launched.sweep.name]) == 1
    assert f"convsweep report {launched.sweep.name} writes it" in capsys.readouterr().err
    assert before.read_text() == "the old one"
    assert not leftover.exists()
    assert main(["report", launched.sweep.name]) == 0
    assert "<html" in before.read_text()
    assert [path.name for path in before.parent.parent.glob(".*") if path.is_dir()] == []


def dead_pid() -> int:
    return next(pid for pid in range(2**22 - 1, 1, -1) if not psutil.pid_exists(pid))


# -- locks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["train", *QUICK], ["ablate", "demo", "trainer.epochs=1"]])
def test_a_broken_table_of_leases_is_said(root: Path, command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    (root / "launches.db").write_bytes(b"no database" * 1000)
    assert main(command) == 2
    said = capsys.readouterr().err
    assert f"the store {root / 'launches.db'} cannot be opened: file is not a database" in said
    assert os.linesep not in said.strip()


def test_a_lock_is_released_when_its_block_ends(root: Path) -> None:
    held = locked(store_in(root), "a", timeout=0)
    with held:
        pass
    with locked(store_in(root), "a", timeout=0):
        pass
    del held
