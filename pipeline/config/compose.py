"""Composing a config: its files, chosen options of groups, overrides; then types, ranges and what fits together."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pipeline.config.checks import ConfigError
from pipeline.config.files import compose_files, leaves, located
from pipeline.config.groups import config_files, config_groups
from pipeline.config.overrides import apply_overrides, parse_override, parse_overrides
from pipeline.config.schema import RunConfig
from pipeline.config.types import hint_at, typed
from pipeline.system.files import require_regular

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

Schema = TypeVar("Schema", bound=RunConfig)


def compose(schema: type[Schema], primary: str, overrides: Sequence[str]) -> Schema:
    """Compose conf/`primary`.yaml with Hydra `overrides` and check it against `schema`: types first, then values.

    Args:
        schema: What the config must be.
        primary: File of conf/ to start from.
        overrides: Options of groups and single keys, as on the command line.

    Raises:
        ConfigError: for an unknown key or option, a wrong type, or a value out of range.
    """
    config_files(afresh=True)
    return _checked(schema, primary, parse_overrides(schema, overrides))


def compose_run(primary: str, base: Sequence[str], overrides: Sequence[str]) -> RunConfig:
    """Compose a run of a sweep: the run's part of conf/`primary`.yaml, with `overrides` over those of the `base`.

    The base was checked with the whole sweep; its overrides of other keys than a run's are left out. Files are as they
    were then.

    Raises:
        ConfigError: as `compose`.
    """
    parsed = [override for override in map(parse_override, base) if _is_of_run(override.key_or_group)]
    parsed += parse_overrides(RunConfig, overrides)
    return _checked(RunConfig, primary, parsed, only=True)


def _is_of_run(key: str) -> bool:
    return key in config_groups() or hint_at(RunConfig, key) is not None


def _checked(schema: type[Schema], primary: str, overrides: Sequence[Override], only: bool = False) -> Schema:
    """Return conf/`primary`.yaml with the overrides as a `schema`; `only` the sections that it has.

    Hydra composes the groups, which takes most of the time and is cached; keys are set here.
    """
    options = config_groups()
    groups = [override for override in overrides if override.key_or_group in options]
    composed = compose_files(primary, tuple(f"{override.key_or_group}={override.value()}" for override in groups))
    names = [item.name for item in dataclasses.fields(schema)] if only else composed.tree
    tree = deepcopy({name: composed.tree[name] for name in names if name in composed.tree})
    single = [override for override in overrides if override not in groups]
    apply_overrides(single, tree, schema)
    try:
        return cast(Schema, typed(schema, tree))
    except ConfigError as error:
        raise located(error, composed.own, [override.key_or_group for override in single]) from None


def compose_from(path: Path, overrides: Sequence[str]) -> RunConfig:
    """Compose the run config in a file (`best.yaml`, or a run's `config.yaml`) with `overrides` of single keys.

    Where data and results are stored is this machine's choice, not the file's. Nor does the file decide what code is
    imported: `require_named` does.

    Raises:
        ConfigError: if the file holds no run config, or for anything wrong in the overrides.
    """
    import yaml

    parsed = parse_overrides(RunConfig, overrides)
    for override in parsed:
        if override.key_or_group in config_groups():
            raise ConfigError(f"{override.input_line}: with --from, single keys can be overridden, groups cannot")
    try:
        require_regular(path)
        tree = yaml.safe_load(path.read_text())
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ConfigError(f"--from {path} cannot be read: {error}") from error
    names = [item.name for item in dataclasses.fields(RunConfig)]
    if not isinstance(tree, dict) or {*tree, "checkpoints", "store"} != set(names):
        raise ConfigError(f"--from {path} holds no run config: its sections must be {', '.join(names)}")
    local = to_dict(compose(RunConfig, "train", []))
    tree |= {key: local[key] for key in ("store", "checkpoints")}
    if isinstance(tree["data"], dict):
        tree["data"] |= {key: local["data"][key] for key in ("dir", "cache")}
    apply_overrides(parsed, tree, RunConfig)
    try:
        return cast(RunConfig, typed(RunConfig, tree))
    except ConfigError as error:
        raise ConfigError(f"--from {path}: {error}") from error


def to_dict(config: object) -> dict[str, Any]:
    """Return a config dataclass as nested plain dictionaries."""
    return dataclasses.asdict(config)  # type: ignore[call-overload, no-any-return]


def without_store(config: object) -> dict[str, Any]:
    """Return a config as it is logged: as `to_dict`, without where results are stored (and its passwords)."""
    return {section: values for section, values in to_dict(config).items() if section != "store"}


def flatten(tree: dict[str, Any]) -> dict[str, Any]:
    """Return nested dictionaries as one, with dotted keys; lists stay values."""
    return dict(leaves(tree))
