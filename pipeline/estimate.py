"""How long a run will take, from its arithmetic and a tenth of a second of measuring this machine."""

from __future__ import annotations

import time
from functools import cache

import numpy as np

from pipeline import data, model
from pipeline.config import RunConfig
from pipeline.hardware import resolve_precision

# Fitted to the course's networks on two machines of two cores; expect them to be within a factor of two.
SECONDS_PER_STEP = 0.0007  # what a step costs beside its arithmetic
SHARE_OF_MATRIX_RATE = 0.5  # what convolutions reach of the rate of a large matrix product
BFLOAT16_GAIN = 2.5
START_SECONDS = 5.0  # importing TensorFlow, once per process
BESIDE_SECONDS = 2.5  # tracing, first weights, final evaluation, once per run


def expected_seconds(config: RunConfig) -> float:
    """Expected wall time of one run with all cores, in seconds, TensorFlow being imported; within a factor of two."""
    sizes, trainer = data.split_sizes(config.data), config.trainer
    every = -(-sizes["train"] // trainer.batch_size)
    steps = min(trainer.steps_per_epoch or every, every)
    forward = 2.0 * model.multiplications(model.layers(config))
    # A training step costs about three forward passes: forward, and backward for weights and inputs.
    operations = forward * (3 * min(steps * trainer.batch_size, sizes["train"]) + sizes["val"] + sizes["test"])
    gain = BFLOAT16_GAIN if resolve_precision(trainer.precision) == "mixed_bfloat16" else 1.0
    epoch = steps * SECONDS_PER_STEP + operations / (SHARE_OF_MATRIX_RATE * gain * matrix_rate())
    return BESIDE_SECONDS + trainer.epochs * epoch


@cache
def matrix_rate() -> float:
    """Floating-point operations per second of a float32 matrix product of side 1024; best of five."""
    a = np.ones((1024, 1024), np.float32)
    return max(_rate_once(a) for _ in range(5))


def _rate_once(a: np.ndarray) -> float:
    start = time.perf_counter()
    a @ a
    return 2.0 * float(len(a)) ** 3 / (time.perf_counter() - start)
