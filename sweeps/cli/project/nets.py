"""A network of your own: conf/model/example.yaml names this function."""

from __future__ import annotations

import keras
from keras import layers


def build(input_shape: tuple[int, ...], outputs: int, width: int = 8, dropout: float = 0.0) -> keras.Model:
    """Return a model with `outputs` linear units, not compiled: activation and loss follow from the data's task.

    Args:
        input_shape: Shape of one example.
        outputs: Number of units in the last layer.
        width: Filters of the convolution; on the command line model.args.width=16.
        dropout: Share of the units dropped in training.
    """
    inputs = keras.Input(input_shape)
    x = layers.Conv2D(width, 5, padding="same", use_bias=False)(inputs)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Dropout(dropout)(layers.GlobalMaxPooling2D()(x))
    return keras.Model(inputs, layers.Dense(outputs)(x))
