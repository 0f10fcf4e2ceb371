"""Composing a config: conf/, chosen options of its groups, overrides; then types, ranges and what fits together."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pipeline.config.checks import ConfigError, require
from pipeline.config.groups import CONF, config_groups
from pipeline.config.overrides import apply_overrides, parse_override, parse_overrides
from pipeline.config.schema import RunConfig
from pipeline.config.types import first_line, hint_at, typed
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
    tree = _tree(primary, parse_overrides(schema, overrides), schema)
    return cast(Schema, typed(schema, tree))


def compose_run(primary: str, base: Sequence[str], overrides: Sequence[str]) -> RunConfig:
    """Compose a run of a sweep: the run's part of conf/`primary`.yaml, with `overrides` over those of the `base`.

    The base was checked with the whole sweep; its overrides of other keys than a run's are left out.

    Raises:
        ConfigError: as `compose`.
    """
    parsed = [override for override in map(parse_override, base) if _is_of_run(override.key_or_group)]
    parsed += parse_overrides(RunConfig, overrides)
    return cast(RunConfig, typed(RunConfig, _tree(primary, parsed, RunConfig, only=True)))


def _is_of_run(key: str) -> bool:
    return key in config_groups() or hint_at(RunConfig, key) is not None


def _tree(primary: str, overrides: Sequence[Override], schema: type[RunConfig], only: bool = False) -> dict[str, Any]:
    """Return conf/`primary`.yaml with the overrides, as plain values; `only` the sections of `schema`.

    Hydra composes the groups, which takes most of the time and is cached; keys are set here.
    """
    groups = [override for override in overrides if override.key_or_group in config_groups()]
    chosen = tuple(f"{override.key_or_group}={override.value()}" for override in groups)
    environment = frozenset(item for item in os.environ.items() if item[0].startswith("CONVSWEEP_"))
    composed = _composed(primary, chosen, environment)
    names = [item.name for item in dataclasses.fields(schema)] if only else composed
    tree = deepcopy({name: composed[name] for name in names if name in composed})
    apply_overrides([override for override in overrides if override not in groups], tree, schema)
    return tree


@lru_cache(maxsize=256)
def _composed(primary: str, groups: tuple[str, ...], environment: frozenset[tuple[str, str]]) -> dict[str, Any]:
    """Return conf/`primary`.yaml with these options of its groups; they may name variables of the `environment`."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = hydra_compose(primary, list(groups))
        for key, value in _leaves(cast(Any, OmegaConf.to_container(config))):
            only = "a value, or an environment variable's as in ${oc.env:NAME,null}: conf/ has no other interpolation"
            require("${" not in str(value) or str(value).startswith("${oc.env:"), key, value, only)
        return cast("dict[str, Any]", OmegaConf.to_container(config, resolve=True))
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        raise ConfigError(f"conf/ cannot be composed ({' '.join(groups) or primary}): {first_line(error)}") from error


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
    return dict(_leaves(tree))


def _leaves(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
