"""Optimizers, held against Keras's own; schedules, against their formulas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import cos, pi
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config.schema import RunConfig
from pipeline.system.tensorflow import start_tensorflow
from pipeline.training.checkpoints import CheckpointStore
from pipeline.training.identity import resolve
from tests.helpers.training import resume_key, trained

Compose = Callable[..., RunConfig]
STEPS = 10  # per epoch, of formulas
NESTEROV = ["optimizer=sgd", "optimizer.momentum=0.9", "optimizer.nesterov=true"]
COSINE = ["optimizer.schedule=cosine", "optimizer.final_fraction=0.1"]
EXPONENTIAL = ["optimizer.schedule=exponential", "optimizer.decay_rate=0.5", "optimizer.decay_epochs=2"]
PIECEWISE = ["optimizer.schedule=piecewise", "optimizer.boundaries=[2,3]", "optimizer.factors=[0.1,0.01]"]
ADAMW = ["optimizer=adamw", "optimizer.weight_decay=0.1"]


def keras_own(name: str) -> Any:
    start_tensorflow(1)
    from keras import optimizers

    made = {
        "adam": lambda: optimizers.Adam(0.001),
        "adam, decayed": lambda: optimizers.Adam(0.001, weight_decay=0.1),
        "adamw": lambda: optimizers.AdamW(0.001, weight_decay=0.1),
        "adamw, clipped": lambda: optimizers.AdamW(0.001, weight_decay=0.1, global_clipnorm=0.5),
        "sgd": lambda: optimizers.SGD(0.01),
        "nesterov": lambda: optimizers.SGD(0.01, momentum=0.9, nesterov=True),
        "sgd, clipped and decayed": lambda: optimizers.SGD(0.01, weight_decay=0.1, global_clipnorm=0.5),
        "rmsprop": lambda: optimizers.RMSprop(0.001, momentum=0.5, weight_decay=0.1),
        "adamw, cosine": lambda: optimizers.AdamW(
            optimizers.schedules.CosineDecay(0.0, 15, 0.0, warmup_target=0.001, warmup_steps=5), weight_decay=0.1
        ),
    }
    return made[name]()


OURS = {
    "adam": [],
    "adam, decayed": ["optimizer.weight_decay=0.1"],
    "adamw": ADAMW,
    "adamw, clipped": [*ADAMW, "optimizer.clip_norm=0.5"],
    "sgd": ["optimizer=sgd"],
    "nesterov": NESTEROV,
    "sgd, clipped and decayed": ["optimizer=sgd", "optimizer.weight_decay=0.1", "optimizer.clip_norm=0.5"],
    "rmsprop": ["optimizer=rmsprop", "optimizer.momentum=0.5", "optimizer.weight_decay=0.1"],
    "adamw, cosine": [*ADAMW, "optimizer.schedule=cosine", "optimizer.warmup_epochs=0.5"],
}


def updated(optimizer: Any, steps: int) -> list[np.ndarray]:
    """Weights and biases after steps with random gradients, within a graph as in training."""
    import keras
    import tensorflow as tf

    rng = np.random.default_rng(0)
    weights = [keras.Variable(rng.normal(size=shape), dtype="float32") for shape in ((4, 3), (3,))]
    optimizer.build(weights)
    step = tf.function(lambda *gradients: optimizer.apply(gradients, weights))
    for _ in range(steps):
        step(*(tf.constant(rng.normal(size=weight.shape), tf.float32) for weight in weights))
    return [np.asarray(weight) for weight in weights]


@pytest.mark.parametrize("steps", [1, 7])
@pytest.mark.parametrize("name", OURS)
def test_steps_are_those_of_keras(name: str, steps: int, config: Compose) -> None:
    theirs = updated(keras_own(name), steps)
    from pipeline.training.optimizers import make_optimizer

    ours = updated(make_optimizer(config(*OURS[name]), STEPS), steps)
    for our, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(our, their, rtol=2e-6, atol=2e-7)


def rates(config: RunConfig, steps: int = STEPS) -> list[float]:
    """The learning rate of every step of a run."""
    start_tensorflow(1)
    import tensorflow as tf

    from pipeline.training.optimizers import learning_rate

    rate = learning_rate(config, steps)
    every = tf.range(config.trainer.epochs * steps, dtype=tf.int64)
    return [rate] * len(every) if isinstance(rate, float) else rate(every).numpy().tolist()


def constant(step: int, rising: float) -> float:
    return 1.0


def cosine(step: int, rising: float) -> float:
    share = (step - rising) / (4 * STEPS - rising)
    return 0.1 + 0.9 * (1 + cos(pi * share)) / 2


def exponential(step: int, rising: float) -> float:
    return 0.5 ** ((step - rising) / (2 * STEPS))


def piecewise(step: int, rising: float) -> float:
    return 1.0 if step < 2 * STEPS else 0.1 if step < 3 * STEPS else 0.01


SCHEDULES: dict[str, tuple[list[str], Callable[[int, float], float]]] = {
    "constant": ([], constant),
    "cosine": (COSINE, cosine),
    "exponential": (EXPONENTIAL, exponential),
    "piecewise": (PIECEWISE, piecewise),
}


@pytest.mark.parametrize("warmup", [0, 1, 0.25, 1.33, 2])
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_is_its_formula(name: str, warmup: float, config: Compose) -> None:
    overrides, formula = SCHEDULES[name]
    rising = warmup * STEPS
    wanted = [0.002 * (step / rising if step < rising else formula(step, rising)) for step in range(4 * STEPS)]
    told = config("trainer.epochs=4", "optimizer.learning_rate=0.002", f"optimizer.warmup_epochs={warmup}", *overrides)
    assert rates(told) == pytest.approx(wanted, rel=1e-4, abs=1e-9)


def test_a_rate_changes_exactly_between_epochs_however_many_steps_they_have(config: Compose) -> None:
    for steps in (1, 3, 1875):
        found = rates(config("trainer.epochs=4", *PIECEWISE), steps)
        assert [found.index(pytest.approx(rate)) for rate in (1e-3, 1e-4, 1e-5)] == [0, 2 * steps, 3 * steps]


def test_a_changing_rate_is_a_metric(config: Compose) -> None:
    assert "train/learning_rate" not in trained(config()).history
    result = trained(config("trainer.epochs=4", *PIECEWISE))
    assert result.history["train/learning_rate"] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-5])
    steps = 45  # of an epoch of the digits
    rising = trained(config("optimizer.warmup_epochs=1.5")).history["train/learning_rate"]
    assert rising == pytest.approx([1e-3 * (steps - 1) / (1.5 * steps), 1e-3]), "that of the epoch's last step"


def test_what_is_trained_follows_the_schedule(config: Compose) -> None:
    """The graph reads the step anew at every step: with a rate that is practically none from epoch 2 on, all stays."""
    told = ["optimizer=sgd", "optimizer.schedule=piecewise", "optimizer.boundaries=[2]", "optimizer.factors=[1e-12]"]
    history = trained(config("trainer.epochs=4", *told)).history["test/loss"]
    assert history[0] != history[1] == pytest.approx(history[3], rel=1e-6)


# -- continuing -------------------------------------------------------------------------------------------------------

CONTINUED = {
    "adamw": [*ADAMW, "optimizer.clip_norm=0.5"],
    "nesterov": [*NESTEROV, "optimizer.weight_decay=0.001"],
    "rmsprop": ["optimizer=rmsprop", "optimizer.momentum=0.5", "optimizer.clip_norm=1"],
    "warm-up": ["optimizer.warmup_epochs=2.5"],
    "exponential": [*EXPONENTIAL, "optimizer.warmup_epochs=1"],
    "piecewise": [*PIECEWISE, *ADAMW],
}


def same(one: Any, other: Any) -> bool:
    return bool(one.history == other.history)


def weights(kept: CheckpointStore, epoch: int) -> list[bytes]:
    checkpoint = kept.latest(epoch)
    assert checkpoint is not None
    return [array.tobytes() for array in checkpoint.arrays]


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("name", CONTINUED)
def test_four_epochs_are_two_and_two_more_bit_for_bit(
    name: str, precision: str, config: Compose, tmp_path: Path
) -> None:
    told = [*CONTINUED[name], "data.limit=300", "model.dropout=0.2", f"trainer.precision={precision}"]
    assert resume_key(config("trainer.epochs=2", *told)) == resume_key(config("trainer.epochs=4", *told))
    straight, broken = CheckpointStore(tmp_path / "straight"), CheckpointStore(tmp_path / "broken")
    whole = trained(config("trainer.epochs=4", *told), checkpoints=straight)
    trained(config("trainer.epochs=2", *told), checkpoints=broken)
    epochs: set[int] = set()
    continued = trained(
        config("trainer.epochs=4", *told), on_steps=lambda epoch, *rest: epochs.add(epoch), checkpoints=broken
    )
    assert epochs == {3, 4}
    assert same(continued, whole)
    assert weights(broken, 4) == weights(straight, 4)


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_a_cosine_that_is_interrupted_goes_on_bit_for_bit(precision: str, config: Compose, tmp_path: Path) -> None:
    told = [*COSINE, *ADAMW, "optimizer.warmup_epochs=1.5", "data.limit=300", f"trainer.precision={precision}"]
    straight, broken = CheckpointStore(tmp_path / "straight"), CheckpointStore(tmp_path / "broken")
    whole = trained(config("trainer.epochs=4", *told), checkpoints=straight)
    trained(config("trainer.epochs=4", *told), lambda epoch, metrics: epoch < 2, checkpoints=broken)
    assert broken.epochs() == [2]
    assert same(trained(config("trainer.epochs=4", *told), checkpoints=broken), whole)
    assert weights(broken, 4) == weights(straight, 4)


def key_parts(config: RunConfig) -> Sequence[str]:
    run = resolve(config, "data")
    return run.resume_key, run.cost_key


def test_runs_along_a_cosine_share_checkpoints_only_with_as_many_epochs(config: Compose) -> None:
    (two, cost), (four, same_cost) = (key_parts(config(*COSINE, f"trainer.epochs={epochs}")) for epochs in (2, 4))
    assert two != four, "the second epoch of two is not that of four"
    assert cost == same_cost, "but takes equally long"
    assert key_parts(config(*COSINE, "trainer.stop_at_accuracy=0.9"))[0] == two
