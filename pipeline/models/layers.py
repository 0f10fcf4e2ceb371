"""Config -> layers -> Keras model; the shape arithmetic, and its error where a picture is used up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from pipeline.config.checks import ConfigError
from pipeline.config.schema import AugmentationConfig, ModelConfig, RunConfig

if TYPE_CHECKING:
    import keras


MOST_PARAMETERS = 10**9  # four gigabytes, and three times that in training


@dataclass(frozen=True)
class Layer:
    """One layer: what it is, and what its arithmetic gives.

    Attributes:
        name: Unique within the model, as in `conv_1`.
        kind: `augment`, `crop`, `conv`, `pool`, `dropout`, `flatten` or `dense`.
        settings: What its Keras layer is made with.
        output_shape: Without the batch axis; height, width, channels for pictures.
        params: Trainable parameters.
    """

    name: str
    kind: str
    settings: dict[str, Any]
    output_shape: tuple[int, ...]
    params: int = 0


def window_size(size: int, window: int, stride: int, padding: str) -> int:
    """Output size of a convolution or pooling along one side, in pixels; below 1 where the window does not fit.

    (i - f + 2p) / s + 1, rounded down (N22; L13 without padding); with padding `same`, i / s rounded up.

    >>> window_size(7, 3, 1, "valid"), window_size(7, 3, 2, "valid"), window_size(7, 3, 1, "same")
    (5, 3, 7)
    """
    return -(-size // stride) if padding == "same" else (size - window) // stride + 1


def layers(config: RunConfig) -> list[Layer]:
    """All layers of the model, output included, in order. Imports no TensorFlow.

    Raises:
        ConfigError: where a filter or pooling is larger than what is left of the picture, with the arithmetic; and for
            a network of more than `MOST_PARAMETERS`.
    """
    shape = tuple(config.data.shape)
    stack = [*_augmentation(config.model.augmentation, shape), *_network(config, shape)]
    if (params := total_params(stack)) > MOST_PARAMETERS:
        raise ConfigError(
            f"the network has {params:,} parameters, at most {MOST_PARAMETERS:,} are allowed: "
            "choose smaller model.dense_units, model.filters or model.kernel_size"
        )
    return stack


def optimized_layers(config: RunConfig, stack: Sequence[Layer]) -> list[Layer]:
    """Return layers with the same variables that compute the same as `stack`, with less arithmetic.

    A pooling without padding drops the last row where it does not fit, so the image is cropped to what the last layers
    depend on. Saves 10 % of an epoch's time with 16 filters, 16 % with 64 (9 and 15 % in bfloat16; one thread).
    """
    shape = tuple(config.data.shape)
    sides = _sides_used(stack, shape)
    if sides == shape[:2]:
        return list(stack)
    excess = [[0, whole - used] for whole, used in zip(shape, sides, strict=False)]
    augmentation = [layer for layer in stack if layer.kind == "augment"]
    cropped = (*sides, shape[2])
    return [*augmentation, Layer("crop", "crop", {"excess": excess}, cropped), *_network(config, cropped)]


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
    """Trainable parameters of all layers together."""
    return sum(layer.params for layer in stack)


def multiplications(stack: Sequence[Layer]) -> int:
    """Multiply-adds of one example's forward pass, in convolutions and dense layers."""
    conv = sum(layer.params * prod(layer.output_shape[:2]) for layer in stack if layer.kind == "conv")
    return conv + sum(layer.params for layer in stack if layer.kind == "dense")


def summary(config: RunConfig) -> str:
    """The layer table: name, kind, output shape and parameters of each layer, and their total."""
    stack = layers(config)
    rows = [(layer.name, layer.kind, "x".join(map(str, layer.output_shape)), f"{layer.params:,}") for layer in stack]
    lines = [f"{name:12} {kind:8} {shape:>12} {params:>12}" for name, kind, shape, params in rows]
    head = f"{'layer':12} {'kind':8} {'output':>12} {'parameters':>12}"
    return "\n".join([head, *lines, f"Total params: {total_params(stack):,}"])


def build(config: RunConfig, stack: Sequence[Layer]) -> keras.Model:
    """Return the Keras model of these layers, uncompiled, with first weights from Keras's current seed."""
    import keras

    made = [_keras_layer(layer, config.model) for layer in stack]
    return keras.Sequential([keras.Input(tuple(config.data.shape)), *made], name=config.model.name)


def _network(config: RunConfig, shape: tuple[int, ...]) -> list[Layer]:
    """Return the layers behind augmentation, for images of this shape."""
    model = config.model
    stack = _conv_stack(model, shape)
    stack.append(Layer("flatten", "flatten", {}, (prod(stack[-1].output_shape if stack else shape),)))
    for number, units in enumerate(model.dense_units, start=1):
        stack.append(_dense(f"dense_{number}", stack[-1], units, model.activation))
        if _is_placed(model.dropout_after, number, len(model.dense_units)):
            stack += _dropout(f"dropout_{model.conv_layers + number}", model.dropout, stack[-1])
    activation = {"multiclass": "softmax", "binary": "sigmoid", "regression": "linear"}[config.data.task]
    stack.append(_dense("output", stack[-1], config.data.outputs, activation))
    return stack


def _augmentation(told: AugmentationConfig, shape: tuple[int, ...]) -> list[Layer]:
    """What changes the training pictures, and leaves them alone in evaluation and prediction."""
    flip = told.flip if told.flip != "none" else None
    settings = {"flip": flip, "shift": told.shift, "rotate": told.rotate, "zoom": told.zoom}
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
    """Whether something placed `where` (each, inner, last, none) follows layer `number` of `count`."""
    return {"each": True, "inner": number < count, "last": number == count, "none": False}[where]


def _slide(
    name: str, shape: tuple[int, ...], window: int, stride: int, padding: str, channels: int, steps: list[str]
) -> tuple[int, ...]:
    """Shape after a window went over `shape`; notes its arithmetic in `steps`, or raises ConfigError with them."""
    sides = tuple(window_size(side, window, stride, padding) for side in shape[:2])
    if min(sides) < 1 or (padding == "valid" and window > min(shape[:2])):
        told = "\n  ".join([*steps, f"{name:7} a {window}x{window} window does not fit into {shape[0]}x{shape[1]}"])
        raise ConfigError(
            f"the picture is used up at {name}:\n  {told}\n"
            "what helps: a smaller model.conv_layers, model.kernel_size or model.pool_size, "
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


def _keras_layer(layer: Layer, model: ModelConfig) -> Any:
    from keras import layers as k
    from keras.regularizers import L1L2

    settings = layer.settings
    penalty = L1L2(l1=model.l1, l2=model.l2) if model.l1 or model.l2 else None
    match layer.kind:
        case "augment":
            return _random_change(layer)
        case "conv":
            return k.Conv2D(
                settings["filters"],
                settings["window"],
                strides=settings["stride"],
                padding=settings["padding"],
                activation=settings["activation"],
                kernel_regularizer=penalty,
                name=layer.name,
            )
        case "pool":
            return k.MaxPooling2D(settings["window"], padding=settings["padding"], name=layer.name)
        case "crop":
            return k.Cropping2D(settings["excess"], name=layer.name)
        case "dropout":
            return k.Dropout(settings["rate"], name=layer.name)
        case "flatten":
            return k.Flatten(name=layer.name)
        case _:
            # The output stays float32 under mixed precision: a loss computed in bfloat16 would lose its digits.
            dtype = "float32" if layer.name == "output" else None
            units, activation = settings["units"], settings["activation"]
            return k.Dense(units, activation=activation, kernel_regularizer=penalty, dtype=dtype, name=layer.name)


def _random_change(layer: Layer) -> Any:
    """The Keras layer of one kind of augmentation; what moves in from outside repeats the nearest pixel."""
    from keras import layers as k

    ((kind, value),) = layer.settings.items()
    # In float32 always: bfloat16 cannot tell the coordinates of neighbouring pixels apart.
    told: dict[str, Any] = {"name": layer.name, "dtype": "float32"}
    match kind:
        case "flip":
            return k.RandomFlip("horizontal_and_vertical" if value == "both" else value, **told)
        case "shift":
            return k.RandomTranslation(value, value, fill_mode="nearest", **told)
        case "rotate":
            return k.RandomRotation(value / 360, fill_mode="nearest", **told)
        case _:
            return k.RandomZoom(value, fill_mode="nearest", **told)
