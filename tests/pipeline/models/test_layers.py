"""Golden values: what the course documents (N20, N22, W3, L13) print, and what is computed from their code."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.config.checks import ConfigError
from pipeline.config.compose import compose
from pipeline.config.schema import RunConfig
from pipeline.models import layers as model

HORSE = ["model=horse_conv", "data=horse_or_human", "trainer=horse", "optimizer=rmsprop"]
# Totals that a document prints; a fourth is W3's 55,744 of a convolutional base, below.
PRINTED = [
    (["model=conv", "model.filters=64"], 243_786),  # N20
    (["model=lecture_dense", "data=mnist"], 3_432_970),  # L13
    (["model=lecture_conv", "data=mnist"], 356_234),  # L13
]
# Totals that no document prints: computed from its code, by hand.
COMPUTED = [
    (["model=dense"], 101_770),
    (["model=dense", "model.dense_units=[512]"], 407_050),
    (["model=dense", "model.dense_units=[512,256,128]"], 567_434),
    (["model=conv", "model.filters=16"], 55_098),
    (["model=conv"], 113_386),
    (["model=conv", "model.filters=64", "model.conv_layers=1"], 1_386_506),
    (["model=week3_conv", "data=mnist"], 93_322),
    (["model=week3_conv", "data=mnist", "model.pool=each"], 60_554),
    (["model=softmax", "data=mnist"], 7_850),
    (HORSE, 1_704_097),
    (["model=line", "data=line"], 2),
    # 640 + 36,928 + 36,928 + 64 * 128 + 128 + 1,290.
    (["model=conv", "model.filters=64", "model.conv_layers=3"], 84_106),
    # 320 + 9,248 + 12 * 12 * 32 * 128 + 128 + 1,290.
    (["model=conv", "model.pool=last"], 600_810),
]


def layers(overrides: list[str]) -> list[model.Layer]:
    config = compose(RunConfig, "train", overrides)
    return model.layers(config.model, config.data)


@pytest.mark.parametrize(("overrides", "parameters"), PRINTED, ids=[" ".join(p[0]) for p in PRINTED])
def test_parameters_as_printed(overrides: list[str], parameters: int) -> None:
    assert model.total_params(layers(overrides)) == parameters


@pytest.mark.parametrize(("overrides", "parameters"), COMPUTED, ids=[" ".join(p[0]) for p in COMPUTED])
def test_parameters_as_computed(overrides: list[str], parameters: int) -> None:
    assert model.total_params(layers(overrides)) == parameters


def test_conv_64_as_printed_in_n20() -> None:
    stack = layers(["model.filters=64"])
    shapes = [(26, 26, 64), (13, 13, 64), (11, 11, 64), (5, 5, 64), (1600,), (128,), (10,)]
    assert [layer.output_shape for layer in stack] == shapes
    assert [layer.params for layer in stack] == [640, 0, 36_928, 0, 0, 204_928, 1_290]


def test_lecture_conv_as_printed_in_l13() -> None:
    stack = [layer for layer in layers(["model=lecture_conv"]) if layer.kind != "dropout"]
    shapes = [(28, 28, 32), (14, 14, 32), (14, 14, 64), (7, 7, 64), (7, 7, 128), (4, 4, 128), (2048,), (128,), (10,)]
    assert [layer.output_shape for layer in stack] == shapes
    assert [layer.params for layer in stack if layer.params] == [320, 18_496, 73_856, 262_272, 1_290]


def test_lecture_networks_drop_after_all_but_the_last_layer_of_a_stack() -> None:
    kinds = [layer.kind for layer in layers(["model=lecture_conv"])]
    assert kinds == ["conv", "pool", "dropout"] * 2 + ["conv", "pool", "flatten", "dense", "dense"]
    kinds = [layer.kind for layer in layers(["model=lecture_dense"])]
    assert kinds == ["flatten"] + ["dense", "dropout"] * 3 + ["dense", "dense"]
    assert [layer.params for layer in layers(["model=lecture_dense"]) if layer.params] == [
        803_840,
        1_049_600,
        1_049_600,
        524_800,
        5_130,
    ]


def test_week3_base_ends_at_one_pixel_as_printed_in_w3() -> None:
    stack = layers(["model=week3_conv", "model.pool=each"])
    base = [layer for layer in stack if layer.kind in ("conv", "pool")]
    assert base[-1].output_shape == (1, 1, 64)
    assert model.total_params(base) == 55_744


@pytest.mark.parametrize(
    ("size", "window", "stride", "padding", "out"),
    [
        (7, 3, 1, "valid", 5),
        (7, 3, 2, "valid", 3),
        (7, 3, 1, "same", 7),
        (32, 5, 1, "valid", 28),
        (28, 3, 2, "same", 14),
        (14, 2, 2, "same", 7),
    ],
)
def test_window_size_of_the_lecture(size: int, window: int, stride: int, padding: str, out: int) -> None:
    assert model.window_size(size, window, stride, padding) == out


def test_lecture_shapes_with_stride_and_same_padding() -> None:
    overrides = ["model.filters=5", "model.conv_layers=1", "model.stride=2", "model.padding=same"]
    assert [layer.output_shape for layer in layers(overrides)[:2]] == [(14, 14, 5), (7, 7, 5)]


@pytest.mark.parametrize("weight", [1, 10, -1])
def test_worked_convolution_and_pooling_of_l13(weight: int) -> None:
    from pipeline.system.tensorflow import start_tensorflow

    start_tensorflow(1)
    from keras import ops

    image = np.arange(1, 10, dtype=np.float32).reshape(1, 3, 3, 1)
    kernel = np.full((2, 2, 1, 1), weight, np.float32)
    valid = np.asarray(ops.conv(image, kernel, padding="valid"))[0, :, :, 0]
    same = np.asarray(ops.conv(image, kernel, padding="same"))[0, :, :, 0]
    assert (valid == weight * np.array([[12, 16], [24, 28]])).all()
    assert (same == weight * np.array([[12, 16, 9], [24, 28, 15], [15, 17, 9]])).all()
    pooled = np.asarray(ops.max_pool(image, 2, strides=1, padding="same"))[0, :, :, 0]
    assert (pooled == np.array([[5, 6, 6], [8, 9, 9], [8, 9, 9]])).all()


def test_a_window_that_does_not_fit_is_refused_with_the_arithmetic() -> None:
    with pytest.raises(ConfigError) as refused:
        layers(["model.conv_layers=4"])
    text = str(refused.value)
    for part in (
        "conv_4: a 3x3 window does not fit into 1x1",
        "28x28x1",
        "(28 - 3) / 1 + 1 = 26",
        "model.padding=same",
    ):
        assert part in text


def test_a_window_larger_than_the_image_is_refused() -> None:
    with pytest.raises(ConfigError, match="a 29x29 window does not fit into 28x28"):
        layers(["model.kernel_size=29"])
    with pytest.raises(ConfigError, match="pool_1: a 27x27 window does not fit into 26x26"):
        layers(["model.pool_size=27"])


def test_summary_ends_with_the_total() -> None:
    assert model.summary(layers(["model.filters=64"])).endswith("Total params: 243,786")
