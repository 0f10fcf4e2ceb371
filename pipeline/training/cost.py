"""What a run's arithmetic says: how long it will take, and how many threads a step keeps busy."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cache

import numpy as np

from pipeline.config.schema import RunConfig, TrainerConfig
from pipeline.datasets import dataset as data
from pipeline.models import layers as model
from pipeline.models.layers import Layer
from pipeline.models.tasks import TASKS
from pipeline.system.hardware import cores, resolve_precision
from pipeline.training.by_class import BY_CLASS, MOST_CLASSES, class_metrics
from pipeline.training.changed_images import change_metrics

# Fitted to the course's networks on machines of two cores; expect them to be within a factor of two.
SECONDS_PER_STEP = 0.00015  # what a step costs beside its arithmetic
SECONDS_PER_CONVOLUTION = 0.0003  # what a step's convolution costs beside its arithmetic: memory, pooling
SHARE_OF_MATRIX_RATE = 0.75  # what convolutions reach of the rate of a large matrix product
BFLOAT16_GAIN = 2.0
START_SECONDS = 3.5  # importing TensorFlow and MLflow, reports; once
BESIDE_SECONDS = 1.5  # tracing, first weights, final evaluation, once per run
# Multiplications of a step that are worth a thread: with two threads instead of one, two cores trained 16 filters
# (5e7 per step) 1.5 times as slowly, 32 filters (1.3e8) 1.15 times, 64 (4.6e8) 1.4 times as fast.
MULTIPLICATIONS_PER_THREAD = 2e8


def expected_seconds(config: RunConfig, stack: Sequence[Layer]) -> float:
    """Return the seconds of one run of these layers, once TensorFlow is imported; within a factor of two."""
    sizes, trainer, steps = _examples(config)
    forward = 2.0 * model.multiplications(stack)
    # A training step costs about three forward passes: forward, and backward for weights and inputs.
    operations = forward * (3 * min(steps * trainer.batch_size, sizes["train"]) + sizes["val"] + sizes["test"])
    gain = BFLOAT16_GAIN if resolve_precision(trainer.precision) == "mixed_bfloat16" else 1.0
    beside = SECONDS_PER_STEP + SECONDS_PER_CONVOLUTION * sum(layer.kind == "conv" for layer in stack)
    share = min(1.0, suitable_threads(trainer, stack) / cores())
    epoch = steps * beside + operations / (SHARE_OF_MATRIX_RATE * gain * matrix_rate() * share)
    return BESIDE_SECONDS + trainer.epochs * epoch


def seconds_at(seconds_per_step: float, config: RunConfig) -> float:
    """Return the seconds of one run whose training steps take so long; an evaluated batch takes a third of that."""
    sizes, trainer, steps = _examples(config)
    evaluated = (sizes["val"] + sizes["test"]) / trainer.batch_size
    return BESIDE_SECONDS + trainer.epochs * seconds_per_step * (steps + evaluated / 3)


def _examples(config: RunConfig) -> tuple[dict[str, int], TrainerConfig, int]:
    """Return the sizes of the splits, the trainer, and the steps of an epoch."""
    sizes = data.split_sizes(config.data)
    return sizes, config.trainer, data.steps_per_epoch(config.trainer, sizes["train"])


def why_missing(metric: str, config: RunConfig) -> str:
    """Why a run of `config` will have no such metric, and what helps; empty where it will have it."""
    sizes, trainer, task = data.split_sizes(config.data), config.trainer, TASKS[config.data.task]
    name, _, epoch = metric.partition("@")
    part, _, kind = name.partition("/")
    if epoch and int(epoch) > trainer.epochs:
        return f"trainer.epochs={trainer.epochs} has no epoch {epoch}"
    if part == "val" and not sizes["val"]:
        of = f"data.val_fraction={config.data.val_fraction:g} of {sizes['train']:,} examples is none"
        return f"{of} for validation; raise data.val_fraction or data.limit"
    if part.partition("_")[0] in ("test", "gap", "prediction") and not trainer.evaluate_test:
        return "trainer.evaluate_test=false leaves the test set out"
    if part == "gradient_norm":
        return "" if trainer.gradient_norms else "trainer.gradient_norms=false leaves gradients out"
    if kind.partition("/")[0] == "accuracy" and not task.has_accuracy:
        return f"data={config.data.name} is a regression, which has no accuracy"
    if part == "prediction" and task.has_accuracy:
        return f"data={config.data.name} is no regression, and only those predict a number"
    by_class = class_metrics(config.data)
    if metric.startswith(BY_CLASS) and metric not in by_class:
        return f"data={config.data.name} has {', '.join(by_class) or f'more than {MOST_CLASSES} classes, and no such'}"
    changed = change_metrics(trainer)
    if part.startswith(("test_", "gap_")) and metric not in changed:
        has = f"trainer.test_shifts={trainer.test_shifts} and trainer.test_sizes={trainer.test_sizes}"
        return f"{has} give {', '.join(changed) or 'no changed images'}"
    alone = ("epochs", "parameters", "seconds", "seconds_per_epoch", "prediction", "gap/accuracy")
    parts = [f"{name}/{what}" for name in ("train", "train_eval", "val", "test") for what in ("loss", "accuracy")]
    return "" if name in (*alone, *parts, *by_class, *changed) else "there is no such metric"


def multiplications_per_step(trainer: TrainerConfig, stack: Sequence[Layer] | None) -> float | None:
    """Return the multiply-adds of a training step, a forward pass and twice as much backward; None without layers."""
    return None if stack is None else 3.0 * trainer.batch_size * model.multiplications(stack)


def suitable_threads(trainer: TrainerConfig, stack: Sequence[Layer] | None, most: int | None = None) -> int:
    """Return the threads of a run: `trainer.threads`, or else as many as its steps keep busy, at most `most`.

    Without layers nobody knows how many these are: `most`.
    """
    multiplications, most = multiplications_per_step(trainer, stack), most or cores()
    busy = most if multiplications is None else int(multiplications / MULTIPLICATIONS_PER_THREAD)
    return trainer.threads or max(1, min(most, busy))


def why_threads(config: RunConfig) -> str:
    """Return how many threads a run of `config` gets on all cores, and why."""
    if config.trainer.threads:
        return f"trainer.threads={config.trainer.threads} is given"
    stack = None if config.model.builder else model.layers(config.model, config.data)
    threads = suitable_threads(config.trainer, stack)
    multiplications = multiplications_per_step(config.trainer, stack)
    if multiplications is None:
        return f"a run of model={config.model.name} alone has all {threads} threads: its arithmetic is not known"
    why = f"{multiplications:.1e} products per step, one per {MULTIPLICATIONS_PER_THREAD:.0e}, {cores()} cores"
    return f"a run of model={config.model.name} alone has {threads} thread{'s' * (threads > 1)}: {why}"


@cache
def matrix_rate() -> float:
    """Floating-point operations per second of a float32 matrix product of side 1024 on all cores; best of five."""
    a = np.ones((1024, 1024), np.float32)
    return max(_rate_once(a) for _ in range(5))


def _rate_once(a: np.ndarray) -> float:
    start = time.perf_counter()
    a @ a
    return 2.0 * float(len(a)) ** 3 / (time.perf_counter() - start)
