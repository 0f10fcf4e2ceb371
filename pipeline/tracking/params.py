"""A config as params of a run in MLflow: what decides its numbers and is set to something."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.config.compose import flatten, without_store
from pipeline.config.overrides import key_of
from pipeline.config.schema import RunConfig
from pipeline.config.types import defaults_of
from pipeline.tracking.reader import as_text

# Keys that decide no number: where data comes from, what things are called, how fast it goes.
OF_NO_NUMBER = (
    "store.",
    "checkpoints.",
    "data.dir",
    "data.cache",
    "data.timeout",
    "data.description",
    "data.urls",
    "data.debian_package",
    "data.keras_npz",
    "model.description",
    "trainer.threads",
    "trainer.steps_per_execution",
    "trainer.eval_batch_size",
)


def params_of(config: RunConfig, overrides: Sequence[str] = ()) -> dict[str, str]:
    """Return the params of a run: those keys that decide its numbers, unless they rest; whatever is overridden.

    config.yaml, beside them, has every key. Columns of keys that rest in all runs would hide those that do not.
    """
    given = {key_of(override) for override in overrides}
    return {
        key: as_text(value)
        for key, value in flatten(without_store(config)).items()
        if key in given or not (key.startswith(OF_NO_NUMBER) or rests(key, value))
    }


def rests(key: str, value: object) -> bool:
    """Return whether a key has no effect as it is: empty, or at the default of its schema."""
    return value in (None, [], {}) or (key, value) in defaults_of(RunConfig).items()
