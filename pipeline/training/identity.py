"""Identity of a run: everything derived from its config, once. Equal signature = equal run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from typing import Any

from pipeline.config.code import code_sha256 as hash_of_code
from pipeline.config.compose import to_dict
from pipeline.config.optimizer import OptimizerConfig
from pipeline.config.schema import RunConfig, TrainerConfig
from pipeline.config.types import defaults_of
from pipeline.datasets.dataset import split_sizes
from pipeline.models.layers import Layer, augmentation, layers
from pipeline.system import hardware
from pipeline.training.checkpoints import CheckpointStore, NoCheckpoints, folder_of
from pipeline.training.cost import suitable_threads

# Raise it whenever the same config trains to other numbers than before; tests/pipeline/training/test_golden_runs.py
# fails until then. Not a hash of the source text: renaming a variable must not invalidate every result.
TRAINING_VERSION = 1
# Keys that change rounding at most; precision is in the signature as resolved.
WITHOUT_EFFECT = ("threads", "steps_per_execution", "eval_batch_size", "precision")
# Runs that differ in these share checkpoints: when they stop, and what is measured beside the training.
OF_ONE_TRAINING = ("epochs", "stop_at_accuracy", "gradient_norms", "test_shifts", "test_sizes")


@dataclass(frozen=True)
class ResolvedRun:
    """A run's config and everything that is derived from it, computed once.

    Attributes:
        config: The config, with `trainer.precision` and `trainer.threads` resolved.
        composed: The config as composed, which is what MLflow's params show.
        layers: The network's layers; None where `model.builder` builds it.
        code_sha256: Hash of the builder's code; empty without one.
        data_sha256: Hash of the dataset's content.
        signature: SHA-256, in hexadecimal, of all that decides the run's numbers.
        resume_key: The same without when to stop, and what is measured beside: runs that share it continue each other.
            Where the learning rate depends on the number of epochs, that is part of it.
        cost_key: The same without seed and content of the data: runs that share it take equally long per epoch.
        threads: Threads that it trains with.
        checkpoints: Where its checkpoints are.
    """

    config: RunConfig
    composed: RunConfig
    layers: tuple[Layer, ...] | None
    code_sha256: str
    data_sha256: str
    signature: str
    resume_key: str
    cost_key: str
    threads: int
    checkpoints: CheckpointStore

    @property
    def tags(self) -> dict[str, str]:
        """MLflow tags that say what the run is and what it is trained on."""
        tags = {
            "convsweep.signature": self.signature,
            "convsweep.resume_key": self.resume_key,
            "convsweep.cost_key": self.cost_key,
            "convsweep.data_sha256": self.data_sha256,
            "convsweep.training_version": str(TRAINING_VERSION),
            "convsweep.precision": self.config.trainer.precision,
            "convsweep.threads": str(self.threads),
            "convsweep.processor": hardware.processor(),
            "convsweep.versions": ", ".join(f"{name} {number}" for name, number in versions().items()),
        }
        return tags | ({"convsweep.code_sha256": self.code_sha256} if self.code_sha256 else {})


def resolve(
    config: RunConfig,
    data_sha256: str,
    threads: int | None = None,
    code_sha256: str | None = None,
    auto: str | None = None,
) -> ResolvedRun:
    """Derive everything from a config, on data with the hash `data_sha256`.

    Args:
        config: The run.
        data_sha256: Hash of the dataset's content.
        threads: Threads to train with; None for as many as suit the network.
        code_sha256: Hash of the builder's code; None for as it is now.
        auto: What trainer.precision=auto means; None for what this machine computes natively.

    Raises:
        ConfigError: if the layers do not fit the data, or the builder cannot be found.
    """
    precision = hardware.resolve_precision(config.trainer.precision, auto)
    stack, builder = layers(config.model, config.data), config.model.builder
    if code_sha256 is None:
        code_sha256 = hash_of_code("model.builder", builder) if builder else ""
    threads = threads or suitable_threads(config.trainer, stack)
    resolved = replace(config, trainer=replace(config.trainer, precision=precision, threads=threads))
    parts = ingredients(resolved, stack, code_sha256, data_sha256)
    without_end = parts | {"trainer": {k: v for k, v in parts["trainer"].items() if k not in OF_ONE_TRAINING}}
    alike = without_end | {"data": parts["data"] | {"sha256": ""}}
    del alike["seed"]
    if config.optimizer.depends_on_epochs:  # a shorter run is no beginning of a longer one
        without_end |= {"epochs": config.trainer.epochs}
    resume_key = _sha256(without_end)
    return ResolvedRun(
        config=resolved,
        composed=config,
        layers=None if stack is None else tuple(stack),
        code_sha256=code_sha256,
        data_sha256=data_sha256,
        signature=_sha256(parts),
        resume_key=resume_key,
        cost_key=_sha256(alike),
        threads=threads,
        checkpoints=_checkpoints(config, resume_key, threads),
    )


def recall(config: RunConfig, tags: Mapping[str, str]) -> ResolvedRun:
    """Return a tracked run as it was resolved when it was trained, by other versions perhaps.

    Args:
        config: The run's config.yaml.
        tags: Its MLflow tags.
    """
    trainer = replace(config.trainer, precision=tags.get("convsweep.precision", config.trainer.precision))
    threads = int(tags.get("convsweep.threads", "0")) or None
    hashes = {
        "data_sha256": tags.get("convsweep.data_sha256", ""),
        "code_sha256": tags.get("convsweep.code_sha256", ""),
    }
    run = resolve(replace(config, trainer=trainer), threads=threads, **hashes)
    # Stores from before November 2026 call the resume key a chain.
    resume_key = tags.get("convsweep.resume_key", tags.get("convsweep.chain", run.resume_key))
    signature, checkpoints = tags.get("convsweep.signature"), _checkpoints(config, resume_key, run.threads)
    return replace(run, signature=signature or run.signature, resume_key=resume_key, checkpoints=checkpoints)


def _checkpoints(config: RunConfig, resume_key: str, threads: int) -> CheckpointStore:
    # Threads change rounding, so they are not in the signature; resuming must be bit-exact, so they are in the path.
    path = folder_of(config.store) / f"{resume_key[:40]}-{threads}"
    return CheckpointStore(path) if config.checkpoints.max_gib else NoCheckpoints()


def ingredients(config: RunConfig, stack: Sequence[Layer] | None, code_sha256: str, data_sha256: str) -> dict[str, Any]:
    """Return what the signature hashes, readable, of a config whose precision is resolved.

    Names, descriptions and unused keys have no part in it: two configs with the same layers are the same run. Neither
    have the store, the source of the data, the number of threads, the git commit.
    """
    data, trainer = config.data, _without_defaults(config.trainer, TrainerConfig)
    limited = data.limit and data.limit < max(data.train_size, data.test_size)
    return {
        "seed": config.seed,
        "data": {
            "sha256": data_sha256,
            "task": data.task,
            "scale": data.scale,
            "shape": data.shape,
            "sizes": split_sizes(data),
            # Not the sizes alone: a limit and a fraction of the same size draw different examples.
            "drawn": [data.limit if limited else None, data.val_fraction, data.train_fraction],
        },
        "layers": _network(config, stack, code_sha256),
        "penalties": {"l1": config.model.l1, "l2": config.model.l2},
        "optimizer": _of_optimizer(config.optimizer),
        "trainer": {k: v for k, v in trainer.items() if k not in WITHOUT_EFFECT}
        | {"precision": config.trainer.precision},
        "versions": versions(),
        "training_version": TRAINING_VERSION,
    }


def _network(config: RunConfig, stack: Sequence[Layer] | None, code_sha256: str) -> Any:
    if stack is not None:
        return [[layer.kind, layer.settings] for layer in stack]
    model = config.model
    changes = [[layer.kind, layer.settings] for layer in augmentation(model.augmentation, tuple(config.data.shape))]
    return {"builder": model.builder, "args": model.args, "code": code_sha256, "augmentation": changes}


def _of_optimizer(config: OptimizerConfig) -> dict[str, Any]:
    """Return the optimizer's keys that have an effect; AdamW is Adam with weight decay."""
    return _without_defaults(config, OptimizerConfig) | ({"name": "adam"} if config.name == "adamw" else {})


def _without_defaults(config: Any, schema: type) -> dict[str, Any]:
    """Return a section without the keys that have no effect as they are: those with a default, at it."""
    without_effect = defaults_of(schema)
    return {k: v for k, v in to_dict(config).items() if k not in without_effect or v != without_effect[k]}


def _sha256(parts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@cache
def versions() -> dict[str, str]:
    """Return the versions of the libraries that compute."""
    return {name: version(name) for name in ("keras", "tensorflow")}
