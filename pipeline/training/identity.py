"""Signature: a content hash of all that decides a run's numbers. Equal signature = equal run."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib.metadata import version
from typing import Any

from pipeline.config.schema import RunConfig, to_dict
from pipeline.datasets import dataset as data
from pipeline.models import layers as model
from pipeline.system.hardware import resolve_precision

# Raised whenever the same config trains to other numbers than before; tests/pipeline/test_golden_runs.py notices that.
TRAINING_VERSION = 1
# What a run does not train differently for: threads and sizes of hand-overs (low digits at most); precision as decided.
WITHOUT_EFFECT = {"threads", "steps_per_execution", "eval_batch_size", "precision"}


def signature(config: RunConfig, data_sha256: str) -> str:
    """SHA-256, in hexadecimal, of what decides the numbers of the run `config` on data with the hash `data_sha256`.

    Model names, descriptions and unused keys have no part in it: two configs with the same layers are the same run.
    Neither have the store, the source of the data, the number of threads, the git commit.
    """
    return _sha256(ingredients(config, data_sha256))


def ingredients(config: RunConfig, data_sha256: str) -> dict[str, Any]:
    """What `signature` hashes, readable."""
    trainer = {k: v for k, v in to_dict(config.trainer).items() if k not in WITHOUT_EFFECT}
    penalties = {"l1": config.model.l1, "l2": config.model.l2}
    return {
        "seed": config.seed,
        "data": {"sha256": data_sha256, "task": config.data.task, "scale": config.data.scale}
        | {"shape": config.data.shape, "sizes": data.split_sizes(config.data)}
        # Not the sizes alone: a limit and a fraction of the same size draw different examples.
        | {"drawn": [_limit(config), config.data.val_fraction, config.data.train_fraction]},
        "layers": [[layer.kind, layer.settings] for layer in model.layers(config)],
        "penalties": penalties,
        "optimizer": to_dict(config.optimizer),
        "trainer": trainer | {"precision": resolve_precision(config.trainer.precision)},
        "versions": versions(),
        "training_version": TRAINING_VERSION,
    }


def _limit(config: RunConfig) -> int | None:
    """`data.limit` where it has an effect."""
    limit = config.data.limit
    return limit if limit and limit < max(config.data.train_size, config.data.test_size) else None


def chain(config: RunConfig, data_sha256: str) -> str:
    """SHA-256 of what runs share that continue one another: all of a signature but when to stop."""
    return _sha256(_without_end(config, data_sha256))


def work(config: RunConfig) -> str:
    """What two runs share that take equally long per epoch: all of a signature but seed, epochs and data content."""
    shared = _without_end(config, "")
    del shared["seed"]
    return _sha256(shared)


def _without_end(config: RunConfig, data_sha256: str) -> dict[str, Any]:
    """The ingredients of a signature but when to stop."""
    shared = ingredients(config, data_sha256)
    shared["trainer"] = {k: v for k, v in shared["trainer"].items() if k not in ("epochs", "stop_at_accuracy")}
    return shared


def _sha256(told: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


@cache
def versions() -> dict[str, str]:
    """Versions of the libraries that compute."""
    return {name: version(name) for name in ("keras", "tensorflow")}
