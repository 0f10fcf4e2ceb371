"""Residual and plain stacks of convolutions (He et al. 2016), a case study of the lecture (L13)."""

from __future__ import annotations

import keras
from keras import layers


def build(
    input_shape: tuple[int, ...], outputs: int, convolutions: int = 8, filters: int = 16, shortcuts: bool = True
) -> keras.Model:
    """Return a stack of 3x3 convolutions, in pairs around which a shortcut leads, or not: then it is plain.

    A convolution at stride 2 and a pooling come before the stack, of whose cost they save fifteen parts in sixteen; the
    output layer comes after it. Nothing is normalized: that would keep the gradient of a plain stack up by itself.

    Args:
        input_shape: Of images.
        outputs: Units of the last layer.
        convolutions: Those of the stack, an even number.
        filters: Of every convolution.
        shortcuts: Whether each pair's input is added to its output.
    """
    if convolutions < 2 or convolutions % 2:
        raise ValueError(f"convolutions come in pairs: 2, 4, 6, ...; not {convolutions}")
    inputs = keras.Input(input_shape)
    x = layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu", name="conv_0")(inputs)
    x = layers.MaxPooling2D(2, name="pool")(x)
    for number in range(2, convolutions + 1, 2):
        y = layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"conv_{number - 1}")(x)
        y = layers.Conv2D(filters, 3, padding="same", name=f"conv_{number}")(y)
        if shortcuts:
            y = layers.Add(name=f"add_{number}")([x, y])
        x = layers.ReLU(name=f"relu_{number}")(y)
    return keras.Model(inputs, layers.Dense(outputs, name="output")(layers.Flatten(name="flatten")(x)))
