"""The layers of a trained network, and what they make of examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.inference.load import SavedModel
from pipeline.inference.predict import prepared

BATCH = 64


def graph_of(saved: SavedModel) -> Any:
    """Return the model whose layers can be tapped: of a user's own network, what the builder returned."""
    return saved.net.layers[-2] if saved.config.model.builder is not None else saved.net


def _layers(saved: SavedModel) -> list[Any]:
    """Return the layers; none where Keras does not know their order."""
    return getattr(graph_of(saved), "layers", []) if getattr(graph_of(saved), "inputs", None) else []


def map_layers(saved: SavedModel) -> list[Any]:
    """Return the layers whose output is a stack of maps: convolutions and poolings."""
    named = [layer for layer in _layers(saved) if "Conv" in type(layer).__name__ or "Pool" in type(layer).__name__]
    return [layer for layer in named if len(layer.output.shape) == 4]


def first_convolution(saved: SavedModel) -> Any | None:
    """Return the first convolution; None without any."""
    return next((layer for layer in map_layers(saved) if hasattr(layer, "kernel")), None)


def last_hidden_dense(saved: SavedModel) -> Any | None:
    """Return the last dense layer but the one that gives the classes; None without any."""
    hidden = [layer for layer in _layers(saved) if type(layer).__name__ == "Dense"][:-1]
    return hidden[-1] if hidden else None


def outputs_of(saved: SavedModel, layers: Sequence[Any], x: np.ndarray) -> list[np.ndarray]:
    """Return what each layer makes of examples x as stored, shape (n, *data.shape)."""
    import keras

    tap = keras.Model(graph_of(saved).inputs, [layer.output for layer in layers])
    batches = []
    for start in range(0, len(x), BATCH):  # of a single layer, Keras gives no list
        batches.append(keras.tree.flatten(tap.predict_on_batch(prepared(saved, x[start : start + BATCH]))))
    return [
        np.concatenate([np.asarray(each, np.float32) for each in outputs]) for outputs in zip(*batches, strict=True)
    ]
