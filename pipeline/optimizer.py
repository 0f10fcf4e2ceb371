"""Config -> Keras optimizer; Adam with its update as one operation per variable.

Imports TensorFlow: to be imported itself once `runtime.start_tensorflow` has set its threads.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from pipeline.config import OptimizerConfig


class Adam(keras.optimizers.Adam):  # type: ignore[misc]
    """Keras's Adam, updated by TensorFlow's own operation instead of a dozen per variable: the same within rounding.

    variable -= rate * sqrt(1 - beta_2^t) / (1 - beta_1^t) * m / (sqrt(v) + epsilon): Kingma and Ba, "Adam: a method for
    stochastic optimization" (2015), end of section 2.
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update a variable and its moments in place."""
        step = tf.cast(self.iterations + 1, tf.float32)
        place = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[place].value.handle,
            v=self._velocities[place].value.handle,
            beta1_power=tf.pow(self.beta_1, step),
            beta2_power=tf.pow(self.beta_2, step),
            lr=tf.cast(learning_rate, tf.float32),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )


def build(config: OptimizerConfig) -> keras.Optimizer:
    """The optimizer of `config`, without variables yet."""
    if config.name == "adam":
        return Adam(learning_rate=config.learning_rate)
    kinds = {"sgd": keras.optimizers.SGD, "rmsprop": keras.optimizers.RMSprop}
    return kinds[config.name](learning_rate=config.learning_rate, momentum=config.momentum)
