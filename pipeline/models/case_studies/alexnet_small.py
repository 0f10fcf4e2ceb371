"""AlexNet (Krizhevsky et al. 2012), a case study of the lecture (L13), scaled down to images of 28x28 pixels."""

from __future__ import annotations

import keras
from keras import layers

FILTERS = (24, 64, 96, 96, 64)  # a quarter of AlexNet's
POOLED = (1, 2, 5)  # convolutions that a pooling follows, as in AlexNet


def build(input_shape: tuple[int, ...], outputs: int, dense_units: int = 256, dropout: float = 0.5) -> keras.Model:
    """Return five convolutions, three of them pooled, and three dense layers; dropout before the first two of these.

    Args:
        input_shape: Of images, from 8x8 pixels.
        outputs: Units of the last layer.
        dense_units: Units of each of the two dense layers before it.
        dropout: Share of units dropped.
    """
    if len(input_shape) != 3 or min(input_shape[:2]) < 2 ** len(POOLED):
        raise ValueError(f"AlexNet is for images, here of 8x8 pixels or more; the data has the shape {input_shape}")
    net = keras.Sequential([keras.Input(input_shape)])
    for number, filters in enumerate(FILTERS, start=1):
        net.add(layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"conv_{number}"))
        if number in POOLED:
            net.add(layers.MaxPooling2D(2, name=f"pool_{number}"))
    net.add(layers.Flatten(name="flatten"))
    for number in (1, 2):
        net.add(layers.Dropout(dropout, name=f"dropout_{number}"))
        net.add(layers.Dense(dense_units, activation="relu", name=f"dense_{number}"))
    net.add(layers.Dense(outputs, name="output"))
    return net
