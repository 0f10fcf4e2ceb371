"""Networks as users build them, good ones and bad ones. Named in configs as tests.helpers.networks:NAME.

No test imports this: it would load TensorFlow before a test says with how many threads.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import keras
from keras import layers

Shape = tuple[int, ...]


def mixer(input_shape: Shape, outputs: int, width: int = 8, rate: float = 0.2) -> keras.Model:
    """Two branches, batch normalization and dropout."""
    inputs = keras.Input(input_shape)
    x = layers.Flatten()(inputs)
    branches = [layers.Dense(width, "relu")(x), layers.Dense(width, "tanh")(layers.BatchNormalization()(x))]
    return keras.Model(inputs, layers.Dense(outputs)(layers.Dropout(rate)(layers.concatenate(branches))))


def sequential(input_shape: Shape, outputs: int, filters: int = 4) -> keras.Model:
    return keras.Sequential(
        [
            layers.Conv2D(filters, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(outputs),
        ]
    )


class Net(keras.Model):  # type: ignore[misc]
    """Without get_config: no file of Keras's holds it."""

    def __init__(self, outputs: int, width: int) -> None:
        super().__init__()
        self.parts = [layers.Flatten(), layers.Dense(width), layers.BatchNormalization(), layers.Dropout(0.2)]
        self.end = layers.Dense(outputs)

    def call(self, x: Any, training: bool | None = None) -> Any:
        for part in self.parts:
            x = part(x, training=training) if isinstance(part, layers.BatchNormalization | layers.Dropout) else part(x)
        return self.end(x)


def subclassed(input_shape: Shape, outputs: int, width: int = 8) -> keras.Model:
    return Net(outputs, width)


def normalized(input_shape: Shape, outputs: int, blocks: int = 12) -> keras.Model:
    """A stack whose gradients overflow where all inputs are equal."""
    inputs = keras.Input(input_shape)
    x = layers.Conv2D(8, 4, strides=4)(inputs)
    for _ in range(blocks):
        x = layers.add([x, layers.Dense(8, "gelu")(layers.LayerNormalization(epsilon=1e-6)(x))])
    return keras.Model(inputs, layers.Dense(outputs)(layers.GlobalAveragePooling2D()(x)))


def logarithmic(input_shape: Shape, outputs: int) -> keras.Model:
    """Infinite where a pixel is 0."""
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, layers.Dense(outputs)(layers.Flatten()(keras.ops.log(inputs))))


def returns_nothing(input_shape: Shape, outputs: int) -> None:
    mixer(input_shape, outputs)


def returns_a_layer(input_shape: Shape, outputs: int) -> object:
    return layers.Dense(outputs)


def compiled(input_shape: Shape, outputs: int) -> keras.Model:
    net = mixer(input_shape, outputs)
    net.compile(loss="mse")
    return net


@cache
def shared(input_shape: Shape, outputs: int) -> keras.Model:
    return mixer(input_shape, outputs)


def of_half_precision(input_shape: Shape, outputs: int) -> keras.Model:
    return keras.Sequential([keras.Input(input_shape), layers.Flatten(), layers.Dense(outputs, dtype="float16")])


def named_as_ours(input_shape: Shape, outputs: int) -> keras.Model:
    net = mixer(input_shape, outputs)
    return keras.Model(net.input, net.output, name="task")


def too_wide(input_shape: Shape, outputs: int) -> keras.Model:
    return mixer(input_shape, outputs + 1)


def not_flat(input_shape: Shape, outputs: int) -> keras.Model:
    return keras.Sequential([layers.Dense(outputs)])


def with_softmax(input_shape: Shape, outputs: int) -> keras.Model:
    return keras.Sequential([layers.Flatten(), layers.Dense(outputs, "softmax")])


def two_outputs(input_shape: Shape, outputs: int) -> keras.Model:
    inputs = keras.Input(input_shape)
    x = layers.Dense(outputs)(layers.Flatten()(inputs))
    return keras.Model(inputs, [x, x])


def of_another_shape(input_shape: Shape, outputs: int) -> keras.Model:
    inputs = keras.Input((3,))
    return keras.Model(inputs, layers.Dense(outputs)(inputs))


def raises(input_shape: Shape, outputs: int) -> keras.Model:
    print("about to fail")
    raise ValueError("no such block")


class Broken(Net):
    def call(self, x: Any, training: bool | None = None) -> Any:
        return x["image"]


def raises_when_called(input_shape: Shape, outputs: int) -> keras.Model:
    return Broken(outputs, 4)


def differs(input_shape: Shape, outputs: int) -> keras.Model:
    seed = int.from_bytes(os.urandom(4), "big")
    return keras.Sequential(
        [layers.Flatten(), layers.Dense(outputs, kernel_initializer=keras.initializers.GlorotUniform(seed))]
    )


def raises_in_training(input_shape: Shape, outputs: int, width: int = 4) -> keras.Model:
    """A network that can be built, but not trained with a width of 13."""
    if width == 13:
        raise ValueError("an unlucky width")
    return mixer(input_shape, outputs, width)


def with_a_policy(input_shape: Shape, outputs: int) -> keras.Model:
    keras.config.set_dtype_policy("mixed_float16")
    return mixer(input_shape, outputs)


def in_float64(input_shape: Shape, outputs: int) -> keras.Model:
    keras.config.set_floatx("float64")
    return mixer(input_shape, outputs)
