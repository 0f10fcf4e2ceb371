"""Tasks: what a network is trained for, and its loss, output activation and metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True)
class Task:
    """What a network is trained for.

    Attributes:
        loss_name: Class of `keras.losses`.
        activation: Of the output layer.
        has_accuracy: Whether labels are classes; splits are then stratified by them.
    """

    loss_name: str
    activation: str
    has_accuracy: bool = True

    def loss(self) -> Callable[[Any, Any], Any]:
        """Return the mean loss of a batch as a function of labels and outputs."""
        import keras

        return getattr(keras.losses, self.loss_name)()  # type: ignore[no-any-return]

    def probabilities(self, outputs: Any) -> Any:
        """Return the probability of every class, shape (n, classes), from outputs of shape (n, units)."""
        import keras

        return keras.ops.concatenate([1 - outputs, outputs], axis=1) if self.activation == "sigmoid" else outputs

    def hits(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Return how many of a batch's outputs name the right class; 0 without accuracy."""
        import tensorflow as tf

        return tf.reduce_sum(self.are_right(labels, outputs)) if self.has_accuracy else tf.constant(0.0)

    def are_right(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Return 1 for each output that names the right class, else 0; shape (n,). Only with accuracy."""
        import tensorflow as tf

        predicted = tf.argmax(self.probabilities(outputs), axis=1, output_type=tf.int32)
        return tf.cast(predicted == tf.cast(labels, tf.int32), tf.float32)


TASKS = {
    "multiclass": Task("SparseCategoricalCrossentropy", "softmax"),
    "binary": Task("BinaryCrossentropy", "sigmoid"),
    "regression": Task("MeanSquaredError", "linear", has_accuracy=False),
}
