"""Networks for series of numbers: convolutions all the way, or dense layers."""

import keras
from keras import layers


def fcn(input_shape: tuple[int, ...], outputs: int, filters: list[int], kernels: list[int]) -> keras.Model:
    """Return convolutions with batch normalization, averaged over time (Wang, Yan and Oates 2017, arXiv:1611.06455)."""
    inputs = x = keras.Input(input_shape)
    for count, size in zip(filters, kernels, strict=True):
        x = layers.Conv1D(count, size, padding="same")(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    return keras.Model(inputs, layers.Dense(outputs)(layers.GlobalAveragePooling1D()(x)))


def mlp(input_shape: tuple[int, ...], outputs: int, units: int = 500) -> keras.Model:
    """Return three dense layers with dropout before each layer, of the same paper."""
    inputs = keras.Input(input_shape)
    x = layers.Flatten()(inputs)
    for dropout in (0.1, 0.2, 0.2):
        x = layers.Dense(units, activation="relu")(layers.Dropout(dropout)(x))
    return keras.Model(inputs, layers.Dense(outputs)(layers.Dropout(0.3)(x)))
