"""Single runs in MLflow, read back through its own client."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.config.schema import RunConfig, StoreConfig
from pipeline.tracking.ownership import is_alive, owner
from pipeline.tracking.tracker import Tracker
from pipeline.training.identity import resolve
from sweeps.cli.main import main
from tests.conftest import SMALL


def client(root: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{root / 'mlflow.db'}")


def runs(root: Path) -> list[Run]:
    found = client(root)
    return list(found.search_runs([e.experiment_id for e in found.search_experiments()]))


def tracker(root: Path) -> Tracker:
    return Tracker(StoreConfig(str(root), None, None, 60.0, "best", 5000))


def test_a_run_is_tracked_as_the_contract_says(root: Path) -> None:
    assert main(["train", *SMALL, "model.filters=3", "data.val_fraction=0.1"]) == 0
    (run,) = runs(root)
    assert run.info.status == "FINISHED"
    assert run.info.run_name.endswith("filters=3 val_fraction=0.1 seed=0")
    assert client(root).get_experiment(run.info.experiment_id).name == "train"
    assert run.data.params["model.filters"] == "3"
    assert run.data.params["optimizer.learning_rate"] == "0.001"
    assert run.data.tags["convsweep.kind"] == "run"
    assert len(run.data.tags["convsweep.signature"]) == 64
    for part in ("train", "val", "test"):
        history = client(root).get_metric_history(run.info.run_id, f"{part}/accuracy")
        assert [metric.step for metric in history] == [1, 2]
    for name in (
        "train_eval/accuracy",
        "gap/accuracy",
        "parameters",
        "seconds",
        "seconds_per_epoch",
        "test/accuracy/7",
    ):
        assert name in run.data.metrics


def test_accuracy_by_class_is_of_the_end_and_goes_with_a_copy(root: Path, config: Callable[..., RunConfig]) -> None:
    run, store = resolve(config(), "data"), tracker(root)
    run_id = store.open_run(run, "train", "a", {}, [])
    for epoch in (1, 2):
        store.log_epoch(run_id, epoch, {"test/accuracy": 0.1 * epoch})
    store.log_epoch(run_id, 0, {"epochs": 2.0, "test/accuracy/T-shirt_top": 0.3})
    store.close(run_id, "FINISHED")
    assert store.history(run_id) == {"test/accuracy": [0.1, 0.2]}
    copy = store.copy_run(store.get(run_id), run, "train", "b", {})
    assert store.get(copy).metrics["test/accuracy/T-shirt_top"] == 0.3
    assert store.history(copy) == store.history(run_id)


def test_artifacts_data_set_and_model_are_logged(root: Path) -> None:
    assert main(["train", *SMALL, "seed=2"]) == 0
    (run,) = runs(root)
    folder = Path(client(root).download_artifacts(run.info.run_id, ""))
    assert {p.name for p in folder.iterdir()} >= {
        "config.yaml",
        "overrides.yaml",
        "model_summary.txt",
        "learning_curves.png",
    }
    assert yaml.safe_load((folder / "config.yaml").read_text())["seed"] == 2
    assert "seed=2" in yaml.safe_load((folder / "overrides.yaml").read_text())
    assert "Total params:" in (folder / "model_summary.txt").read_text()
    (used,) = run.inputs.dataset_inputs
    assert run.data.tags["convsweep.data_sha256"].startswith(used.dataset.digest)
    (logged,) = run.outputs.model_outputs
    model = mlflow.keras.load_model(f"models:/{logged.model_id}")
    assert model.predict(np.zeros((1, 8, 8, 1), np.float32), verbose=0).shape == (1, 10)
    assert mlflow.models.get_model_info(f"models:/{logged.model_id}").signature is not None
    assert (
        root in Path(client(root).get_logged_model(logged.model_id).artifact_location.removeprefix("file://")).parents
    )


def test_no_model_is_logged_unless_asked(root: Path) -> None:
    assert main(["train", *SMALL, "store.log_model=none"]) == 0
    assert runs(root)[0].outputs.model_outputs == []


def test_an_equal_run_is_not_trained_again(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *SMALL, "store.log_model=none"]) == 0
    capsys.readouterr()
    assert main(["train", *SMALL, "store.log_model=none"]) == 0
    assert "nothing is trained" in capsys.readouterr().out
    assert len(runs(root)) == 1


def test_a_run_that_fails_ends_as_failed_with_its_reason(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *SMALL, "optimizer=sgd", "optimizer.learning_rate=1e15"]) == 1
    (run,) = runs(root)
    assert run.info.status == "FAILED"
    assert "not finite since epoch 1, step 2" in run.data.tags["convsweep.reason"]
    assert "not finite" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130)])
def test_a_run_that_is_interrupted_ends_as_killed(root: Path, sent: signal.Signals, code: int) -> None:
    command = [sys.executable, "-m", "pipeline.train", *SMALL, "trainer.epochs=100000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_for_metric(root)
            process.send_signal(sent)
            _, told = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == code
    assert "interrupted" in told
    (run,) = runs(root)
    assert (run.info.status, run.data.tags["convsweep.reason"]) == ("KILLED", "interrupted")


@pytest.mark.slow
def test_a_run_whose_process_is_gone_is_closed_by_the_next(root: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.train", *SMALL, "trainer.epochs=100000"], stdout=subprocess.DEVNULL
    )
    wait_for_metric(root)
    process.kill()
    process.wait()
    assert runs(root)[0].info.status == "RUNNING"
    assert tracker(root).close_abandoned() == 1
    assert runs(root)[0].info.status == "KILLED"


def wait_for_metric(root: Path) -> None:
    """Wait until a run has told its first epoch."""
    end = time.monotonic() + 200
    while time.monotonic() < end:
        if any("train/loss" in run.data.metrics for run in runs(root)):
            return
        time.sleep(0.2)
    pytest.fail("no metric within 200 s")


def test_owner_tells_the_living_from_the_dead() -> None:
    assert is_alive(owner())
    host, pid, started = owner().rsplit(":", 2)
    assert not is_alive(f"{host}:{pid}:{int(started) - 100}")
    assert not is_alive(f"{host}:{2**22 - 1}:{started}")
    assert is_alive(f"elsewhere:{os.getpid()}:1")
