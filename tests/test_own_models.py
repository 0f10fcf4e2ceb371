"""A user's own network through the whole command: refused before anything is written, or swept as ours are."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from pipeline.config.schema import StoreConfig
from pipeline.tracking.reader import TrackedRun
from pipeline.tracking.tracker import Tracker
from sweeps.cli.main import main

pytestmark = pytest.mark.usefixtures("worker_threads")
NETS = """
import keras
from keras import layers

def mixer(input_shape, outputs, width: int = 8, rate: float = 0.2):
    inputs = keras.Input(input_shape)
    x = layers.BatchNormalization()(layers.Dense(width, "relu")(layers.Flatten()(inputs)))
    return keras.Model(inputs, layers.Dense(outputs)(layers.Dropout(rate)(x)))

def unlucky(input_shape, outputs, width: int = 8):
    if width == 13:
        raise ValueError("an unlucky width")
    return mixer(input_shape, outputs, width)

class Net(keras.Model):
    def __init__(self, outputs):
        super().__init__()
        self.flat, self.end = layers.Flatten(), layers.Dense(outputs)

    def call(self, x):
        return self.end(self.flat(x))

def subclassed(input_shape, outputs):
    return Net(outputs)
"""
OWN = ["data=digits", "data.limit=300", "model=builder", "trainer.epochs=2", "trainer.threads=1"]

SEARCH = [
    f"hydra.sweeper.{word}" for word in ("sampler=random", "n_trials=6", "finalists=1", "confirm_seeds=[]", "seeds=[0]")
]
SEARCH += ["hydra.sweeper.workers=1", "data.val_fraction=0.2"]


@pytest.fixture
def project(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with nets.py and an empty store, in which the test runs."""
    folder = root.parent
    (folder / "nets.py").write_text(NETS)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    yield folder
    sys.modules.pop("nets", None)


def finished(folder: Path) -> list[TrackedRun]:
    """Return the tracked runs of a project's store, without parent runs."""
    tracker = Tracker(StoreConfig(str(folder / "mlruns"), None, None, 60.0, "none", 5000))
    return [run for run in tracker.runs_beginning("") if "seed" in run.params]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model.builder=nets:mixr"], "nets has no function mixr (did you mean mixer?)"),
        (["model.builder=nothing:mixer"], "there is no module nothing"),
        (["model.builder=nets:mixer", "model.args.widht=3"], "did you mean width?"),
        (["-m", "model.builder=nets:unlucky", "model.args.width=8,13", "seed=0,1"], "nets.py, line 12, in unlucky"),
        (["-m", "model.builder=nets:mixer", "model.args.width=8,a", "seed=0,1"], "model.args.width=a is not allowed"),
        (["-m", "model.builder=nets:mixer", "model.args.rats=interval(0,1)", *SEARCH], "did you mean rate?"),
    ],
)
def test_what_cannot_be_built_is_refused_before_anything_is_written(
    project: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(project / "mlruns")
    assert main(["train", *OWN, *words]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert "Traceback" not in told
    assert {path.name for path in project.iterdir()} - {"__pycache__"} == {"nets.py"}


@pytest.mark.slow
def test_a_sweep_of_an_own_network_is_resumed_after_kill(project: Path) -> None:
    words = ["-m", "model.builder=nets:mixer", "model.args.width=8,16", "seed=0,1", "trainer.epochs=20"]
    words += ["hydra.sweeper.name=widths", "hydra.sweeper.workers=1"]
    command = ["train", *OWN, *words]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "sweeps.cli.main", *command], env=environment, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not list(project.glob("mlruns/checkpoints/*/*.ckpt")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert main(command) == 0
    runs = finished(project)
    ended = [each for each in runs if each.is_finished]
    assert sorted(each.params["model.args.width"] for each in ended) == ["16", "16", "8", "8"]
    assert {each.status for each in runs} == {"FINISHED", "KILLED"}


@pytest.mark.slow
def test_a_trial_that_cannot_be_built_fails_alone(project: Path) -> None:
    words = ["model.builder=nets:unlucky", "model.args.width=int(interval(8,13))", *SEARCH]
    assert main(["train", "-m", *OWN, *words, "hydra.sweeper.name=unlucky"]) == 1
    runs = finished(project)
    failed = [each for each in runs if each.status == "FAILED"]
    assert [each.params["model.args.width"] for each in failed] == ["13"], "once: it would fail again"
    assert "an unlucky width" in failed[0].tags["convsweep.reason"]
    assert sum(each.is_finished for each in runs) == 5


@pytest.mark.slow
def test_predict_imports_own_code_only_if_trusted(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("L", (8, 8), 100).save(project / "image.png")
    for name in ("mixer", "subclassed"):
        assert main(["train", *OWN, f"model.builder=nets:{name}"]) == 0
    runs = {run.params["model.builder"]: run.run_id for run in finished(project)}
    (project / "nets.py").write_text("raise RuntimeError('imported')")
    del sys.modules["nets"]
    capsys.readouterr()
    assert main(["predict", runs["nets:mixer"], "image.png"]) == 0, "only standard layers: no code is needed"
    assert main(["predict", runs["nets:subclassed"], "image.png"]) == 2
    assert "imported only if you trust it" in capsys.readouterr().err
    (project / "nets.py").write_text(NETS)
    assert main(["predict", runs["nets:subclassed"], "image.png", "--trust"]) == 0
    assert main(["explain", runs["nets:subclassed"], "--trust"]) == 0
    assert "explain.html" in capsys.readouterr().out
