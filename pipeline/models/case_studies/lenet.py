"""LeNet-5 (LeCun et al. 1998), a case study of the lecture (L13)."""

from __future__ import annotations

import keras
from keras import layers

SIDE = 32  # of the images that it is made for, in pixels


def build(input_shape: tuple[int, ...], outputs: int) -> keras.Model:
    """Return LeNet-5 for images of up to 32x32 pixels; smaller ones get a border of zeros.

    61,706 parameters for grey images and ten classes. With ReLU and max pooling, as the documents' other networks; the
    paper has a scaled tanh, averages with weights of their own, and a second convolution that sees some maps only.
    """
    if len(input_shape) != 3 or max(input_shape[:2]) > SIDE:
        raise ValueError(f"LeNet-5 is for images of up to {SIDE}x{SIDE} pixels; the data has the shape {input_shape}")
    missing = [SIDE - size for size in input_shape[:2]]
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.ZeroPadding2D([(pixels // 2, pixels - pixels // 2) for pixels in missing], name="border"),
            layers.Conv2D(6, 5, activation="relu", name="conv_1"),
            layers.MaxPooling2D(2, name="pool_1"),
            layers.Conv2D(16, 5, activation="relu", name="conv_2"),
            layers.MaxPooling2D(2, name="pool_2"),
            layers.Conv2D(120, 5, activation="relu", name="conv_3"),
            layers.Flatten(name="flatten"),
            layers.Dense(84, activation="relu", name="dense_1"),
            layers.Dense(outputs, name="output"),
        ]
    )
