"""Overrides of the command line: parsed once by Hydra's grammar, checked against a schema, applied to a config."""

from __future__ import annotations

import dataclasses
import re
import shlex
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_origin

from pipeline.config.checks import ConfigError, require_one_of, shown
from pipeline.config.groups import config_groups
from pipeline.config.types import dotted_keys, first_line, hint_at, hint_within, is_text, parts_of, unknown_key

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

_LOCK = threading.Lock()
MOST_CHARACTERS = 10_000
NO_TEXT = ("null", "true", "false", "nan", "inf")  # words that stand for other values
DEFAULT_ROOT = "mlruns"  # store.root in conf/store/local.yaml
OVERRIDE = "an override: one is written key=value, as in model.filters=64"


@lru_cache(maxsize=20_000)
def parse_override(text: str, expected: str = OVERRIDE) -> Override:
    """Parse a word of the command line by Hydra's grammar.

    Raises:
        ConfigError: if it is not what is `expected`, or uses a part of the grammar that has no meaning here.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    word = shown(text)
    if len(text) > MOST_CHARACTERS:
        raise ConfigError(f"'{word}' is too long: an override has at most {MOST_CHARACTERS:,} characters")
    if not is_text(text):
        raise ConfigError(f"{text!r:.200} is not {expected}; it must be text without control characters")
    if "${" in text:
        raise ConfigError(f"{word}: ${{...}} has no meaning on the command line; write the value itself")
    try:
        with hydra_as_1_3():
            override = OverridesParser.create().parse_override(text)
            override.value()
    except Exception as error:  # also what Python raises for numbers that it cannot make, or brackets too deep
        key, value = key_of(text), value_text(text)
        is_plain = not value.isascii() and re.fullmatch(r"[\w./:~ -]+", value)
        hint = f"\nother letters than a to z need quotes: {as_shell_word(key, value)}" if is_plain else ""
        raise ConfigError(f"'{word}' is not {expected}\n{shown(first_line(error))}{hint}") from error
    if override.package is not None:
        raise ConfigError(f"{word}: @ has no meaning here; a group is chosen as in model=conv")
    return override


def parse_overrides(schema: type, texts: Iterable[str], swept: bool = False) -> list[Override]:
    """Parse overrides and check them against `schema`; `swept` ones may have several values.

    Raises:
        ConfigError: naming the override, what is allowed and the nearest right name.
    """
    overrides, groups = [parse_override(text) for text in texts], config_groups()
    for override in overrides:
        key, text = override.key_or_group, shown(override.input_line)
        if key.startswith("hydra"):
            raise ConfigError(f"{text}: Hydra's own keys cannot be set, except hydra.sweeper.KEY=... with train -m")
        check_keys(schema, [key])
        if override.is_delete():
            section = key.rpartition(".")[0]
            if not section or get_origin(parts_of(hint_at(schema, section))[0]) is not dict:
                hint = "null stands for nothing where that is allowed"
                raise ConfigError(f"{text}: {key} must not be deleted; {hint}")
        elif override.is_sweep_override():
            if not swept:
                raise ConfigError(
                    f"{text} names several values: here each key takes one. Lists are written {key}=[1,2]"
                )
        elif key in groups:
            require_one_of(key, override.value(), groups[key])
    return overrides


@contextmanager
def hydra_as_1_3() -> Iterator[None]:
    """Let Hydra behave as its version 1.3; put back what a program that uses it too has set."""
    from hydra.version import VersionBase, setbase

    with _LOCK:
        settings = VersionBase.instance()
        before = settings.version_base
        setbase("1.3")
        try:
            yield
        finally:
            settings.version_base = before


def check_keys(schema: type, keys: Iterable[str]) -> None:
    """Raise ConfigError for a key that is not in `schema`, with the nearest right name and the keys of its section."""
    for key in keys:
        if hint_at(schema, key) is None:
            raise ConfigError(unknown_key(key, dotted_keys(schema)))


def key_of(text: str) -> str:
    """Return the key of an override's text, which need not be a valid one."""
    return text.partition("=")[0].lstrip("+~")


def value_text(text: str) -> str:
    """Return the text of an override's value; empty if it has none."""
    return text.partition("=")[2]


def as_override(key: str, value: object) -> str:
    """Return the override that gives a key a Python value."""
    return f"{key}={_written(value)}"


def as_shell_word(key: str, value: object) -> str:
    """Return the override that gives a key a text, as it is typed in a shell: in quotes where it needs them.

    >>> print(as_shell_word("store.root", "/tmp/mlruns"), as_shell_word("store.root", "/tmp/my runs"))
    store.root=/tmp/mlruns 'store.root="/tmp/my runs"'
    """
    text = str(value)
    if re.fullmatch(r"[\w./:-]+", text, re.ASCII):
        return f"{key}={text}"
    return shlex.quote(as_override(key, text) if {*'"\\'} & {*text} else f'{key}="{text}"')


def in_store(command: str, root: str | Path) -> str:
    """Return a command as it is typed for the store in `root`, which is named unless commands look there anyway.

    >>> in_store("convsweep ui demo", "mlruns"), in_store("convsweep ui demo", "/tmp/other")
    ('convsweep ui demo', 'convsweep ui demo store.root=/tmp/other')
    """
    return command if str(root) == DEFAULT_ROOT else f"{command} {as_shell_word('store.root', root)}"


def as_sweep(key: str, values: Iterable[object]) -> str:
    """Return the override that sweeps a key over Python values. Raise ConfigError where they are no list of values."""
    plain = values.tolist() if hasattr(values, "tolist") else values
    if isinstance(plain, str) or not isinstance(plain, Iterable):
        raise ConfigError(f"{key}: {shown(plain)} is not allowed: a list of values is swept, as in [16, 32]")
    written = [_written(value) for value in plain]
    if not written:
        raise ConfigError(f"{key} has no value to sweep over")
    return f"{key}={','.join(written)}" if len(written) > 1 else f"{key}=choice({written[0]})"


def _written(value: Any) -> str:
    """Return a Python value in Hydra's grammar."""
    if hasattr(value, "tolist"):  # NumPy's
        value = value.tolist()
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
        case Mapping():
            return "{" + ",".join(f"{name}:{_written(each)}" for name, each in value.items()) + "}"
        case list() | tuple() | range():
            return "[" + ",".join(_written(each) for each in value) + "]"
    text = str(value)
    if re.fullmatch(r"[A-Za-z_][\w.:/-]*", text, re.ASCII) and text.lower() not in NO_TEXT:
        return text
    # Before a quote, and at the end, a backslash is written twice.
    return "'" + re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + (r"\'" if found[2] else ""), text) + "'"


def is_of_store(text: str) -> bool:
    """Return whether an override says where results are stored: no part of what they are, and never logged."""
    return key_of(text).split(".")[0] == "store"


def apply_overrides(overrides: Sequence[Override], tree: dict[str, Any], schema: Any) -> None:
    """Set in `tree`, or delete from it, what the overrides of single keys name.

    Raises:
        ConfigError: for a key below a value that is no section.
    """
    for override in overrides:
        *sections, last = override.key_or_group.split(".")
        parent, hint, path = tree, schema, ""
        for name in sections:
            hint, path = hint_within(hint, name), f"{path}.{name}".lstrip(".")
            below = parent.setdefault(name, {})
            if not isinstance(below, dict):
                key = override.key_or_group
                raise ConfigError(
                    f"{key} cannot be set: {path} is {shown(below)} here; give all of it, as in {path}={{...}}"
                )
            parent = below
        if override.is_delete():
            parent.pop(last, None)
        else:
            parent[last] = _merged(hint_within(hint, last), parent.get(last), override.value())


def _merged(hint: Any, old: Any, new: Any) -> Any:
    """Return `new`, with a section's other keys from `old`; a mapping with free names could only grow: replace it."""
    section = parts_of(hint)[0]
    if not (dataclasses.is_dataclass(section) and isinstance(new, dict) and isinstance(old, dict)):
        return new
    return old | {name: _merged(hint_within(section, name), old.get(name), value) for name, value in new.items()}
