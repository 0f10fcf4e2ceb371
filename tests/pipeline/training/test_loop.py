"""The graphs that train, held against Keras's own layers, fit and evaluate: less arithmetic, the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pipeline.config.compose import compose
from pipeline.config.groups import config_groups
from pipeline.config.schema import RunConfig
from pipeline.datasets import dataset as data
from pipeline.datasets.dataset import Examples
from pipeline.models import layers as model
from pipeline.models.build import build
from pipeline.system.hardware import resolve_precision
from pipeline.system.tensorflow import start_tensorflow
from tests.helpers.training import trained
from tests.test_conf import FITTING

# A processor without bfloat16 of its own rounds in other places: an example in fifty is classified otherwise.
BFLOAT16_NEAR = 1e-2 if resolve_precision("auto") == "mixed_bfloat16" else 4e-2

Compose = Callable[..., RunConfig]
SMALLER = {"horse_conv": ["data=horse_or_human", "trainer=horse", "optimizer=rmsprop", "data.shape=[100,100,3]"]}
HORSE = ["model=horse_conv", "trainer=horse", "optimizer=rmsprop", "trainer.batch_size=16"]


def nets(config: RunConfig) -> tuple[Any, Any]:
    """The network as it is drawn, and the optimized one with the same weights; in float32."""
    start_tensorflow(1)
    import keras

    keras.config.set_dtype_policy("float32")
    keras.utils.set_random_seed(1)
    stack = model.layers(config.model, config.data)
    plain = build(config.model, config.data, stack)
    keras.utils.set_random_seed(2)
    optimized = build(config.model, config.data, model.optimized_layers(config.model, config.data, stack))
    assert [v.name for v in optimized.variables] == [v.name for v in plain.variables]
    for ours, theirs in zip(optimized.variables, plain.variables, strict=True):
        ours.assign(theirs)
    return plain, optimized


def gradients(net: Any, x: np.ndarray) -> list[np.ndarray]:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(net(x) - 0.3))
    return [np.asarray(g) for g in tape.gradient(loss, net.trainable_variables)]


def equal(plain: Any, optimized: Any, shape: list[int]) -> None:
    """Outputs and gradients are the same within rounding."""
    x = np.random.default_rng(0).random((5, *shape), np.float32)
    np.testing.assert_allclose(np.asarray(optimized(x)), np.asarray(plain(x)), rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(gradients(optimized, x), gradients(plain, x), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def of_layers() -> list[str]:
    """Names of the models that are a list of layers; a builder's are as Keras has them."""
    names = [name for name in config_groups()["model"] if name != "builder"]
    return [name for name in names if not compose(RunConfig, "train", [f"model={name}"]).model.builder]


@pytest.mark.parametrize("name", of_layers())
def test_every_optimized_model_computes_what_the_model_does(name: str) -> None:
    config = compose(RunConfig, "train", [f"model={name}", *SMALLER.get(name, FITTING.get(name, []))])
    equal(*nets(config), config.data.shape)


@pytest.mark.parametrize("pool", ["each", "inner", "last", "none"])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("shape", [["model.kernel_size=2", "model.stride=2"], ["model.pool_size=3"]])
def test_whatever_the_shape_an_optimized_model_computes_the_same(
    pool: str, padding: str, activation: str, shape: list[str]
) -> None:
    told = [f"model.pool={pool}", f"model.padding={padding}", f"model.activation={activation}", *shape]
    config = compose(RunConfig, "train", ["model.filters=3", *told, "model.dropout=0.2"])
    equal(*nets(config), config.data.shape)


def test_an_optimized_model_computes_only_what_is_used() -> None:
    def optimized(config: RunConfig) -> list[model.Layer]:
        return model.optimized_layers(config.model, config.data, model.layers(config.model, config.data))

    course = compose(RunConfig, "train", [])
    stack = {layer.name: layer.output_shape for layer in optimized(course)}
    # 28 -> 26 -> 13 -> 11 -> 5: the last pooling drops a row, for which two rows of the image are needed.
    assert [stack[name][0] for name in ("crop", "conv_1", "pool_1", "conv_2", "pool_2")] == [26, 24, 12, 10, 5]
    same = compose(RunConfig, "train", ["model.padding=same"])
    assert "crop" not in {layer.kind for layer in optimized(same)}
    augmented = compose(RunConfig, "train", ["model.augmentation.flip=both"])
    assert [layer.kind for layer in optimized(augmented)][:3] == ["augment", "crop", "conv"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("images", "overrides"),
    [
        ("grey", []),
        ("grey", ["optimizer=sgd", "model.l2=0.01", "trainer.batch_size=100"]),
        ("grey", ["optimizer=rmsprop", "model.l1=0.001", "data.val_fraction=0.2"]),
        (None, ["data=line", "model=line", "trainer=line", "optimizer=sgd", "trainer.epochs=3"]),
        ("coloured", HORSE),
        (None, ["data=digits", "data.task=regression", "data.class_names=[]", "model=dense", "trainer.epochs=2"]),
        ("grey", ["trainer.precision=mixed_bfloat16"]),
    ],
    ids=["adam", "sgd", "rmsprop", "line", "binary", "regression on images", "bfloat16"],
)
def test_a_run_is_what_keras_fit_makes_of_it(
    images: str | None, overrides: list[str], request: pytest.FixtureRequest
) -> None:
    drawn = request.getfixturevalue(images) if images else []
    if images == "grey":
        drawn = [*drawn, "model.filters=3"]
    config = compose(RunConfig, "train", ["trainer.precision=float32", "trainer.threads=1", *drawn, *overrides])
    config.trainer.epochs = min(config.trainer.epochs, 3)
    ours = trained(config)
    theirs = fitted(config)
    assert set(ours.history) == set(theirs)
    near = 2e-3 if config.trainer.precision == "float32" else BFLOAT16_NEAR
    for name, values in theirs.items():
        assert ours.history[name] == pytest.approx(values, rel=near, abs=near), name


def fitted(config: RunConfig) -> dict[str, list[float]]:
    """History of the course's own way: the network as it is drawn, compile, fit on floats, evaluate."""
    import keras
    import tensorflow as tf

    parts = data.split(data.load(config.data), config.data, config.seed)
    keras.utils.set_random_seed(config.seed)
    net = build(config.model, config.data, model.layers(config.model, config.data))
    told = config.optimizer
    optimizers = {
        "adam": lambda: keras.optimizers.Adam(told.learning_rate),
        "sgd": lambda: keras.optimizers.SGD(told.learning_rate, told.momentum),
        "rmsprop": lambda: keras.optimizers.RMSprop(told.learning_rate, momentum=told.momentum),
    }
    losses = {"multiclass": "sparse_categorical_crossentropy", "binary": "binary_crossentropy", "regression": "mse"}
    metrics = [] if config.data.task == "regression" else ["accuracy"]
    net.compile(optimizers[told.name](), losses[config.data.task], metrics=metrics)

    def scaled(examples: Examples) -> tuple[np.ndarray, np.ndarray]:
        return examples.x / np.float32(config.data.scale), examples.y

    x, y = scaled(parts.train)
    seen = min(len(y), (config.trainer.steps_per_epoch or len(y)) * config.trainer.batch_size)
    history: dict[str, list[float]] = {}
    for epoch in range(config.trainer.epochs):
        order = tf.random.experimental.stateless_shuffle(tf.range(len(y)), seed=[config.seed, epoch]).numpy()[:seen]
        told_of = {"train": net.fit(x[order], y[order], config.trainer.batch_size, shuffle=False, verbose=0).history}
        for name, part in {"val": parts.val, "test": parts.test}.items():
            if len(part):
                told_of[name] = net.evaluate(*scaled(part), verbose=0, return_dict=True)
        for name, values in told_of.items():
            for metric, value in values.items():
                history.setdefault(f"{name}/{metric}", []).append(float(np.ravel(value)[0]))
    return history


@pytest.mark.parametrize(("at_once", "calls"), [("null", 1), ("2", 23), ("45", 1)])
def test_hands_over_as_often_as_told_or_as_the_arithmetic_is_worth(config: Compose, at_once: str, calls: int) -> None:
    steps: list[tuple[int, int, int]] = []
    quick = config(f"trainer.steps_per_execution={at_once}")
    trained(quick, on_steps=lambda epoch, step, total, metrics: steps.append((epoch, step, total)))
    assert len([epoch for epoch, *_ in steps if epoch == 1]) == calls
    assert steps[-1] == (2, 45, 45)


def test_an_epoch_of_the_course_is_handed_over_some_twenty_times() -> None:
    start_tensorflow(1)
    from pipeline.training.cost import multiplications_per_step
    from pipeline.training.loop import _steps_at_once

    course = compose(RunConfig, "train", [])
    multiplications = multiplications_per_step(course.trainer, model.layers(course.model, course.data))
    assert -(-1875 // _steps_at_once(course.trainer, 1875, multiplications)) == 20


def orders(config: RunConfig) -> list[list[int]]:
    """The rows that each of the first three epochs takes, in order."""
    start_tensorflow(1)
    from pipeline.training.loop import Training

    parts = data.split(data.load(config.data), config.data, config.seed)
    net = build(config.model, config.data, model.layers(config.model, config.data))
    training = Training(net, config, parts.train, multiplications=1e6)
    return [np.asarray(training._order(epoch)).tolist() for epoch in range(3)]


def test_examples_come_in_a_new_order_in_one_order_or_as_the_file_has_them(config: Compose) -> None:
    small = "data.limit=50"
    new, once, as_filed = (orders(config(small, f"trainer.shuffle={how}")) for how in ("epoch", "once", "none"))
    assert len({tuple(order) for order in new}) == 3
    assert once == [new[0]] * 3
    assert as_filed == [list(range(50))] * 3
    assert all(sorted(order) == list(range(50)) for order in new)
    assert orders(config(small))[:2] == new[:2], "a new order is the default"
    assert orders(config(small, "trainer.shuffle=once", "seed=1"))[0] != once[0]
