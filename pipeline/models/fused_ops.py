"""Adam's update, and the gradient of relu with max pooling, in one operation each.

Imports TensorFlow: import it after `start_tensorflow` has set the threads.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


class Adam(keras.optimizers.Adam):  # type: ignore[misc]
    """Update as Keras's Adam does, within rounding, by one operation of TensorFlow instead of a dozen per variable.

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


class ReluPool(keras.layers.MaxPooling2D):  # type: ignore[misc]
    """Relu, then max pooling; its gradient looks for zeros after the pooling, where numbers are a quarter as many.

    Equal to autodiff's: if the greatest of a window is above 0, relu passes its gradient; if it is 0, none.
    """

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Return pooled feature maps, (n, height, width, channels)."""
        window, strides, padding = [1, *self.pool_size, 1], [1, *self.strides, 1], self.padding.upper()

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def pooled(x: tf.Tensor) -> tuple[tf.Tensor, Any]:
            mapped = tf.nn.relu(x)
            greatest = tf.nn.max_pool2d(mapped, window, strides, padding)

            def gradient(flow: tf.Tensor) -> tf.Tensor:
                flow = tf.raw_ops.ReluGrad(gradients=flow, features=greatest)
                return tf.raw_ops.MaxPoolGrad(
                    orig_input=mapped, orig_output=greatest, grad=flow, ksize=window, strides=strides, padding=padding
                )

            return greatest, gradient

        return pooled(x)
