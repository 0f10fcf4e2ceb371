"""Keras models of layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.config.data import DataConfig
from pipeline.config.schema import ModelConfig
from pipeline.models.builder import build_own
from pipeline.models.layers import Layer, augmentation

if TYPE_CHECKING:
    import keras


def build(model: ModelConfig, data: DataConfig, stack: Sequence[Layer] | None) -> keras.Model:
    """Return the Keras model of these layers for this data, uncompiled, with Keras's current seed.

    Without layers, `model.builder` builds it.

    Raises:
        ConfigError: if the builder fails, or builds something else.
    """
    import keras

    shape = tuple(data.shape)
    if stack is None:
        return build_own(model, data, [_random_change(layer) for layer in augmentation(model.augmentation, shape)])
    penalty = keras.regularizers.L1L2(l1=model.l1, l2=model.l2) if model.l1 or model.l2 else None
    made = [_keras_layer(layer, penalty) for layer in stack]
    return keras.Sequential([keras.Input(shape), *made], name=model.name)


def _keras_layer(layer: Layer, penalty: keras.Regularizer | None) -> Any:
    from keras import layers as k

    settings = layer.settings
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
        case "relu_pool":
            from pipeline.models.fused_ops import ReluPool

            return ReluPool(settings["window"], padding=settings["padding"], name=layer.name)
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
    """Return the Keras layer of one kind of augmentation; pixels that move in repeat the nearest one."""
    from keras import layers as k

    ((kind, value),) = layer.settings.items()
    # In float32 always: bfloat16 cannot tell the coordinates of neighbouring pixels apart.
    common: dict[str, Any] = {"name": layer.name, "dtype": "float32"}
    match kind:
        case "flip":
            return k.RandomFlip("horizontal_and_vertical" if value == "both" else value, **common)
        case "shift":
            return k.RandomTranslation(value, value, fill_mode="nearest", **common)
        case "rotate":
            return k.RandomRotation(value / 360, fill_mode="nearest", **common)
        case _:
            return k.RandomZoom(value, fill_mode="nearest", **common)
