"""Arguments that commands share: names, Hydra overrides, the store."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TypeAlias

from pipeline.config.checks import ConfigError, did_you_mean, shown
from pipeline.config.compose import compose
from pipeline.config.groups import config_groups
from pipeline.config.schema import RunConfig, StoreConfig
from pipeline.config.types import OTHER_NAMES, dotted_keys
from sweeps.commands import GROUPS

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

OVERRIDES = "Hydra overrides, as in model.filters=64 trainer.epochs=3 data=mnist; conf/ explains every key"
MODEL = "a run's id or its first letters, or a registered model as filter_count@best"
TRUST = (
    "import the code that the model's config names (model.builder, data.loader) from the project in the current folder"
)
JOIN = "if it is running already, here or on another machine: help that launch, training what it has not begun"
DRY_RUN = "print what would be done; train nothing"


def split_words(
    command: str, words: Sequence[str], least: int = 1, most: int | None = None
) -> tuple[list[str], list[str]]:
    """Return the names and the overrides among a command's words, in any order: an override has a `=`.

    Raises:
        ConfigError: if there are fewer names than `least`, or more than `most`.
    """
    overrides = [word for word in words if "=" in word or word.startswith("~")]
    names = [word for word in words if word not in overrides]
    if len(names) < least:
        raise ConfigError(f"the following arguments are required: name\nhelp: convsweep {command} --help")
    if most is not None and len(names) > most:
        raise ConfigError(f"{command} takes one name, not {' '.join(names)}; an override is written key=value")
    return names, overrides


def add_sweep_parser(commands: Commands, command: str, what: str, names: str, key: str) -> argparse.ArgumentParser:
    """Add a command that launches sweeps of conf/; help on `what` it does, its `names`, and a `key` of its own."""
    parser = commands.add_parser(command, help=what)
    words = f"{names}; `convsweep list` shows all; {OVERRIDES}; and seeds=3, workers=2, retries=2, budget=30min"
    parser.add_argument("words", nargs="*", metavar="name", help=f"{words}, {key}")
    parser.add_argument("--dry-run", action="store_true", help=DRY_RUN)
    parser.add_argument("--join", action="store_true", help=JOIN)
    return parser


def options_and_overrides(command: str, words: Sequence[str], most: int | None = None) -> tuple[list[str], list[str]]:
    """Return as `split_words`, and raise ConfigError for a name of which conf/ has no file for the command."""
    names, overrides = split_words(command, words, most=most)
    group = GROUPS[command]
    options = config_groups()[group]
    for name in names:
        if name not in options:
            suggestion = did_you_mean(name, options)
            raise ConfigError(f"there is no {group} {shown(name)}{suggestion}. There are: {', '.join(options)}")
    return names, overrides


def override_for(words: Sequence[str]) -> str:
    """Return how an option that is a config key is written, as a hint; empty if it is none."""
    name, _, value = words[0].lstrip("-").replace("-", "_").partition("=")
    value = value or next((word for word in words[1:2] if "=" not in word and not word.startswith("-")), "...")
    keys = (key for key in dotted_keys(RunConfig) if key.rpartition(".")[2] == name)
    key = OTHER_NAMES.get(name) or next(keys, None)
    return f"\nsay {key}={value}" if key else ""


def store_of(overrides: Sequence[str]) -> StoreConfig:
    """Return the store that overrides (store.KEY=...) name. Raise ConfigError for a bad one."""
    return compose(RunConfig, "train", overrides).store
