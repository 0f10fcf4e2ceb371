from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.schema import RunConfig
from pipeline.models import layers as model
from pipeline.models.build import build
from pipeline.system.tensorflow import start_tensorflow
from pipeline.training.checkpoints import CheckpointStore
from pipeline.training.identity import resolve
from pipeline.training.result import RunResult, TrainingError
from pipeline.training.trainer import _stop_epoch, restore_model
from tests.conftest import SMALL
from tests.helpers.training import trained

Compose = Callable[..., RunConfig]
AUGMENTED = ["model.augmentation={flip: both, shift: 0.1, rotate: 10, zoom: 0.1}"]
CODE = """
import json, sys
from pipeline.config.compose import compose
from pipeline.config.schema import RunConfig
from tests.helpers.training import trained
results = [trained(compose(RunConfig, "train", overrides)) for overrides in json.loads(sys.argv[1])]
print(json.dumps([[r.history, {k: v for k, v in r.final.items() if "seconds" not in k}] for r in results]))
"""


def trained_elsewhere(*runs: list[str]) -> list[object]:
    """History and final metrics of runs, one after the other in a process of their own."""
    told = json.dumps([[*SMALL, *overrides] for overrides in runs])
    done = subprocess.run([sys.executable, "-c", CODE, told], capture_output=True, text=True, check=True)
    assert done.stderr == "", "a user never sees TensorFlow's start-up chatter"
    found: list[object] = json.loads(done.stdout)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_equal_runs_are_equal_bit_for_bit(threads: int) -> None:
    larger = [] if threads == 1 else ["model.filters=32", "trainer.threads=2"]
    overrides = ["model.dropout=0.3", *AUGMENTED, *larger]
    single, half = ([*overrides, f"trainer.precision={name}"] for name in ("float32", "mixed_bfloat16"))
    first = trained_elsewhere(single, half)
    runs = [[*each, how] for how in ("seed=1", "seed=0", "trainer.steps_per_execution=1") for each in (half, single)]
    again = trained_elsewhere(*runs)
    for number, found in enumerate(reversed(first)):
        other, equal, handed_over_singly = again[number::2]
        assert found == equal == handed_over_singly
        assert found != other


def test_result_has_every_metric_of_the_contract(config: Compose) -> None:
    result = trained(config("data.val_fraction=0.1"))
    assert set(result.history) == {
        f"{part}/{name}" for part in ("train", "val", "test") for name in ("loss", "accuracy")
    }
    wanted = {
        "train_eval/loss",
        "train_eval/accuracy",
        "gap/accuracy",
        "epochs",
        "parameters",
        "seconds",
        "seconds_per_epoch",
    }
    assert set(result.final) == wanted | {f"test/accuracy/{digit}" for digit in range(10)}
    assert result.epochs == 2
    assert result.final["gap/accuracy"] == result.final["train_eval/accuracy"] - result.history["test/accuracy"][-1]


def test_evaluation_counts_every_example(config: Compose) -> None:
    in_one = trained(config("trainer.precision=float32", "trainer.eval_batch_size=360"))
    in_many = trained(config("trainer.precision=float32", "trainer.eval_batch_size=7"))
    for name in ("test/loss", "test/accuracy"):
        assert in_one.history[name] == pytest.approx(in_many.history[name], abs=1e-5)


def test_training_twice_in_one_process_gives_the_same(config: Compose) -> None:
    first = trained(config())
    trained(config("model.filters=3", "seed=9"))
    assert trained(config()).history == first.history


def test_stops_once_training_accuracy_is_reached(config: Compose) -> None:
    result = trained(config("trainer.stop_at_accuracy=0.5", "trainer.epochs=20", "model.filters=16"))
    accuracy = result.history["train/accuracy"]
    assert accuracy[-1] >= 0.5
    assert all(value < 0.5 for value in accuracy[:-1])
    assert (result.stopped, result.epochs < 20) == ("stop_at_accuracy", True)


@pytest.mark.parametrize("target", [0.9, 1.0])
def test_the_target_itself_is_enough(target: float) -> None:
    reached = {"train/accuracy": [0.85, target, target]}
    assert _stop_epoch(target, reached) == 2
    assert _stop_epoch(target, {"train/accuracy": [target - 1e-6]}) is None


@pytest.mark.slow
def test_augmentation_changes_training_images_alone(config: Compose) -> None:
    plain, augmented = trained(config()), trained(config(*AUGMENTED))
    assert plain.history["train/loss"] != augmented.history["train/loss"]
    settings = config(*AUGMENTED)
    stack = model.layers(settings.model, settings.data)
    kinds = [layer.kind for layer in stack]
    assert kinds[:5] == ["augment"] * 4 + ["conv"]
    start_tensorflow(1)
    net = build(settings.model, settings.data, stack)
    x = np.random.default_rng(0).random((3, 8, 8, 1), np.float32)
    for layer in net.layers[:4]:
        assert (np.asarray(layer(x, training=False)) == x).all()
        assert not (np.asarray(layer(x, training=True)) == x).all()
        assert layer.count_params() == 0


def test_an_epoch_may_have_fewer_steps_than_the_set(config: Compose) -> None:
    steps: list[tuple[int, int]] = []
    trained(
        config("trainer.steps_per_epoch=3"), on_steps=lambda epoch, step, total, metrics: steps.append((step, total))
    )
    assert {total for _, total in steps} == {3}
    assert max(step for step, _ in steps) == 3


def test_stops_when_asked(config: Compose) -> None:
    result = trained(config("trainer.epochs=5"), on_epoch=lambda epoch, metrics: epoch < 2)
    assert (result.stopped, result.epochs) == ("asked", 2)


def test_tells_epochs_and_steps(config: Compose) -> None:
    epochs: list[int] = []
    steps: list[tuple[int, int, int]] = []

    def on_epoch(epoch: int, metrics: dict[str, float]) -> bool:
        epochs.append(epoch)
        return True

    trained(config(), on_epoch, lambda epoch, step, total, metrics: steps.append((epoch, step, total)))
    assert epochs == [1, 2]
    assert steps[-1] == (2, 45, 45)


@pytest.mark.parametrize("at_once", [1, 10, 45])
def test_a_loss_that_is_no_number_fails_with_epoch_and_step(config: Compose, at_once: int) -> None:
    wild = ["optimizer=sgd", "optimizer.learning_rate=1e15", f"trainer.steps_per_execution={at_once}"]
    with pytest.raises(TrainingError, match="not finite since epoch 1, step 2 of 45"):
        trained(config(*wild, "trainer.precision=float32"))


def test_the_line_is_learnt(config: Compose) -> None:
    result = trained(config("trainer.epochs=300", base=["data=line", "model=line", "trainer=line", "optimizer=sgd"]))
    assert result.history["test/loss"][-1] < 0.05
    assert "gap/accuracy" not in result.final
    loss = (result.final["prediction"] - 4.0) ** 2
    assert loss == pytest.approx(result.history["test/loss"][-1], rel=1e-3)


def test_a_saved_model_predicts_as_trained(config: Compose, tmp_path: Path) -> None:
    import keras

    from pipeline.datasets import dataset as data
    from pipeline.training.loop import Evaluation

    settings = config()
    chain = CheckpointStore(tmp_path / "chain")
    result: RunResult = trained(settings, checkpoints=chain)
    checkpoint = chain.latest(2)
    assert checkpoint is not None
    restore_model(resolve(settings, "data"), checkpoint).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    test = data.load(settings.data).test
    assert Evaluation(loaded, settings, test)(test)["accuracy"] == pytest.approx(result.history["test/accuracy"][-1])
