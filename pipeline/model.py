"""Config -> layers -> Keras model; the shape arithmetic, and its error where a picture is used up."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from pipeline.config import AugmentationConfig, ConfigError, ModelConfig, RunConfig

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Layer:
    """One layer: what it is, and what its arithmetic gives.

    Attributes:
        name: Unique within the model, as in `conv_1`.
        kind: `augment`, `conv`, `pool`, `dropout`, `flatten` or `dense`.
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
        ConfigError: where a filter or pooling is larger than what is left of the picture, with the arithmetic.
    """
    model, shape = config.model, tuple(config.data.shape)
    stack = [*_augmentation(model.augmentation, shape), *_conv_stack(model, shape)]
    stack.append(Layer("flatten", "flatten", {}, (prod(stack[-1].output_shape if stack else shape),)))
    for number, units in enumerate(model.dense_units, start=1):
        stack.append(_dense(f"dense_{number}", stack[-1], units, model.activation))
        if _is_placed(model.dropout_after, number, len(model.dense_units)):
            stack += _dropout(f"dropout_{model.conv_layers + number}", model.dropout, stack[-1])
    activation = {"multiclass": "softmax", "binary": "sigmoid", "regression": "linear"}[config.data.task]
    stack.append(_dense("output", stack[-1], config.data.outputs, activation))
    return stack


def total_params(stack: list[Layer]) -> int:
    """Trainable parameters of all layers together."""
    return sum(layer.params for layer in stack)


def multiplications(stack: list[Layer]) -> int:
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


def build(config: RunConfig) -> keras.Model:
    """The Keras model of `config`: built and uncompiled, with first weights from Keras's current seed."""
    import keras

    stack = [_keras_layer(layer, config.model) for layer in layers(config)]
    return keras.Sequential([keras.Input(tuple(config.data.shape)), *stack], name=config.model.name)


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
        settings: dict[str, Any] = {"filters": filters, "kernel": model.kernel_size, "stride": model.stride}
        settings |= {"padding": model.padding, "activation": model.activation}
        params = (model.kernel_size**2 * channels + 1) * filters
        stack.append(Layer(f"conv_{number}", "conv", settings, shape, params))
        if _is_placed(model.pool, number, model.conv_layers):
            shape = _slide(f"pool_{number}", shape, model.pool_size, model.pool_size, model.padding, filters, steps)
            stack.append(Layer(f"pool_{number}", "pool", {"size": model.pool_size, "padding": model.padding}, shape))
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
                settings["kernel"],
                strides=settings["stride"],
                padding=settings["padding"],
                activation=settings["activation"],
                kernel_regularizer=penalty,
                name=layer.name,
            )
        case "pool":
            return k.MaxPooling2D(settings["size"], padding=settings["padding"], name=layer.name)
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
