"""Models that were tracked, used: found by run and by name, explained, asked about images."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image

from pipeline.config.schema import RunConfig
from pipeline.datasets import dataset as data
from sweeps.cli.main import main

Compose = Callable[..., RunConfig]
FIGURES = {f"{name}.png" for name in ("activations", "layer", "filters", "edges", "dense", "confusion", "mistakes")}
DIGITS = ["data=digits", "model.padding=same", "model.filters=8", "trainer.epochs=4", "trainer.threads=1"]


@pytest.fixture(scope="module")
def trained(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A store with one trained, logged run of the digits; its id."""
    folder = tmp_path_factory.mktemp("trained")
    store = folder / "mlruns"
    store.mkdir()
    shutil.copy(migrated / "mlflow.db", store / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["train", *DIGITS]) == 0
    client = MlflowClient(f"sqlite:///{store / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("train").experiment_id])
    return folder, run.info.run_id


@pytest.fixture
def here(trained: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(trained[0])
    return trained[1]


@pytest.fixture
def images(config: Compose, tmp_path: Path) -> Path:
    """Twenty test images of the digits as files, named by number and class."""
    test = data.load(config(base=DIGITS).data).test
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(20):
        Image.fromarray(test.x[number].squeeze()).save(folder / f"{number:02}_{test.y[number]}.png")
    return folder


def test_images_are_classified_as_in_training(
    here: str, images: Path, config: Compose, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", here, str(images)]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head == f"conv on digits (8x8x1), run {here[:8]}"
    assert len(lines) == 20
    said = [line.split(": ")[1].split(", ")[0].split() for line in lines]
    net_says = tracked_probabilities(here, config)
    assert [name for name, _ in said] == [str(row.argmax()) for row in net_says]
    assert [float(p) for _, p in said] == pytest.approx([row.max() for row in net_says], abs=2e-3)


def tracked_probabilities(run_id: str, config: Compose) -> np.ndarray:
    import keras
    import mlflow.artifacts

    client = MlflowClient(f"sqlite:///{Path('mlruns/mlflow.db').resolve()}")
    model_id = client.get_run(run_id).outputs.model_outputs[0].model_id
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{model_id}"))
    net = keras.saving.load_model(next(folder.rglob("*.keras")), compile=False)
    test = data.load(config(base=DIGITS).data).test
    found: np.ndarray = net.predict_on_batch(test.x[:20].astype(np.float32) / 16)
    return found


def test_a_broken_file_is_named_and_skipped(here: str, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (images / "broken.png").write_bytes(next(images.iterdir()).read_bytes()[:60])
    assert main(["predict", here[:8], str(images)]) == 1
    told = capsys.readouterr().out
    assert "skipped: " in told
    assert "broken.png: no image that can be read" in told
    assert told.count(".png: ") == 21


def test_figures_are_drawn_and_logged(here: str, trained: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", here, "--images", "0,3", "--filter", "7"]) == 0
    client = MlflowClient(f"sqlite:///{trained[0] / 'mlruns' / 'mlflow.db'}")
    assert {Path(a.path).name for a in client.list_artifacts(here, "explain")} == FIGURES | {"explain.html"}
    found, _, page = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"\d+ of 360 test images right \(0.\d+\); least recognised: \d \(\d+%\)", found)
    written = Path(page.removeprefix("figures: ").partition(", logged")[0])
    assert written.read_text().count('<img src="data:image/png;base64,') == len(FIGURES)
    for path in written.parent.glob("*.png"):
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("L"))
        assert pixels.std() > 10, f"{path.name} is blank"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["explain", "RUN", "--images", "0,360"], "has images 0 to 359"),
        (["explain", "RUN", "--images", "a"], "write indices as in 0,23,28"),
        (["explain", "RUN", "--filter", "8", "--images", "0"], "filters 0 to 7"),
        (["explain", "nothing@best"], "no run or registered model nothing@best"),
        (["explain", "RUN", "model.filters=3"], "only store.KEY=..."),
        (["predict", "RUN", "nowhere.png"], "no file or folder nowhere.png"),
        (["predict", "RUN", "mlruns/checkpoints"], "holds no image"),
        (["predict", "0123456789", "mlruns"], "no run or registered model 0123456789"),
        (["predict", "RUN", "mlruns", "store.root=nowhere"], "no store in"),
    ],
)
def test_bad_input_is_refused(arguments: list[str], told: str, here: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([here if word == "RUN" else word for word in arguments]) == 2
    assert told in capsys.readouterr().err


def test_a_model_that_was_not_logged_comes_from_its_checkpoint(
    root: Path, images: Path, here_text: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *DIGITS, "store.log_model=none"]) == 0
    run_id = capsys.readouterr().out.rpartition("tracked as run ")[2].split()[0]
    assert main(["predict", run_id, str(images)]) == 0
    said = [line.rpartition(": ")[2] for line in capsys.readouterr().out.splitlines()[1:]]
    assert said == here_text


@pytest.fixture
def here_text(trained: tuple[Path, str], images: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What the logged model of the equal run says of the images."""
    assert main(["predict", trained[1], str(images), f"store.root={trained[0] / 'mlruns'}"]) == 0
    return [line.rpartition(": ")[2] for line in capsys.readouterr().out.splitlines()[1:]]


def test_a_model_with_code_of_its_own_is_not_executed(
    trained: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import keras

    monkeypatch.chdir(tmp_path)
    ran = Path("ran")
    evil = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Lambda(lambda x: __import__("pathlib").Path("ran").touch() or x)]
    )
    ran.unlink()
    (file,) = Path(trained[0]).rglob("artifacts/**/*.keras")
    evil.save(file.with_suffix(".evil.keras"))
    kept = file.read_bytes()
    try:
        file.with_suffix(".evil.keras").replace(file)
        assert main(["predict", trained[1], str(tmp_path), f"store.root={trained[0] / 'mlruns'}"]) == 2
    finally:
        file.write_bytes(kept)
    assert "cannot be loaded" in capsys.readouterr().err
    assert not ran.exists()


def test_one_number_in_one_number_out(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["data=line", "model=line", "trainer=line", "optimizer=sgd", "trainer.epochs=300"]
    assert main(["train", *line]) == 0
    told = capsys.readouterr().out
    run_id = told.rpartition("tracked as run ")[2].split()[0]
    assert main(["predict", run_id, "7", "1"]) == 0
    at_seven, at_one = (float(text.split(": ")[1]) for text in capsys.readouterr().out.splitlines())
    prediction = float(told.rpartition("; prediction ")[2].partition(";")[0])
    assert at_seven == pytest.approx(prediction, abs=1e-4)
    assert at_one == pytest.approx(1.0, abs=0.2)
    assert main(["explain", run_id]) == 2
    assert "takes no images" in capsys.readouterr().err


def test_a_case_study_is_loaded_from_its_checkpoint_without_trust(
    root: Path, images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(root.parent)
    words = ["data=digits", "data.limit=64", "model=lenet", "trainer.epochs=1", "trainer.threads=1"]
    assert main(["train", *words, "store.log_model=none"]) == 0
    client = MlflowClient(f"sqlite:///{Path('mlruns/mlflow.db').resolve()}")
    (run,) = client.search_runs([client.get_experiment_by_name("train").experiment_id])
    assert not run.outputs.model_outputs
    capsys.readouterr()
    assert main(["predict", run.info.run_id, str(next(images.iterdir()))]) == 0
    assert capsys.readouterr().out.startswith("lenet on digits")
