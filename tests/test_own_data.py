"""Data of one's own, through the whole command: trained, swept, reported, continued."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from sweeps.cli.main import main
from sweeps.load import load_results

pytestmark = pytest.mark.usefixtures("worker_threads")
# Two classes, told apart by the sign of the first of `columns` numbers.
SHAPES = """
import numpy as np
def load(n: int, columns: int = 4):
    x = np.random.default_rng(n).normal(size=(n, columns))
    y = (x[:, 0] > 0).astype(int)
    return (x[: n // 2], y[: n // 2]), (x[n // 2 :], y[n // 2 :])
"""
LOADED = ["data=python", "data.name=shapes", "data.loader=shapes:load"]
QUICK = ["model=dense", "model.dense_units=[4]", "trainer.epochs=2", "trainer.threads=1"]
ONE = "hydra.sweeper.workers=1"


@pytest.fixture
def project(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with shapes.py and an empty store, in which the test runs."""
    monkeypatch.setenv("CONVSWEEP_CACHE_DIR", str(root.parent / "cache"))
    monkeypatch.syspath_prepend(root.parent)
    (root.parent / "shapes.py").write_text(SHAPES)
    return root.parent


def run_id_of(told: str) -> str:
    return told.rpartition("tracked as run ")[2].split()[0]


def test_a_run_is_reused_until_its_data_changes(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", *LOADED, "data.args.n=100", *QUICK]
    assert main(command) == 0
    first = run_id_of(capsys.readouterr().out)
    (project / "shapes.py").write_text(SHAPES + "# another comment, the same numbers\n")
    assert main(command) == 0
    assert f"an equal run is tracked as {first}" in capsys.readouterr().out
    (project / "shapes.py").write_text(SHAPES.replace("> 0", "> 0.1"))
    assert main(command) == 0
    assert run_id_of(capsys.readouterr().out) != first


def test_a_plan_says_what_was_read(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *LOADED, "data.args.n=100", *QUICK, "data.val_fraction=0.2", "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "data=shapes: calling shapes:load(n=100)" in told
    assert "examples: train 40, val 10, test 50" in told


def test_a_base_that_does_not_fit_the_data_may_be_varied(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = ["train", "-m", *LOADED, "data.args.n=60,100", "--dry-run"]
    assert main([*sweep, "model=dense,softmax"]) == 0
    assert "4 runs to train" in capsys.readouterr().out
    assert main([*sweep, "model=dense,conv"]) == 2
    assert "model.conv_layers must be 0 with data=shapes, whose examples have the shape [4]" in capsys.readouterr().err
    search = ["optimizer.learning_rate=interval(0.001,0.1)", "data.val_fraction=0.2", "hydra.sweeper.n_trials=2"]
    assert main([*sweep, "model=dense,softmax", *search]) == 0


def test_grey_images_without_channels_are_told_how(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "pictures.py").write_text(IMAGES)
    assert main(["train", "data=python", "data.name=pictures", "data.loader=pictures:load"]) == 2
    assert "whose examples have the shape [8, 8]; of grey images say data.shape=[8,8,1]" in capsys.readouterr().err


def test_bad_data_ends_with_one_message_and_nothing_written(
    root: Path, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {file: file.stat().st_mtime_ns for file in root.rglob("*")}
    (project / "texts.py").write_text("def load(): return (['a'], ['b']), (['a'], ['b'])")
    for words in (["data.loader=texts:load"], ["data.loader=gone:load"], ["data.args.n=many"], ["data.args.m=3"]):
        for command in (["train"], ["train", "-m", "seed=0,1"], ["train", "--dry-run"]):
            assert main([*command, *LOADED, *words, *QUICK]) == 2
            errors = capsys.readouterr().err
            assert errors.count("convsweep: ") == 1
            assert "Traceback" not in errors
    assert {file: file.stat().st_mtime_ns for file in root.rglob("*")} == before


@pytest.mark.slow
def test_arguments_are_swept_and_reported_without_the_data(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = ["data.args.n=60,100", "data.args.columns=3,4", "seed=0,1", "hydra.sweeper.name=sizes", ONE]
    assert main(["train", "-m", *LOADED, *sweep, *QUICK]) == 0
    capsys.readouterr()
    (project / "shapes.py").unlink()
    assert main(["report", "sizes"]) == 0
    assert "left out" not in capsys.readouterr().out
    loaded = load_results("sizes")
    assert loaded.sweep.trials is not None
    shapes = {trial.label: (trial.base.data.shape, trial.base.data.train_size) for trial in loaded.sweep.trials}
    assert shapes == {
        "n=60 columns=3": ([3], 30),
        "n=60 columns=4": ([4], 30),
        "n=100 columns=3": ([3], 50),
        "n=100 columns=4": ([4], 50),
    }
    capsys.readouterr()
    assert main(["train", "-m", *LOADED, *sweep, *QUICK]) == 2
    assert "there is no module shapes" in capsys.readouterr().err


@pytest.mark.slow
def test_an_npz_file_is_searched_confirmed_and_extended(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 5, 2))
    y = x[:, 0, 0] * 2 + 1
    np.savez("mine.npz", x_train=x[:80], y_train=y[:80], x_test=x[80:], y_test=y[80:])
    named = ["data=npz", "data.name=mine", "data.path=mine.npz", "data.task=regression", "data.val_fraction=0.25"]
    study = ["optimizer.learning_rate=tag(log,interval(1e-4,1e-2))", "hydra.sweeper.objectives={val/loss: minimize}"]
    limits = ["hydra.sweeper.name=rates", "hydra.sweeper.n_trials=2", "hydra.sweeper.confirm_seeds=[7]", ONE]
    search = ["train", "-m", *named, *study, *limits, *QUICK]
    assert main(search) == 0
    assert "2 complete" in capsys.readouterr().out
    np.savez("mine.npz", x_train=x[:80] + 1, y_train=y[:80], x_test=x[80:], y_test=y[80:])
    assert main(search) == 2  # a sampler must not compare trials across data
    assert "  data: " in capsys.readouterr().err
    assert main(["train", *named, *QUICK]) == 0
    capsys.readouterr()
    assert main(["train", *named, *QUICK, "trainer.epochs=4"]) == 0
    assert "epochs 1 to 2 are resumed from a checkpoint" in capsys.readouterr().out


def test_no_file_decides_what_is_imported(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *LOADED, "data.args.n=60", *QUICK]) == 0
    run_id = run_id_of(capsys.readouterr().out)
    (config,) = project.rglob(f"{run_id}/artifacts/config.yaml")
    tree = yaml.safe_load(config.read_text())
    assert main(["train", "--from", str(config)]) == 2
    assert "data.loader=shapes:load is not imported: only a file says so" in capsys.readouterr().err
    assert main(["train", "--from", str(config), "data.loader=shapes:load"]) == 0
    assert f"an equal run is tracked as {run_id}" in capsys.readouterr().out
    tree["data"]["loader"] = "os:getcwd"
    config.write_text(yaml.safe_dump(tree))
    assert main(["train", "--from", str(config), "data.loader=shapes:load", "data.sha256=null", "seed=3"]) == 0


def test_what_only_looks_at_images_says_so(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *LOADED, "data.args.n=60", *QUICK]) == 0
    run_id = run_id_of(capsys.readouterr().out)
    assert main(["predict", run_id, "7"]) == 2
    assert "takes inputs of the shape [4], no images: give .npy files" in capsys.readouterr().err
    assert main(["explain", run_id]) == 2
    assert "takes no images" in capsys.readouterr().err


IMAGES = """
import numpy as np
def load():
    y = np.arange(80) % 2
    x = np.random.default_rng(0).integers(0, 100, (80, 8, 8)).astype(np.uint8)
    x[:, :4] += (100 * y[:, None, None]).astype(np.uint8)
    return (x[:40], y[:40]), (x[40:], y[40:])
"""


def test_images_of_ones_own_are_explained_and_predicted(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    (project / "pictures.py").write_text(IMAGES)
    words = ["data=python", "data.name=pictures", "data.loader=pictures:load", "data.shape=[8,8,1]", "data.scale=255.0"]
    conv = ["model.padding=same", "model.filters=4", "trainer.epochs=1", "trainer.threads=1"]
    assert main(["train", *words, *conv, "data.class_names=[dark,light]"]) == 0
    run_id = run_id_of(capsys.readouterr().out)
    (project / "pictures.py").unlink()  # its arrays are in the cache
    assert main(["explain", run_id, "--images", "0,1"]) == 0
    Image.fromarray(np.full((8, 8), 90, np.uint8)).save("one.png")
    assert main(["predict", run_id, "one.png"]) == 0
    assert "one.png: " in capsys.readouterr().out
    for folder in (project / "cache" / "arrays").glob("?" * 64):
        for file in folder.iterdir():
            file.unlink()
    import pipeline.datasets.arrays as module

    module._opened.clear()
    assert main(["explain", run_id, "--images", "0,1"]) == 2
    assert "needs data.loader=pictures:load, which is imported only if you trust it" in capsys.readouterr().err
    (project / "pictures.py").write_text(IMAGES)
    assert main(["explain", run_id, "--images", "0,1", "--trust"]) == 0
