"""Optuna's side of a sweep, and what the commands make of it: figures, best.yaml, confirmation, registered model."""

from __future__ import annotations

import csv
import re
import sqlite3
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient

from pipeline.config.checks import ConfigError
from pipeline.system.hardware import cores
from pipeline.tracking.retry import StoreError
from sweeps.cli.main import main
from sweeps.config.multirun import compose_multirun
from sweeps.config.study import compose_study
from sweeps.search.history import History
from sweeps.search.proposers import Sampler
from sweeps.search.storage import open_study
from sweeps.sweep import Sweep, duration
from tests.sweeps.config.test_ablation import study_of, tracked

DIGITS = ["data=digits", "model.padding=same", "trainer.epochs=2", "store.log_model=none"]


def sampler(sweep: Sweep) -> Sampler:
    return Sampler(sweep, History(open_study(sweep), sweep))


def test_what_a_process_left_open_is_failed_and_proposed_again(root: Path) -> None:
    sweep = compose_study("smoke", [])
    first = sampler(sweep).next()
    assert first is not None
    again = sampler(sweep)
    again.close_abandoned()
    second = again.next()
    assert second is not None
    assert second.params == first.params
    assert [t.state.name for t in again.study.trials] == ["FAIL", "RUNNING"]
    assert again.history.counts.finished == 0


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


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["data.val_fraction=0"], "data.val_fraction=0.0 is not allowed: data.val_fraction must be above 0"),
        (["study.objectives={test/accuracy:maximize}"], "a sampler must not see it"),
        (["study.objectives={val/accuracy:maximize,parameters:minimize}"], "none with several objectives"),
        (["study.objectives={parameters:minimize}"], "one of val/accuracy, val/loss"),
        (["study.confirm_seeds=[0]"], "fresh: [0] chose the config already"),
        (["trainer.evaluate_test=true"], "only the confirmation may see the test set"),
        (["study.space={model.filters:'interval(4,6)'}"], "int(interval(low,high))"),
        (["study.objectives={val/acuracy:maximize}", "study.pruner=none"], "did you mean val/accuracy?"),
        (["study.sampler=gp"], "one of tpe, random, qmc, nsga2"),
        (["study.pruner=wilcoxon"], "another with fewer than 5 seeds"),
        (["study.pruner=medain"], "did you mean median?"),
        (["study.n_trials=0"], "study.n_trials=0"),
        (["data.limit=2"], "val/accuracy is not measured: data.val_fraction=0.2 of 2 examples is none"),
        (["data.val_fraction=0.0001"], "val/accuracy is not measured"),
        (["study.space={seed:'choice(1,2)'}"], "a trial has no seed of its own"),
        (["study.space={store.root:'choice(a,b)'}"], "a sweep is kept in one store"),
        (["study.n_trials=null"], "unless study.timeout, budget or the like ends the study"),
        (["study.space={model.fliters:'choice(1,2)'}"], "did you mean model.filters?"),
        (["study.space={model.l2:'choice(1'}"], "not in Hydra's sweep grammar"),
        (["study.space={model.l1:'interval(-1,1)'}"], "in the space: model.l1=-1.0 is not allowed"),
        (["model.filters=3"], "is what the study varies"),
        (["budget=soon"], "a time as in 30min, 2h or 90s"),
        (["retries=-1"], "retries=-1"),
        (["workers_max_memory=0"], "workers_max_memory=0.0"),
    ],
)
def test_bad_studies_are_refused_before_anything_starts(
    empty: Path, overrides: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", "smoke", *overrides]) == 2
    assert told in capsys.readouterr().err
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["model.filters=4"], "sweeps over nothing"),
        (["model.fliters=4,8"], "did you mean model.filters?"),
        (["model.padding=same", "model.filters=4,0"], "model.filters=0 is not allowed"),
        (["model.dropout=interval(0,0.5)"], "data.val_fraction must be above 0 where a sampler searches"),
        (["model.filters=4,8", "hydra.sweeper.n_trails=3"], "did you mean hydra.sweeper.n_trials?"),
        (["model.conv_layers=1,9"], "window does not fit"),
        (
            ["model.padding=same", "trainer.evaluate_test=true,false"],
            "leaves the test set out",
        ),
        (["model=line", "data=digits,line"], "data=line is a regression, which has no accuracy"),
        (["hydra.job.chdir=true", "model.filters=4,8"], "there is hydra.sweeper.KEY=... alone"),
        (
            ["model.filters=range(1,900)", "model.conv_layers=range(12)"],
            "10,788 points",
        ),
        (["model.filters=range(1,99)", "seed=range(900)"], "98 points of 900 seeds each"),
        (["model.filters=4,8", "hydra.sweeper.seeds=5"], "a list of whole numbers"),
        (["model.filters=4,8", "hydra.sweeper.objectives=val/loss"], "must be a mapping"),
        (["model.filters=4,8", "hydra.sweeper.n_trials=abc"], "must be a whole number"),
        (["model.filters=4,8", "hydra.sweeper.timeout=1"], "has no effect on a grid"),
    ],
)
def test_bad_hydra_sweeps_are_refused(
    empty: Path, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "-m", "data=digits", *arguments]) == 2
    assert told in capsys.readouterr().err
    assert list(empty.iterdir()) == []


@pytest.mark.slow
def test_a_hydra_grid_runs_and_the_same_command_continues_it(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "-m", *DIGITS, "model.conv_layers=0,1", "hydra.sweeper.seeds=[0,1]"]) == 0
    told = capsys.readouterr().out
    assert "4 runs, 0 known, 4 to train" in told
    name = next(line.split(":")[0] for line in told.splitlines() if "4 to train" in line)
    assert name.startswith("conv_layers-")
    assert len(tracked(root, name)[2]) == 4
    params = [t.params["model.conv_layers"] for t in study_of(root, name).trials]
    assert sorted(params) == [0, 1]
    assert main(["train", "-m", *DIGITS, "model.conv_layers=0,1", "hydra.sweeper.seeds=[0,1]"]) == 0
    assert "4 known, 0 to train" in capsys.readouterr().out


def test_a_hydra_search_has_one_identity_whatever_its_number_of_trials() -> None:
    overrides = ["data.val_fraction=0.1", "model.filters=4,8", "model.dropout=interval(0,0.5)"]
    names = [compose_multirun(overrides, {"n_trials": n}).name for n in (5, 50)]
    assert names[0] == names[1]
    assert compose_multirun([*overrides, "trainer.epochs=3"], {}).name != names[0]
    sweep = compose_multirun(overrides, {"n_trials": 7})
    assert sweep.limits.n_trials == 7
    assert sweep.trials is None
    assert not sweep.config.trainer.evaluate_test


def test_swept_seeds_are_seeds_of_every_config() -> None:
    sweep = compose_multirun(["model.filters=4,8", "seed=0,1"], {})
    assert ([trial.label for trial in sweep.trials or []], sweep.seeds) == (["filters=4", "filters=8"], [0, 1])
    alone = compose_multirun(["seed=range(3)"], {})
    assert ([trial.label for trial in alone.trials or []], alone.seeds) == (["base"], [0, 1, 2])
    searched = compose_multirun(["seed=0,1", "model.dropout=interval(0,0.5)", "data.val_fraction=0.1"], {})
    assert searched.seeds == [0, 1]
    assert compose_multirun(["model.filters=4,8", "seed=5"], {}).seeds == [5]
    assert compose_multirun(["model.filters=4,8", "++seed=3,4"], {}).seeds == [3, 4]
    twice = ["seed=1", "seed=1,2"]
    for overrides, settings in ((["seed=0,1"], {"seeds": [0]}), (["seed=interval(0,1)"], {}), (twice, {})):
        with pytest.raises(ConfigError, match="give the seeds once"):
            compose_multirun(["model.filters=4,8", *overrides], settings)


@pytest.mark.slow
def test_a_study_ends_with_figures_best_yaml_confirmation_and_a_registered_model(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["study", "smoke", "study.n_trials=6", "study.confirm_seeds=[100,101]", "trainer.epochs=2"]
    assert main(arguments) == 0
    told = capsys.readouterr().out
    for part in ("The best trials of", "The best config on fresh seeds", "selection bias", "registered as smoke@best"):
        assert part in told
    client, parent, children = tracked(root, "smoke")
    folder = Path(client.download_artifacts(parent.info.run_id, ""))
    figures = {"history.png", "importance.png", "slice.png", "parallel_coordinate.png"}
    assert {p.name for p in folder.iterdir()} == {*figures, "results.csv", "best.yaml", "report.html", "report.md"}
    assert parent.data.metrics["selection_bias"] == pytest.approx(
        study_of(root, "smoke").best_value - parent.data.metrics["confirm/val/accuracy"]
    )
    confirmed = [run for run in children if "test/accuracy" in run.data.metrics]
    assert {run.data.params["seed"] for run in confirmed} == {"100", "101"}
    lines = list(csv.DictReader((folder / "results.csv").read_text().splitlines()))
    assert len(lines) == len([t for t in study_of(root, "smoke").trials if "duplicate_of" not in t.user_attrs])
    version = client.get_model_version_by_alias("smoke", "best")
    assert version.run_id in [run.info.run_id for run in confirmed]

    # The round trip: the best config, trained again from its file, gives the same metric.
    best = study_of(root, "smoke").best_trial
    again = ["train", "--from", str(folder / "best.yaml"), "store.log_model=none", "seed=0"]
    assert main([*again, "trainer.threads=1"]) == 0
    assert "nothing is trained" in capsys.readouterr().out, "an equal run is tracked already"
    assert main([*again, "trainer.threads=1", "store.root=elsewhere"]) == 0
    other = MlflowClient(f"sqlite:///{root.parent / 'elsewhere' / 'mlflow.db'}")
    (run,) = other.search_runs([other.get_experiment_by_name("train").experiment_id])
    assert run.data.metrics["val/accuracy"] == pytest.approx(best.value, abs=1e-6)

    capsys.readouterr()
    assert main(arguments) == 0
    assert "epoch" not in capsys.readouterr().out, "asked twice, nothing is trained"


@pytest.mark.slow
def test_all_models_are_logged_of_earlier_launches_too(root: Path) -> None:
    told = ["study", "smoke", "trainer.epochs=1", "study.confirm_seeds=[]"]
    assert main([*told, "study.n_trials=2", "store.log_model=none"]) == 0
    assert main([*told, "study.n_trials=3", "store.log_model=all"]) == 0
    runs = [run for run in tracked(root, "smoke")[2] if run.info.status == "FINISHED"]
    assert len(runs) == 3
    assert all(run.outputs is not None and len(run.outputs.model_outputs) == 1 for run in runs)


@pytest.mark.slow
def test_a_dry_run_of_a_sweep_shows_what_is_known_and_writes_nothing(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = ["trainer.epochs=1", "data.limit=300", "store.log_model=none"]
    assert main(["ablate", "demo", *quick, "seeds=[0]"]) == 0
    capsys.readouterr()
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*") if p.suffix == ".db" and p.name == "optuna.db"}
    assert main(["ablate", "demo", *quick, "seeds=[0,1]", "--dry-run"]) == 0
    told = capsys.readouterr().out
    workers = min(4, cores())
    assert f"4 runs to train, 4 known; {workers} worker{'s' if workers > 1 else ''}, expected time" in told
    assert "from earlier runs" in told
    assert main(["train", "-m", "model.filters=4", "trainer.epochs=1,2,4", *DIGITS[:2], "--dry-run"]) == 0
    assert "3 runs to train, 0 known; 1 worker, " in capsys.readouterr().out
    assert main(["study", "smoke", "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "infinitely many points" in told
    assert "20 trials x 1 seeds" in told
    assert before == {p: p.stat().st_mtime_ns for p in before}
    with pytest.raises(KeyError):
        optuna.load_study(study_name="smoke", storage=f"sqlite:///{root / 'optuna.db'}")


@pytest.mark.slow
def test_a_launch_tells_what_it_need_not_train(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = [*DIGITS[:2], *DIGITS[3:], "model.conv_layers=0", "model.filters=4,8", "trainer.epochs=1,2"]
    assert main(["train", "-m", *grid]) == 0
    told = capsys.readouterr().out
    assert ": 4 runs, 0 known, 2 to train, 2 equal to another here" in told
    assert main(["train", "-m", *grid]) == 0
    assert ": 4 runs, 4 known, 0 to train\n" in capsys.readouterr().out


@pytest.mark.slow
def test_a_budget_ends_a_grid_and_the_same_command_continues(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = ["train", "-m", *DIGITS, "model.filters=range(2,14)", "hydra.sweeper.workers=1", "hydra.sweeper.name=wide"]
    assert main([*grid, "hydra.sweeper.budget=1s", "--dry-run"]) == 0
    assert "budget=1s is not enough: what it cuts off, the same command continues" in capsys.readouterr().out
    assert main([*grid, "hydra.sweeper.budget=1s"]) == 0
    assert re.search(r"the time is up: \d+ runs are left", capsys.readouterr().out)
    assert main(grid) == 0
    assert " 0 known" not in capsys.readouterr().out


def test_durations() -> None:
    assert [duration("budget", t) for t in ("90s", "30min", "2h", "1h30min", "1.5h")] == [90, 1800, 7200, 5400, 5400]
    for text in ("", "soon", "5", "0s", "-3min", "3days"):
        with pytest.raises(ConfigError, match="30min, 2h or 90s"):
            duration("budget", text)
