"""Keras's optimizers, and schedules of the learning rate by step, from a run's config.

Imports TensorFlow: import it after `start_tensorflow` has set the threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras.optimizers import schedules

from pipeline.config.schema import RunConfig
from pipeline.models.fused_ops import Adam


def make_optimizer(config: RunConfig, steps: int) -> keras.Optimizer:
    """Return the optimizer, without variables yet; an epoch has so many `steps`.

    A step clips the gradients to `clip_norm`, then takes `weight_decay` times the learning rate from every weight,
    biases included, then updates: Keras's order and scope.
    """
    optimizer = config.optimizer
    common = {
        "learning_rate": learning_rate(config, steps),
        "weight_decay": optimizer.weight_decay or None,
        "global_clipnorm": optimizer.clip_norm,
    }
    match optimizer.name:
        case "sgd":
            return keras.optimizers.SGD(momentum=optimizer.momentum, nesterov=optimizer.nesterov, **common)
        case "rmsprop":
            return keras.optimizers.RMSprop(momentum=optimizer.momentum, **common)
        case _:  # AdamW is Adam with weight decay
            return Adam(**common)


def learning_rate(config: RunConfig, steps: int) -> float | schedules.LearningRateSchedule:
    """Return the learning rate, or where it changes its schedule by step, from 0; an epoch has so many `steps`."""
    optimizer = config.optimizer
    rising = optimizer.warmup_epochs * steps
    after = _schedule(config, steps, rising)
    if rising:
        return _WarmUp(optimizer.learning_rate, rising, after)
    return optimizer.learning_rate if after is None else after


def _schedule(config: RunConfig, steps: int, rising: float) -> schedules.LearningRateSchedule | None:
    """Return the schedule by step since the end of a warm-up of `rising` steps; None for a constant rate."""
    optimizer, rate = config.optimizer, config.optimizer.learning_rate
    match optimizer.schedule:
        case "cosine":
            return schedules.CosineDecay(rate, config.trainer.epochs * steps - rising, alpha=optimizer.final_fraction)
        case "exponential":
            return schedules.ExponentialDecay(rate, optimizer.decay_epochs * steps, optimizer.decay_rate)
        case "piecewise":
            # Keras changes the rate after the step that it is given; half a step earlier keeps rounding out of it.
            ends = [boundary * steps - 0.5 - rising for boundary in optimizer.boundaries]
            return schedules.PiecewiseConstantDecay(ends, [rate, *(rate * factor for factor in optimizer.factors)])
        case _:
            return None


class _WarmUp(schedules.LearningRateSchedule):  # type: ignore[misc]
    """Rise linearly from 0 to a rate, then follow a schedule that begins there, or stay."""

    def __init__(self, rate: float, steps: float, after: Callable[[Any], Any] | None) -> None:
        self.rate, self.steps, self.after = rate, steps, after or (lambda step: rate)

    def __call__(self, step: Any) -> tf.Tensor:
        """Return the learning rate of a step."""
        step = tf.cast(step, tf.float32)
        rising = self.rate * step / self.steps
        return tf.where(step < self.steps, rising, self.after(tf.maximum(step - self.steps, 0.0)))
