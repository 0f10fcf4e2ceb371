"""Training a config directly, without tracking."""

from __future__ import annotations

from typing import Any

from pipeline.config.schema import RunConfig
from pipeline.training.identity import resolve
from pipeline.training.result import RunResult
from pipeline.training.trainer import train


def trained(config: RunConfig, *given: Any, **named: Any) -> RunResult:
    """Train the config's run, which is resolved first."""
    return train(resolve(config, "data"), *given, **named)


def resume_key(config: RunConfig, data_sha256: str = "data") -> str:
    return resolve(config, data_sha256).resume_key


def signature(config: RunConfig, data_sha256: str = "data") -> str:
    return resolve(config, data_sha256).signature
