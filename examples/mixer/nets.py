"""MLP-Mixer (Tolstikhin et al. 2021, arXiv:2105.01601) for small images."""

import keras
from keras import layers


def mixer(
    input_shape: tuple[int, ...], outputs: int, patch: int = 7, width: int = 32, blocks: int = 2, dropout: float = 0.2
) -> keras.Model:
    """Return an MLP-Mixer: `blocks` blocks over patches of `patch` x `patch` pixels, in `width` channels."""
    inputs = keras.Input(input_shape)
    x = layers.Conv2D(width, patch, strides=patch)(inputs)
    x = layers.Reshape((-1, width))(x)
    patches = x.shape[1]
    for _ in range(blocks):
        mixed = layers.Permute((2, 1))(layers.LayerNormalization(epsilon=1e-6)(x))
        mixed = layers.Permute((2, 1))(_mlp(mixed, 2 * patches, patches, dropout))
        x = layers.add([x, mixed])
        x = layers.add([x, _mlp(layers.LayerNormalization(epsilon=1e-6)(x), 2 * width, width, dropout)])
    x = layers.Dropout(dropout)(layers.GlobalAveragePooling1D()(x))
    return keras.Model(inputs, layers.Dense(outputs)(x))


def _mlp(x: keras.KerasTensor, hidden: int, outputs: int, dropout: float) -> keras.KerasTensor:
    """Two dense layers over the last axis, GELU between them."""
    x = layers.Dense(hidden, activation="gelu")(x)
    return layers.Dropout(dropout)(layers.Dense(outputs)(x))
