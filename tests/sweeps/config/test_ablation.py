"""Whole ablations: launched, launched again, extended, interrupted; read back through MLflow and Optuna."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.config.checks import ConfigError
from pipeline.config.schema import StoreConfig
from pipeline.tracking.leases import Leases, of_sweep
from sweeps.cli.main import main
from sweeps.config.ablation import compose_ablation
from tests.conftest import DEMO

pytestmark = pytest.mark.usefixtures("worker_threads")
QUICK = ["trainer.epochs=1", "data.limit=300", "store.log_model=none", "workers=1", "seeds=3"]


def tracked(root: Path, sweep: str) -> tuple[MlflowClient, Run, list[Run]]:
    """Client, parent run and child runs of a sweep."""
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name(sweep).experiment_id])
    parent = next(run for run in runs if run.data.tags["convsweep.kind"] == "sweep")
    children = [run for run in runs if run.data.tags["convsweep.kind"] == "run"]
    assert all(run.data.tags["mlflow.parentRunId"] == parent.info.run_id for run in children)
    return client, parent, children


def study_of(root: Path, sweep: str) -> optuna.Study:
    return optuna.load_study(study_name=sweep, storage=f"sqlite:///{root / 'optuna.db'}")


@pytest.mark.slow
def test_filter_count_on_real_fashion_mnist(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["ablate", "filter_count", "data.limit=1000", "trainer.epochs=1", "seeds=[0,1]", "timing.rounds=3"]
    arguments += ["timing.examples=400"]
    assert main(arguments) == 0
    told = capsys.readouterr().out
    for part in ("conv_64", "243,786", "published (N22", ".9024", "convsweep ui filter_count"):
        assert part in told
    client, parent, children = tracked(root, "filter_count")
    assert parent.info.status == "FINISHED"
    assert Counter(run.info.status for run in children) == {"FINISHED": 8}
    assert {run.info.run_name for run in children} == {
        f"{what} seed={seed}" for what in ("model=dense", "filters=16", "filters=32", "filters=64") for seed in (0, 1)
    }
    assert {a.path for a in client.list_artifacts(parent.info.run_id)} == {
        "accuracy_by_filters.png",
        "best.yaml",
        "claims.json",
        "gap.png",
        "learning_curves.png",
        "loss_by_filters.png",
        "report.html",
        "report.md",
        "results.csv",
        "timings.json",
    }
    best = max(children, key=lambda run: run.data.metrics["test/accuracy"])
    assert [bool(run.outputs.model_outputs) for run in children].count(True) == 1
    assert best.outputs.model_outputs
    trials = study_of(root, "filter_count").trials
    assert [t.state.name for t in trials] == ["COMPLETE"] * 4
    for trial in trials:
        runs = [client.get_run(run_id) for run_id in trial.user_attrs["run_ids"]]
        values = [run.data.metrics["test/accuracy"] for run in runs]
        assert trial.user_attrs["values"] == {"0": values[0], "1": values[1]}
        assert trial.value == pytest.approx(sum(values) / 2)
        assert [run.data.tags["convsweep.signature"] for run in runs] == trial.user_attrs["signatures"]
    assert {t.params.get("model.filters") for t in trials} == {None, 16, 32, 64}

    assert main(arguments) == 0
    again = capsys.readouterr().out
    assert "8 known, 0 to train" in again
    assert table_in(again) == table_in(told)
    assert len(tracked(root, "filter_count")[2]) == 8
    assert len(study_of(root, "filter_count").trials) == 4


def table_in(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(("│", "┃"))]


@pytest.mark.slow
def test_more_seeds_train_only_what_is_new(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ablate", "demo", *DEMO, "seeds=[0,1,2,3]"]) == 0
    assert "12 known, 4 to train" in capsys.readouterr().out
    assert len(tracked(demo, "demo")[2]) == 16
    assert [t.user_attrs["seeds"] for t in study_of(demo, "demo").trials] == [[0, 1, 2]] * 4 + [[0, 1, 2, 3]] * 4


@pytest.mark.slow
def test_another_base_is_refused_and_another_name_reuses_equal_runs(
    demo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ablate", "demo", *DEMO, "trainer.epochs=2"]) == 2
    assert "trainer.epochs: 1 -> 2" in capsys.readouterr().err
    assert main(["ablate", "demo", *DEMO, "ablation.name=other", "store.log_model=none"]) == 0
    assert "12 known, 0 to train" in capsys.readouterr().out
    _, _, originals = tracked(demo, "demo")
    _, _, copies = tracked(demo, "other")
    assert {run.data.tags["convsweep.reused_from"] for run in copies} == {run.info.run_id for run in originals}
    assert sorted(r.data.metrics["test/loss"] for r in copies) == sorted(r.data.metrics["test/loss"] for r in originals)


@pytest.mark.slow
def test_a_run_that_fails_fails_alone(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wild = ["optimizer=sgd", "optimizer.learning_rate=1e15", "trainer.precision=float32", "seeds=[0]"]
    assert main(["ablate", "demo", *QUICK, *wild]) == 1
    assert "not finite since epoch 1" in capsys.readouterr().out
    _, parent, children = tracked(root, "demo")
    assert parent.info.status == "FAILED"
    failed = [run for run in children if run.info.status == "FAILED"]
    assert len(failed) == 3 * len({run.info.run_name for run in failed}), "each was trained again twice"
    assert all("not finite" in run.data.tags["convsweep.reason"] for run in failed)
    assert {t.state.name for t in study_of(root, "demo").trials} <= {"FAIL", "COMPLETE"}


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)])
def test_an_interrupted_sweep_goes_on_where_it_was(
    root: Path, sent: signal.Signals, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["ablate", "demo", "trainer.epochs=4", "store.log_model=none", "workers=1", "seeds=[0,1]"]
    process = subprocess.Popen(
        [sys.executable, "-m", "sweeps.cli.main", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    for line in process.stdout or []:
        if "(2/8 runs)" in line:
            break
    time.sleep(0.5)
    os.kill(process.pid, sent)
    process.communicate(timeout=30)
    assert process.returncode == code
    if sent != signal.SIGKILL:
        _, parent, children = tracked(root, "demo")
        assert "RUNNING" not in {run.info.status for run in [parent, *children]}
    assert main(command) == 0
    assert "0 known" not in capsys.readouterr().out
    _, parent, children = tracked(root, "demo")
    assert parent.info.status == "FINISHED"
    count = Counter(run.info.status for run in children)
    assert count["FINISHED"] == 8
    assert set(count) <= {"FINISHED", "KILLED"}
    states = Counter(t.state.name for t in study_of(root, "demo").trials)
    assert states["COMPLETE"] == 4
    assert set(states) <= {"COMPLETE", "FAIL"}


def test_a_sweep_runs_once_at_a_time(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Leases(StoreConfig(str(root), None, None, 5.0, "none", 5000), "sweep demo") as held:
        held.need(of_sweep("demo"))
        assert main(["ablate", "demo", *QUICK]) == 2
    assert f"the sweep demo is running already, in {held.holder}. To train beside it" in capsys.readouterr().err


def test_a_search_is_not_joined(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Leases(StoreConfig(str(root), None, None, 5.0, "none", 5000), "sweep smoke") as held:
        held.need(of_sweep("smoke"))
        assert main(["study", "smoke", "--join"]) == 2
    assert "A search cannot be joined" in capsys.readouterr().err


def test_one_run_is_not_joined(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "data=digits", "--join"]) == 2
    assert "--join goes with -m" in capsys.readouterr().err


def test_a_claim_needs_what_its_trials_measure() -> None:
    with pytest.raises(ConfigError, match=r"the claim convolution_raises_test_accuracy: test/accuracy of the trial"):
        compose_ablation("demo", ["trainer.evaluate_test=false", "data.val_fraction=0.1"])
    without = [
        "trainer.evaluate_test=false",
        "data.val_fraction=0.1",
        "~ablation.claims.convolution_raises_test_accuracy",
    ]
    assert list(compose_ablation("demo", without).sweep.objectives) == ["val/accuracy"]


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("test/accuracy/7", ""),
        (
            "test/accuracy/10",
            "test/accuracy/10 of the trial conv_64 is not measured: data=digits has test/accuracy/0, ",
        ),
        ("test/accuracy/7@1", "must be PART/loss"),
        ("val/accuracy/7", "must be PART/loss"),
        ("test/accuracy/", "must be PART/loss"),
    ],
)
@pytest.mark.parametrize("key", ["metric", "than_metric"])
def test_a_claim_about_a_class_needs_the_class(key: str, metric: str, message: str) -> None:
    metrics = {"metric": "test/accuracy", "than_metric": "test/accuracy/0"} | {key: metric}
    given = ",".join(f"{name}:{value}" for name, value in metrics.items())
    claims = [f"ablation.claims={{it:{{says:x,kind:less,trial:conv_64,than:[conv_64],{given}}}}}"]
    if not message:
        assert compose_ablation("demo", claims).config.claimed == ["conv_64"]
    else:
        with pytest.raises(ConfigError, match=message):
            compose_ablation("demo", claims)


@pytest.mark.parametrize(
    ("metric", "why"),
    [
        ("test/loss@9", "trainer.epochs=5 has no epoch 9"),
        ("val/loss", "data.val_fraction=0 of 1,437 examples is none"),
        ("prediction", "data=digits is no regression"),
    ],
)
def test_a_published_number_needs_its_metric(metric: str, why: str) -> None:
    number = f"ablation.trials.conv_64.published={{N22:{{{metric}:0.1}}}}"
    with pytest.raises(ConfigError, match=f"a published number: {metric} of the trial conv_64 is not measured: {why}"):
        compose_ablation("demo", [number])
    assert compose_ablation("demo", [number, "optimizer.learning_rate=0.01"]).changed  # nor is any number judged


@pytest.mark.parametrize("metric", ["test_shift_0.25/accuracy", "gap_shift_0.25/accuracy", "test_shift_0.25/loss"])
def test_a_claim_about_changed_test_images_needs_the_change(metric: str) -> None:
    claim = f"ablation.claims={{it:{{says:x,kind:less,trial:conv_64,than:[conv_16],metric:{metric}}}}}"
    with pytest.raises(ConfigError, match=r"is not measured: trainer.test_shifts=\[0.5\]"):
        compose_ablation("demo", [claim, "trainer.test_shifts=[0.5]"])
    with pytest.raises(ConfigError, match="CHANGE: shift_SHARE or size_FACTOR"):
        compose_ablation("demo", [claim.replace("/", "@1/")])
    assert compose_ablation("demo", [claim, "trainer.test_shifts=[0.25]"]).changed == ()


@pytest.mark.parametrize("section", ["claims", "trials"])
def test_names_that_no_tag_can_have_are_refused(section: str) -> None:
    entries = {
        "trials": "{a/b:{overrides:[],tick:x,published:{}}}",
        "claims": "{a/b:{says:x,kind:rises,metric:train/loss,along:[conv_16,conv_32]}}",
    }
    with pytest.raises(ConfigError, match="a/b is not allowed"):
        compose_ablation("demo", ["ablation.claims={}", f"ablation.{section}={entries[section]}"])


GRID = "ablation.grid={model.filters: [2, 4], trainer.epochs: [1, 2]}"
OF_GRID = ["ablation.trials={}", "ablation.claims={}"]


def test_a_grid_lists_every_combination() -> None:
    ablation = compose_ablation("demo", [*OF_GRID, GRID])
    labels = [trial.label for trial in ablation.sweep.trials or []]
    assert labels == ["filters=2 epochs=1", "filters=2 epochs=2", "filters=4 epochs=1", "filters=4 epochs=2"]
    assert [trial.base.trainer.epochs for trial in ablation.sweep.trials or []] == [1, 2, 1, 2]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([GRID, "ablation.claims={}"], r"ablation.trials=.* is not allowed.*beside ablation.grid"),
        (OF_GRID, "at least one trial, or ablation.grid"),
        ([*OF_GRID, "ablation.grid={model.filters: [2]}"], "two values or more, all different"),
        ([*OF_GRID, "ablation.grid={model.filters: [2, 2]}"], "two values or more, all different"),
        ([*OF_GRID, "ablation.grid={model.dense_units: ['[2, 2]', '[4]']}"], "values without spaces"),
        ([*OF_GRID, "ablation.grid={model.l1: [0, 1], optimizer.l1: [0, 1]}"], "differ in their last parts"),
        ([*OF_GRID, f"ablation.grid={{seed: {[*range(1001)]}}}"], "1,001 trials"),
        ([*OF_GRID, "ablation.grid={seed: [0, 1]}"], "a trial has no seed of its own"),
    ],
)
def test_a_grid_that_is_none_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose_ablation("demo", overrides)


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ("kind: greater, metric: test/accuracy, trial: 'filters=4', than: ['filters=2']", ""),
        ("kind: greater, metric: test/accuracy, trial: 'filters=5', than: ['filters=2']", "a trial of the claim it"),
        ("kind: faster, trial: 'filters=4', than: ['filters=2']", "a trial of the claim it"),
        (
            "kind: greater, metric: val/accuracy, trial: 'filters=4', than: ['filters=2']",
            "val/accuracy of the trial filters=4",
        ),
    ],
)
def test_a_claim_may_name_a_part_of_a_grid(claim: str, message: str) -> None:
    overrides = ["ablation.trials={}", GRID, f"ablation.claims={{it: {{says: so, {claim}}}}}"]
    if message:
        with pytest.raises(ConfigError, match=message):
            compose_ablation("demo", overrides)
    else:
        ablation = compose_ablation("demo", overrides)
        assert ablation.sweep.claimed == tuple(trial.label for trial in ablation.sweep.trials or [])


@pytest.mark.slow
def test_a_grid_is_trained_and_its_effects_reported(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    claim = "kind: rises, metric: test/accuracy, along: ['filters=2', 'filters=4']"
    words = ["ablate", "demo", "ablation.trials={}", f"ablation.claims={{it: {{says: so, {claim}}}}}"]
    words += ["ablation.grid={model.filters: [2, 4], model.dropout: [0, 0.5]}", *QUICK]
    assert main(words) == 0
    told = " ".join(capsys.readouterr().out.split())
    for part in (
        "filters (2, 4) x dropout (0, 0.5)",
        "The best config per budget",
        "along filters=2, filters=4",
    ):
        assert part in told
    report = (root / "reports" / "demo" / "report.html").read_text()
    assert "Test accuracy of every config" in report
    assert {"heat_map_test_accuracy.png", "heat_map_gap_accuracy.png"} <= {
        path.name for path in (root / "reports" / "demo").iterdir()
    }
