"""Tasks: what a network is trained for, and its loss, output activation and metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf


def _most_probable(outputs: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    return tf.argmax(outputs, axis=1, output_type=tf.int32)


def _above_half(outputs: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    return tf.cast(outputs[:, 0] > 0.5, tf.int32)


def _of_both(outputs: np.ndarray) -> np.ndarray:
    return np.concatenate([1 - outputs, outputs], axis=1)


@dataclass(frozen=True)
class Task:
    """What a network is trained for.

    Attributes:
        loss_name: Class of `keras.losses`.
        activation: Of the output layer.
        has_accuracy: Whether labels are classes; splits are then stratified by them.
        predicted: Class of every example, shape (n,), from outputs of shape (n, units).
        probabilities: Of every class, shape (n, classes), from the same outputs.
    """

    loss_name: str
    activation: str
    has_accuracy: bool = True
    predicted: Callable[[Any], Any] = _most_probable
    probabilities: Callable[[np.ndarray], np.ndarray] = np.asarray

    def loss(self) -> Callable[[Any, Any], Any]:
        """Return the mean loss of a batch as a function of labels and outputs."""
        import keras

        return getattr(keras.losses, self.loss_name)()  # type: ignore[no-any-return]

    def hits(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Return how many of a batch's outputs name the right class; 0 without accuracy."""
        import tensorflow as tf

        if not self.has_accuracy:
            return tf.constant(0.0)
        return tf.reduce_sum(tf.cast(self.predicted(outputs) == tf.cast(labels, tf.int32), tf.float32))


TASKS = {
    "multiclass": Task("SparseCategoricalCrossentropy", "softmax"),
    "binary": Task("BinaryCrossentropy", "sigmoid", predicted=_above_half, probabilities=_of_both),
    "regression": Task("MeanSquaredError", "linear", has_accuracy=False),
}
