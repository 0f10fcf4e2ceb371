"""Training steps and evaluation as TensorFlow graphs: many steps per call, without returning to Python.

Imports TensorFlow: import it after `start_tensorflow` has set the threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pipeline.config.schema import RunConfig, TrainerConfig
from pipeline.datasets.dataset import Examples, steps_per_epoch
from pipeline.models.builder import innermost
from pipeline.models.tasks import TASKS, Task
from pipeline.training.by_class import class_metrics
from pipeline.training.optimizers import learning_rate, make_optimizer

CALLS_PER_EPOCH = 20  # of the graph, for progress; fewer if one would take less than about a twentieth of a second:
MULTIPLICATIONS_PER_CALL = 2e9


class NotFiniteError(ArithmeticError):
    """The loss is not finite since step `args[0]` of an epoch, counted from 1."""


class Evaluation:
    """Loss and accuracy (a regression has none) of a network on examples, dropout and augmentation off."""

    def __init__(self, net: keras.Model, config: RunConfig, like: Examples) -> None:
        """For examples of the shape and type of `like`; traces nothing yet, the first call does."""
        self.net, self.task = net, TASKS[config.data.task]
        self.loss = self.task.loss()
        self.scale, self.size = config.data.scale, config.trainer.eval_batch_size
        self.classes = len(class_metrics(config.data))
        self.graph = tf.function(self._graph, autograph=False, input_signature=_spec(like))

    def __call__(self, examples: Examples) -> dict[str, float]:
        """Return means over all examples, computed in batches of `trainer.eval_batch_size`."""
        return self.counted(examples)[0]

    def counted(self, examples: Examples) -> tuple[dict[str, float], np.ndarray]:
        """Return the same, and how many examples are right, by class; all together where classes have no metrics."""
        _, loss, hits = self.graph(tf.constant(examples.x), tf.constant(examples.y))
        by_class = hits.numpy().astype(np.float64)
        return _means(self.task, float(loss), float(by_class.sum()), len(examples)), by_class

    def _graph(self, x: tf.Tensor, y: tf.Tensor) -> Any:
        def body(at: tf.Tensor, loss: tf.Tensor, hits: tf.Tensor) -> tuple[Any, Any, Any]:
            labels = y[at : at + self.size]
            outputs = self.net(_scaled(x[at : at + self.size], self.scale), training=False)
            batch = (self.loss(labels, outputs) + sum(self.net.losses)) * _count(labels)
            return at + self.size, loss + tf.cast(batch, tf.float64), hits + self._hits(labels, outputs)

        begin = (tf.constant(0), tf.constant(0.0, tf.float64), tf.zeros(max(1, self.classes)))
        return tf.while_loop(lambda at, *_: at < tf.shape(y)[0], body, begin, parallel_iterations=1)

    def _hits(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Return how many of a batch's outputs are right, by class, or all together; shape (classes,) or (1,)."""
        if not self.classes:
            return self.task.hits(labels, outputs)[tf.newaxis]
        right = self.task.are_right(labels, outputs)
        return tf.math.unsorted_segment_sum(right, tf.cast(labels, tf.int32), self.classes)


class Training:
    """The steps of a run's epochs. Examples stay as they are on disk (bytes), and are gathered and scaled in the graph.

    Attributes:
        optimizer: Keras's, with its variables.
        steps: Steps per epoch.
    """

    def __init__(self, net: keras.Model, config: RunConfig, examples: Examples, multiplications: float | None) -> None:
        """Build the optimizer's variables, trace nothing yet; `multiplications` are those of a step, if known."""
        self.net, self.config, self.task = net, config, TASKS[config.data.task]
        self.loss = self.task.loss()
        self.x, self.y = tf.constant(examples.x), tf.constant(examples.y)
        self.steps = steps_per_epoch(config.trainer, len(examples))
        self.optimizer = make_optimizer(config, self.steps)
        self.optimizer.build(net.trainable_variables)
        self.at_once = _steps_at_once(config.trainer, self.steps, multiplications)
        whole = tf.TensorSpec((), tf.int32)
        signature = [
            *_spec(examples),
            tf.TensorSpec((None,), tf.int32),
            whole,
            whole,
            tf.TensorSpec((3,), tf.float64),
        ]
        self.graph = tf.function(self._graph, autograph=False, input_signature=signature)

    def epoch(self, number: int, on_steps: Callable[[int, dict[str, float]], None]) -> dict[str, float]:
        """Train epoch `number`, from 0, and return loss and accuracy averaged over its steps, and a changing rate.

        The order of the examples is a function of (seed, number), or of the seed alone (`trainer.shuffle`): epoch 5 has
        the same whether or not epochs 0 to 4 were trained in this process.

        Args:
            number: The epoch.
            on_steps: Called after each graph call with steps done and means so far.

        Raises:
            NotFiniteError: the loss is not finite, with the step.
        """
        order = self._order(number)
        totals = tf.zeros(3, tf.float64)
        means: dict[str, float] = {}
        for first in range(0, self.steps, self.at_once):
            last = min(first + self.at_once, self.steps)
            totals = self.graph(self.x, self.y, order, tf.constant(first), tf.constant(last), totals)
            loss, hits, wrong = totals.numpy().tolist()
            if wrong:
                raise NotFiniteError(int(wrong))
            means = _means(self.task, loss, hits, min(last * self.config.trainer.batch_size, len(self.y)))
            on_steps(last, means)
        return means | self._last_rate()

    def gradient_norms(self, examples: Examples) -> dict[str, float]:
        """Return the L2 norm of the gradient in the weights of each layer, as a step on these examples has it.

        The network stays as it is: generators and moving averages, which a step changes, are set back.
        """
        before = [np.asarray(variable) for variable in self.net.variables]
        layers = [layer for layer in innermost(self.net) if layer.trainable_variables]
        with tf.GradientTape() as tape:
            _, loss = self._outputs_and_loss(tf.constant(examples.x), tf.constant(examples.y))
        weights = [layer.trainable_variables for layer in layers]
        gradients = tape.gradient(loss, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        for variable, value in zip(self.net.variables, before, strict=True):
            variable.assign(value)
        return {layer.name: _norm(of_layer) for layer, of_layer in zip(layers, gradients, strict=True)}

    def _outputs_and_loss(self, x: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return a step's outputs and its loss, penalties included."""
        outputs = self.net(_scaled(x, self.config.data.scale), training=True)
        return outputs, self.loss(labels, outputs) + sum(self.net.losses)

    def _last_rate(self) -> dict[str, float]:
        """Return the learning rate of the step before, if it changes in the run."""
        rate = learning_rate(self.config, self.steps)
        return {} if isinstance(rate, float) else {"learning_rate": float(rate(self.optimizer.iterations - 1))}

    def _order(self, number: int) -> tf.Tensor:
        """Return row numbers in the order in which epoch `number`, from 0, takes the examples."""
        rows, shuffle = tf.range(len(self.y)), self.config.trainer.shuffle
        if shuffle == "none":
            return rows
        seed = [self.config.seed, number if shuffle == "epoch" else 0]
        return tf.random.experimental.stateless_shuffle(rows, seed=seed)

    def _graph(
        self, x: tf.Tensor, y: tf.Tensor, order: tf.Tensor, first: tf.Tensor, last: tf.Tensor, totals: tf.Tensor
    ) -> tf.Tensor:
        """Steps from `first` up to but not `last`; sums of losses and hits so far, and the first step with no loss."""
        size, weights = self.config.trainer.batch_size, self.net.trainable_variables

        def body(step: tf.Tensor, losses: tf.Tensor, hits: tf.Tensor, wrong: tf.Tensor) -> tuple[Any, Any, Any, Any]:
            rows = order[step * size : (step + 1) * size]
            labels = tf.gather(y, rows)
            with tf.GradientTape() as tape:
                outputs, loss = self._outputs_and_loss(tf.gather(x, rows), labels)
            self.optimizer.apply(tape.gradient(loss, weights), weights)
            hits += tf.cast(self.task.hits(labels, outputs), tf.float64)
            losses += tf.cast(loss * _count(labels), tf.float64)
            is_first = (wrong == 0) & ~tf.math.is_finite(loss)
            return step + 1, losses, hits, tf.where(is_first, tf.cast(step + 1, tf.float64), wrong)

        begin = (first, *tf.unstack(totals))
        return tf.stack(tf.while_loop(lambda step, *_: step < last, body, begin, parallel_iterations=1)[1:])


def _steps_at_once(trainer: TrainerConfig, steps: int, multiplications: float | None) -> int:
    """Return `steps_per_execution`, else steps for about 20 calls per epoch of at least 2e9 multiply-adds each."""
    least = int(MULTIPLICATIONS_PER_CALL / max(multiplications, 1.0)) if multiplications else 1
    return min(steps, trainer.steps_per_execution or max(-(-steps // CALLS_PER_EPOCH), least, 1))


def _spec(examples: Examples) -> list[Any]:
    """Return the signature of inputs and labels: any number of examples, in the dataset's types."""
    return [tf.TensorSpec((None, *array.shape[1:]), array.dtype) for array in (examples.x, examples.y)]


def _scaled(x: tf.Tensor, scale: float) -> tf.Tensor:
    return tf.cast(x, tf.float32) / np.float32(scale)


def _norm(gradients: Iterable[tf.Tensor]) -> float:
    """Return the L2 norm of all of them, in float64: in float32 the squares of small ones are nothing."""
    arrays = (np.asarray(tf.convert_to_tensor(gradient), np.float64) for gradient in gradients)
    return float(np.sqrt(sum(np.sum(array**2) for array in arrays)))


def _count(labels: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.shape(labels)[0], tf.float32)


def _means(task: Task, loss: float, hits: float, examples: int) -> dict[str, float]:
    accuracy = {"accuracy": hits / examples} if task.has_accuracy else {}
    return accuracy | {"loss": loss / examples}
