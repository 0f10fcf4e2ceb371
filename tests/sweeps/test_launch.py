"""Whole launches: what they print, leave behind and continue."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from statistics import fmean

import pytest
from mlflow import MlflowClient

from sweeps.cli.main import main
from tests.sweeps.config.test_ablation import study_of, tracked

pytestmark = pytest.mark.usefixtures("worker_threads")
DIGITS = ["data=digits", "model.padding=same", "trainer.epochs=2", "store.log_model=none"]
ONE = "hydra.sweeper.workers=1"  # each imports TensorFlow


@pytest.mark.slow
def test_a_hydra_grid_runs_and_the_same_command_continues_it(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", "-m", *DIGITS, "model.conv_layers=0,1", "hydra.sweeper.seeds=[0,1]", ONE]
    assert main(command) == 0
    told = capsys.readouterr().out
    assert "4 runs, 0 known, 4 to train" in told
    name = next(line.split(":")[0] for line in told.splitlines() if "4 to train" in line)
    assert name.startswith("conv_layers-")
    assert len(tracked(root, name)[2]) == 4
    params = [t.params["model.conv_layers"] for t in study_of(root, name).trials]
    assert sorted(params) == [0, 1]
    assert main(command) == 0
    assert "4 known, 0 to train" in capsys.readouterr().out


@pytest.mark.slow
def test_a_study_ends_with_figures_best_yaml_confirmation_and_a_registered_model(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["study", "smoke", "study.n_trials=6", "study.confirm_seeds=[100,101]", "trainer.epochs=2"]
    assert main(arguments) == 0
    told = capsys.readouterr().out
    for part in (
        "The best trials of",
        "Finalists",
        "The best config on fresh seeds",
        "selection bias",
        "registered as smoke@best",
    ):
        assert part in told
    client, parent, children = tracked(root, "smoke")
    folder = Path(client.download_artifacts(parent.info.run_id, ""))
    figures = {"history.png", "importance.png", "slice.png", "parallel_coordinate.png", "trials.png"}
    reports = {"results.csv", "best.yaml", "report.html", "report.md", "claims.json"}
    assert {p.name for p in folder.iterdir()} == figures | reports
    assert parent.data.metrics["selection_bias"] == pytest.approx(
        parent.data.metrics["best/val/accuracy"] - parent.data.metrics["confirm/val/accuracy"]
    )
    confirmed = [run for run in children if "test/accuracy" in run.data.metrics]
    assert {run.data.params["seed"] for run in confirmed} == {"100", "101"}
    lines = list(csv.DictReader((folder / "results.csv").read_text().splitlines()))
    assert len(lines) == len([t for t in study_of(root, "smoke").trials if "duplicate_of" not in t.user_attrs])
    version = client.get_model_version_by_alias("smoke", "best")
    assert version.run_id in [run.info.run_id for run in confirmed]
    for words in ("The best config of the sweep smoke", "over the seeds 100, 101", "mlflow.keras.load_model"):
        assert words in version.description

    # The finalist with the best mean is chosen; by its file it is trained again, and gives the same metric.
    means: dict[str, list[float]] = {}
    for run in children:
        if run.data.params["seed"] in ("50", "51"):
            number = run.data.tags["convsweep.trial"].removesuffix(" finalist")
            means.setdefault(number, [study_of(root, "smoke").trials[int(number)].value])
            means[number].append(run.data.metrics["val/accuracy"])
    assert [len(values) for values in means.values()] == [3, 3, 3]
    number = max(means, key=lambda each: fmean(means[each]))
    best = study_of(root, "smoke").trials[int(number)]
    assert parent.data.metrics["best/val/accuracy"] == pytest.approx(fmean(means[number]))
    assert {run.data.tags["convsweep.trial"] for run in confirmed} == {f"{number} confirmed"}
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
    told = ["study", "smoke", "trainer.epochs=1", "study.finalists=1", "study.confirm_seeds=[]", "workers=1"]
    assert main([*told, "study.n_trials=2", "store.log_model=none"]) == 0
    assert main([*told, "study.n_trials=3", "store.log_model=all"]) == 0
    runs = [run for run in tracked(root, "smoke")[2] if run.info.status == "FINISHED"]
    assert len(runs) == 3
    assert all(run.outputs is not None and len(run.outputs.model_outputs) == 1 for run in runs)


@pytest.mark.slow
def test_a_launch_tells_what_it_need_not_train(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = [*DIGITS[:2], *DIGITS[3:], "model.conv_layers=0", "model.filters=4,8", "trainer.epochs=1,2", ONE]
    assert main(["train", "-m", *grid]) == 0
    told = capsys.readouterr().out
    assert ": 4 runs, 0 known, 2 to train, 2 equal to another here" in told
    assert main(["train", "-m", *grid]) == 0
    assert ": 4 runs, 4 known, 0 to train\n" in capsys.readouterr().out


@pytest.mark.slow
def test_a_budget_ends_a_grid_and_the_same_command_continues(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = ["train", "-m", *DIGITS, "model.filters=range(2,14)", ONE, "hydra.sweeper.name=wide"]
    assert main([*grid, "hydra.sweeper.budget=1s", "--dry-run"]) == 0
    assert "budget=1s is not enough: what it cuts off, the same command continues" in capsys.readouterr().out
    assert main([*grid, "hydra.sweeper.budget=1s"]) == 0
    (left,) = re.findall(r"the time is up: (\d+) runs are left", capsys.readouterr().out)
    assert main(grid) == 0
    assert f"12 runs, {12 - int(left)} known, {left} to train" in capsys.readouterr().out
