"""Layers of a network from its config: shapes, parameters, and the error where a window does not fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod
from typing import Any

from pipeline.config.checks import ConfigError, require
from pipeline.config.data import DataConfig
from pipeline.config.rules import CODE
from pipeline.config.schema import AugmentationConfig, ModelConfig
from pipeline.models.tasks import TASKS

MOST_PARAMETERS = 10**9  # four gigabytes, and three times that in training


@dataclass(frozen=True)
class Layer:
    """One layer: what it is, and what its arithmetic gives.

    Attributes:
        name: Unique within the model, as in `conv_1`.
        kind: `augment`, `crop`, `conv`, `pool`, `relu_pool`, `dropout`, `flatten` or `dense`.
        settings: What its Keras layer is made with.
        output_shape: Without the batch axis; height, width, channels for images.
        params: Trainable parameters.
    """

    name: str
    kind: str
    settings: dict[str, Any]
    output_shape: tuple[int, ...]
    params: int = 0


def window_size(size: int, window: int, stride: int, padding: str) -> int:
    """Return the output size of a convolution or pooling along one side, in pixels; below 1 if it does not fit.

    (i - f + 2p) / s + 1, rounded down (N22; L13 without padding); with padding `same`, i / s rounded up.

    >>> window_size(7, 3, 1, "valid"), window_size(7, 3, 2, "valid"), window_size(7, 3, 1, "same")
    (5, 3, 7)
    """
    return -(-size // stride) if padding == "same" else (size - window) // stride + 1


def layers(model: ModelConfig, data: DataConfig) -> list[Layer] | None:
    """Return all layers of the model for this data in order, output included. Imports no TensorFlow.

    Return None where `model.builder` builds it: only Keras knows its layers.

    Raises:
        ConfigError: a window is larger than its input, with the arithmetic, or its input is no image; or the network
            has more than `MOST_PARAMETERS`.
    """
    if model.builder is not None:
        require(model.builder, "model.builder", model.builder, CODE.words)
        return None
    shape = tuple(data.shape)
    fits = len(shape) == 3 or model.conv_layers == 0
    require(fits, "model.conv_layers", model.conv_layers, f"0 with examples of the shape {data.shape}")
    stack = [*augmentation(model.augmentation, shape), *_network(model, data, shape)]
    if (params := total_params(stack)) > MOST_PARAMETERS:
        raise ConfigError(
            f"the network has {params:,} parameters, at most {MOST_PARAMETERS:,} are allowed: "
            "choose smaller model.dense_units, model.filters or model.kernel_size"
        )
    return stack


def optimized_layers(model: ModelConfig, data: DataConfig, stack: Sequence[Layer]) -> list[Layer]:
    """Return layers with the same variables that compute the same as `stack`, with less arithmetic."""
    return _fused(_cropped(model, data, stack))


def _fused(stack: Sequence[Layer]) -> list[Layer]:
    """Make relu and the max pooling behind it one layer, whose gradient needs a quarter of the comparisons.

    Saves 8 % of an epoch's time in bfloat16, 2 % in float32 (16 filters, and 64; one thread).
    """
    fused = list(stack)
    for place, (conv, pool) in enumerate(pairwise(stack)):
        if conv.kind == "conv" and pool.kind == "pool" and conv.settings["activation"] == "relu":
            fused[place] = replace(conv, settings=conv.settings | {"activation": None})
            fused[place + 1] = replace(pool, kind="relu_pool")
    return fused


def _cropped(model: ModelConfig, data: DataConfig, stack: Sequence[Layer]) -> list[Layer]:
    """Crop the image to what the last layers depend on: a pooling without padding drops a last row that does not fit.

    Saves 10 % of an epoch's time with 16 filters, 16 % with 64 (9 and 15 % in bfloat16; one thread).
    """
    shape = tuple(data.shape)
    sides = _sides_used(stack, shape)
    if sides == shape[:2]:
        return list(stack)
    excess = [[0, whole - used] for whole, used in zip(shape, sides, strict=False)]
    changes = [layer for layer in stack if layer.kind == "augment"]
    cropped = (*sides, shape[2])
    return [*changes, Layer("crop", "crop", {"excess": excess}, cropped), *_network(model, data, cropped)]


def _sides_used(stack: Sequence[Layer], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return height and width of the upper left part of the image on which the output depends."""
    windows = [layer for layer in stack if layer.kind in ("conv", "pool")]
    if not windows or any(layer.settings["padding"] == "same" for layer in windows):
        return shape[:2]
    sides = windows[-1].output_shape[:2]
    for layer in reversed(windows):
        window, stride = layer.settings["window"], layer.settings["stride"]
        sides = tuple((side - 1) * stride + window for side in sides)
    return sides


def total_params(stack: Sequence[Layer]) -> int:
    """Return the number of trainable parameters of all layers."""
    return sum(layer.params for layer in stack)


def multiplications(stack: Sequence[Layer]) -> int:
    """Return the multiply-adds of one example's forward pass in convolutions and dense layers."""
    conv = sum(layer.params * prod(layer.output_shape[:2]) for layer in stack if layer.kind == "conv")
    return conv + sum(layer.params for layer in stack if layer.kind == "dense")


def summary(stack: Sequence[Layer]) -> str:
    """Return a table with name, kind, output shape and parameters of each layer, and their total."""
    rows = [(layer.name, layer.kind, "x".join(map(str, layer.output_shape)), f"{layer.params:,}") for layer in stack]
    name_width, kind_width = (max([least, *(len(row[at]) for row in rows)]) for at, least in ((0, 12), (1, 8)))
    lines = [
        f"{name:{name_width}} {kind:{kind_width}} {shape:>12} {params:>12}"
        for name, kind, shape, params in [("layer", "kind", "output", "parameters"), *rows]
    ]
    return "\n".join([*lines, f"Total params: {total_params(stack):,}"])


def _network(model: ModelConfig, data: DataConfig, shape: tuple[int, ...]) -> list[Layer]:
    """Return the layers behind augmentation, for images of this shape."""
    stack = _conv_stack(model, shape)
    stack.append(Layer("flatten", "flatten", {}, (prod(stack[-1].output_shape if stack else shape),)))
    for number, units in enumerate(model.dense_units, start=1):
        stack.append(_dense(f"dense_{number}", stack[-1], units, model.activation))
        if _is_placed(model.dropout_after, number, len(model.dense_units)):
            stack += _dropout(f"dropout_{model.conv_layers + number}", model.dropout, stack[-1])
    stack.append(_dense("output", stack[-1], data.outputs, TASKS[data.task].activation))
    return stack


def augmentation(config: AugmentationConfig, shape: tuple[int, ...]) -> list[Layer]:
    """Return the layers that change the training images."""
    flip = config.flip if config.flip != "none" else None
    settings = {"flip": flip, "shift": config.shift, "rotate": config.rotate, "zoom": config.zoom}
    return [Layer(name, "augment", {name: value}, shape) for name, value in settings.items() if value]


def _conv_stack(model: ModelConfig, shape: tuple[int, ...]) -> list[Layer]:
    stack: list[Layer] = []
    steps = [f"input   {_sides(shape)}"]
    for number, filters in enumerate(model.filters_per_layer, start=1):
        channels = shape[2]
        shape = _slide(f"conv_{number}", shape, model.kernel_size, model.stride, model.padding, filters, steps)
        settings: dict[str, Any] = {"filters": filters, "window": model.kernel_size, "stride": model.stride}
        settings |= {"padding": model.padding, "activation": model.activation}
        params = (model.kernel_size**2 * channels + 1) * filters
        stack.append(Layer(f"conv_{number}", "conv", settings, shape, params))
        if _is_placed(model.pool, number, model.conv_layers):
            shape = _slide(f"pool_{number}", shape, model.pool_size, model.pool_size, model.padding, filters, steps)
            settings = {"window": model.pool_size, "stride": model.pool_size, "padding": model.padding}
            stack.append(Layer(f"pool_{number}", "pool", settings, shape))
        if _is_placed(model.dropout_after, number, model.conv_layers):
            stack += _dropout(f"dropout_{number}", model.dropout, stack[-1])
    return stack


def _is_placed(where: str, number: int, count: int) -> bool:
    """Return whether something placed `where` (each, inner, last, none) follows layer `number` of `count`."""
    return {"each": True, "inner": number < count, "last": number == count, "none": False}[where]


def _slide(
    name: str, shape: tuple[int, ...], window: int, stride: int, padding: str, channels: int, steps: list[str]
) -> tuple[int, ...]:
    """Return the shape behind a window; add its arithmetic to `steps`, or raise ConfigError with it."""
    sides = tuple(window_size(side, window, stride, padding) for side in shape[:2])
    if min(sides) < 1 or (padding == "valid" and window > min(shape[:2])):
        arithmetic = "\n  ".join(steps)
        raise ConfigError(
            f"{name}: a {window}x{window} window does not fit into {shape[0]}x{shape[1]}:\n  {arithmetic}\n"
            "use a smaller model.conv_layers, model.kernel_size or model.pool_size, "
            "model.padding=same, or model.pool=inner, last or none"
        )
    rule = f"{shape[0]} / {stride} rounded up" if padding == "same" else f"({shape[0]} - {window}) / {stride} + 1"
    steps.append(f"{name:7} {_sides((*sides, channels)):10} {rule} = {sides[0]}")
    return (*sides, channels)


def _sides(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _dense(name: str, before: Layer, units: int, activation: str) -> Layer:
    inputs = before.output_shape[0]
    return Layer(name, "dense", {"units": units, "activation": activation}, (units,), (inputs + 1) * units)


def _dropout(name: str, rate: float, before: Layer) -> list[Layer]:
    return [Layer(name, "dropout", {"rate": rate}, before.output_shape)] if rate else []
