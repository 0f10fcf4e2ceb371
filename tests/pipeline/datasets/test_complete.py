from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config.checks import ConfigError
from pipeline.config.compose import compose, compose_run
from pipeline.config.schema import RunConfig
from pipeline.datasets import dataset as data
from pipeline.datasets.arrays import WrongDataError
from pipeline.datasets.complete import completed
from pipeline.training.identity import resolve
from tests.helpers.training import trained

RNG = np.random.default_rng(0)
DENSE = ["model=dense", "trainer.threads=1", "trainer.epochs=2", "trainer.batch_size=16"]
Own = Callable[..., RunConfig]


@pytest.fixture
def own(empty: Path) -> Own:
    """Saves arrays as mine.npz and composes a config for them, which is not completed."""

    def composed(*overrides: str, **arrays: Any) -> RunConfig:
        np.savez("mine.npz", **arrays)
        named = ["data=npz", "data.name=mine", "data.path=mine.npz", f"data.cache={empty / 'cache'}"]
        return compose(RunConfig, "train", [*named, *DENSE, *overrides])

    return composed


def of_shape(*shape: int, labels: Any = None, dtype: str = "float64", size: int = 48) -> dict[str, Any]:
    """Return arrays of examples of a shape, whose sign tells the class unless labels are given."""
    x = RNG.normal(size=(size, *shape))
    y = (x.reshape(size, -1)[:, 0] > 0).astype(int) if labels is None else np.resize(labels, size)
    x = (x * 50 + 100).astype(dtype) if dtype == "uint8" else x.astype(dtype)
    return {"x_train": x[: size // 2], "y_train": y[: size // 2], "x_test": x[size // 2 :], "y_test": y[size // 2 :]}


@pytest.mark.parametrize("shape", [(6,), (20, 3), (8, 8, 3), (2, 4, 4, 3)])
@pytest.mark.parametrize("dtype", ["uint8", "int64", "float64"])
def test_arrays_of_any_shape_are_completed_and_trained(own: Own, shape: tuple[int, ...], dtype: str) -> None:
    config = completed(own(**of_shape(*shape, dtype=dtype, labels=[0, 1, 2])))
    assert config.data.shape == list(shape)
    assert (config.data.train_size, config.data.test_size) == (24, 24)
    assert config.data.class_names == ["0", "1", "2"]
    assert config.data.is_complete
    assert config.data.outputs == 3
    assert trained(config).history["test/accuracy"][-1] >= 0


def test_a_config_is_completed_once_and_names_its_content(own: Own) -> None:
    config = completed(own(**of_shape(4)))
    assert completed(config) is config
    assert config.data.sha256 == data.load(config.data).sha256 == data.data_sha256(config.data)
    other = completed(own(**of_shape(4)))  # other numbers
    assert resolve(config, str(config.data.sha256)).signature != resolve(other, str(other.data.sha256)).signature


def test_datasets_of_ours_stay_as_they_are(config: Own) -> None:
    ours = config()
    assert completed(ours) is ours


def test_labels_may_be_whole_floats_booleans_or_a_column(own: Own) -> None:
    for labels in ([0.0, 1.0, 2.0], [0, 1, 2]):
        config = completed(own(**of_shape(4, labels=labels)))
        loaded = data.load(config.data)
        assert loaded.train.y.dtype == np.int32
        assert loaded.train.y[:4].tolist() == [0, 1, 2, 0]
    arrays = of_shape(4, labels=[False, True])
    column = {name: value[:, None] if name[0] == "y" else value for name, value in arrays.items()}
    loaded = data.load(completed(own("data.task=binary", **column)).data)
    assert loaded.test.y.shape == (24,)
    assert loaded.test.y.dtype == np.uint8


def test_binary_and_regression(own: Own) -> None:
    binary = completed(own("data.task=binary", **of_shape(4)))
    assert (binary.data.class_names, binary.data.outputs) == (["0", "1"], 1)
    assert "test/accuracy" in trained(binary).history
    for labels in ([0.5, 1.5, 2.25], [1, 2, 3]):
        regression = completed(own("data.task=regression", **of_shape(4, labels=labels)))
        assert (regression.data.class_names, regression.data.outputs) == ([], 1)
        assert data.load(regression.data).train.y.dtype == np.float32
        assert "test/accuracy" not in trained(regression).history


def test_what_the_config_says_stays(own: Own) -> None:
    given = ["data.class_names=[no,yes,never]", "data.scale=255.0", "data.shape=[8,8,1]"]
    config = completed(own(*given, "model=conv", "model.padding=same", **of_shape(8, 8, dtype="uint8")))
    assert config.data.class_names == ["no", "yes", "never"]
    loaded = data.load(config.data)
    assert loaded.train.x.shape == (24, 8, 8, 1)
    assert loaded.train.x.dtype == np.uint8
    assert trained(config).final["parameters"] > 0


@pytest.mark.parametrize(
    ("overrides", "arrays", "message"),
    [
        (["data.shape=[5]"], of_shape(4), r"data=mine: examples have the shape \[4\], data.shape is \[5\]"),
        (["data.test_size=23"], of_shape(4), "its test set has 24 examples, data.test_size=23"),
        ([], of_shape(4, labels=[0.5, 1]), "labels must be the numbers of classes, from 0: one is 0.5"),
        ([], of_shape(4, labels=[-1, 1]), "labels are from -1 to 1; data.task=multiclass needs them from 0"),
        ([], of_shape(4, labels=[1, 2, 3]), "labels go up to 3, but none is 0; number the classes from 0"),
        ([], of_shape(4, labels=[2]), "labels of the training set are all 2: there is nothing to tell apart"),
        (["data.task=binary"], of_shape(4, labels=[0, 1, 2]), "from 0 to 2; data.task=binary needs them from 0 to 1"),
        (["data.class_names=[a,b]"], of_shape(4, labels=[0, 1, 2]), "needs them from 0 to 1: data.class_names has 2"),
        ([], of_shape(4, labels=[0, 10**6]), "labels are from 0 to 1e.06; data.task=multiclass needs them"),
    ],
)
def test_arrays_other_than_the_config_says_are_refused(
    own: Own, overrides: list[str], arrays: dict[str, Any], message: str
) -> None:
    with pytest.raises(WrongDataError, match=message):
        completed(own(*overrides, **arrays))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model=conv"], r"model.conv_layers=2 is not allowed: model.conv_layers must be 0 with data=mine.*\[8, 8\]"),
        (["model.augmentation.flip=both"], "none of it with data=mine, whose examples are no images"),
    ],
)
def test_what_does_not_fit_the_arrays_is_refused_once_they_are_known(
    own: Own, overrides: list[str], message: str
) -> None:
    config = own(*overrides, **of_shape(8, 8))
    with pytest.raises(ConfigError, match=message):
        completed(config)


def test_only_ones_own_arrays_may_leave_something_out() -> None:
    for key in ("shape", "train_size", "class_names"):
        with pytest.raises(ConfigError, match=f"data.{key}=.* is not allowed: data.{key} must be"):
            compose(RunConfig, "train", [f"data.{key}=null"])


@pytest.mark.parametrize("kind", ["sequential", "functional"])
def test_an_embedding_takes_whole_numbers_of_a_large_vocabulary(own: Own, kind: str) -> None:
    """bfloat16 cannot tell 1000 from 1001: the numbers of words must reach the embedding as they are."""
    from pipeline.system.tensorflow import start_tensorflow

    start_tensorflow(1)
    import keras

    from pipeline.training.loop import _scaled

    words = np.array([[1000, 1001]] * 4)
    config = completed(own(x_train=words, y_train=[0, 1, 0, 1], x_test=words, y_test=[0, 1, 0, 1]))
    assert data.load(config.data).train.x.dtype == np.int32
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        stack = [keras.Input((2,)), keras.layers.Embedding(2000, 4)]
        net = keras.Sequential(stack) if kind == "sequential" else keras.Model(stack[0], stack[1](stack[0]))
        found = np.asarray(net(_scaled(words[:1], config.data.scale), training=True), np.float32)
    finally:
        keras.config.set_dtype_policy("float32")
    weights = np.asarray(net.layers[-1].embeddings, np.float32)
    assert np.allclose(found[0], weights[[1000, 1001]], rtol=0.01)


def test_a_trial_of_a_sweep_has_its_own_arrays(own: Own, empty: Path) -> None:
    own(**of_shape(4))
    named = ["data=npz", "data.name=mine", "data.path=mine.npz", f"data.cache={empty / 'cache'}", *DENSE]
    base = completed(compose_run("train", named, []))
    np.savez("yours.npz", **of_shape(7))
    other = completed(compose_run("train", named, ["data.path=yours.npz"]))
    assert (base.data.shape, other.data.shape) == ([4], [7])


def test_a_completed_config_is_read_back_as_it_was_written(own: Own, empty: Path) -> None:
    import yaml

    from pipeline.config.compose import compose_from, without_store

    config = completed(own(**of_shape(4)))
    (empty / "config.yaml").write_text(yaml.safe_dump(without_store(config)))
    again = compose_from(empty / "config.yaml", [])
    assert replace(again.data, cache=config.data.cache) == config.data
