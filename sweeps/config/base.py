"""The base config of a sweep, where it leaves out what its own data or its trials say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from pipeline.config.compose import compose
from pipeline.config.overrides import key_of
from pipeline.config.schema import RunConfig
from pipeline.datasets.complete import READ, completed

Config = TypeVar("Config", bound=RunConfig)


def complete_base(config: Config, primary: str, launched: Sequence[str], first: Iterable[str]) -> Config:
    """Return a sweep's base config with what it leaves out of its own data: as it has it, or as its first trial has it.

    Args:
        config: The base, as composed.
        primary, launched: What it was composed from.
        first: Overrides of the first trial. Where they are of the data, the base's own may be none that can be read.

    Raises:
        ConfigError: if the data cannot be read, or does not fit the config.
    """
    of_data = [override for override in first if key_of(override).partition(".")[0] == "data"]
    if not config.data.has_arrays or not of_data:
        return completed(config)
    data = completed(compose(type(config), primary, [*launched, *of_data])).data
    if not data.has_arrays:
        return completed(config)
    left_out = {name: getattr(data, name) for name in READ if not getattr(config.data, name)}
    return replace(config, data=replace(config.data, **left_out))
