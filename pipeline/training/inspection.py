"""A look at a network that only Keras knows, before it is trained: can it be built, and how large and slow is it?"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pipeline.config.checks import ConfigError
from pipeline.datasets.dataset import Examples
from pipeline.models.build import build
from pipeline.models.builder import layers_of
from pipeline.models.layers import Layer
from pipeline.models.tasks import TASKS
from pipeline.training.identity import ResolvedRun
from pipeline.training.trainer import seed_everything

if TYPE_CHECKING:
    import keras

STEPS = 5  # that are timed, after as many that trace the network
TINY = 1e-12


@dataclass(frozen=True)
class Inspection:
    """What a network is made of, as Keras has it, and the seconds of a training step; None if not measured."""

    layers: list[Layer]
    seconds_per_step: float | None = None


def inspect(run: ResolvedRun, timed: bool = False) -> Inspection:
    """Build the run's network, twice, and time some steps on noise if asked.

    Raises:
        ConfigError: if it cannot be built, or two builds with one seed differ.
    """
    config, weights = run.config, []
    for _ in range(2):
        seed_everything(run)
        net = build(config.model, config.data, run.layers)
        weights.append([np.asarray(variable) for variable in net.variables])
    if [w.shape for w in weights[0]] != [w.shape for w in weights[1]] or not all(map(np.array_equal, *weights)):
        raise ConfigError(
            f"model.builder={config.model.builder} is not repeatable: two builds with one seed differ. Draw random "
            "numbers by Keras's initializers, numpy.random or Python's random: these are seeded before each build"
        )
    return Inspection(layers_of(net), _seconds_per_step(net, run) if timed else None)


def _seconds_per_step(net: keras.Model, run: ResolvedRun) -> float:
    from pipeline.training.loop import NotFiniteError, Training

    # On noise a rate that suits the data may diverge; how large it is takes no time.
    config = replace(run.config, optimizer=replace(run.config.optimizer, learning_rate=TINY))
    count = STEPS * config.trainer.batch_size
    labels = np.zeros(count, np.int32 if TASKS[config.data.task].has_accuracy else np.float32)
    # Zeros and ones: whole numbers, as an embedding takes them; constants alone may overflow where they are normalized.
    noise = np.random.default_rng(0).integers(0, 2, (count, *config.data.shape)) * config.data.scale
    loop = Training(net, config, Examples(noise.astype(np.float32), labels), None)
    for epoch in range(2):  # the first traces the network
        start = time.perf_counter()
        try:
            loop.epoch(epoch, lambda steps, means: None)
        except NotFiniteError as error:
            words = f"model.builder={config.model.builder} cannot be timed: on noise of zeros and ones the loss is not"
            raise ConfigError(f"{words} finite, since step {error}; without --dry-run it is trained on data") from error
    return (time.perf_counter() - start) / loop.steps
