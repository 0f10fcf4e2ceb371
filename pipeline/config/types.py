"""Plain values -> dataclasses: every value is checked against its type hint and the rule that stands beside it."""

from __future__ import annotations

import dataclasses
import difflib
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Union, cast, get_args, get_origin, get_type_hints

from pipeline.config.checks import ConfigError, did_you_mean, require
from pipeline.config.rules import Allowed

# A larger number is a slip of the hand.
LARGEST: dict[Any, float] = {int: 10**15, float: 1e30}
WORDS = {int: "a whole number of at most 1e15", float: "a number of at most 1e30", bool: "true or false", str: "text"}
LISTS = {int: "whole numbers, as in [1,2]", float: "numbers, as in [0.5,1]"}


def typed(hint: Any, value: Any, key: str = "") -> Any:
    """Return `value` as the type `hint` says; sections become their dataclass. `key` is its name, dotted.

    Raises:
        ConfigError: for another type, an unknown or missing key, or a value that its rule or its dataclass refuses.
    """
    kind, rule, may_be_null = parts_of(hint)
    if value == "???":
        raise ConfigError(f"{key} has no value: it must be given")
    if value is None and may_be_null:
        return value
    if value is None and rule and rule.unknown:
        return rule.unknown()
    if dataclasses.is_dataclass(kind):
        return _section(kind, value, key)
    if value is None and kind is not Any:
        raise ConfigError(f"{key}=null is not allowed: {key} must have a value")
    value = _plain(kind, value, key, ", or null" if may_be_null else "")
    if rule:
        (dataclasses.replace(rule, words=f"{rule.words}, or null") if may_be_null else rule).check(key, value)
    return value


def _plain(kind: Any, value: Any, key: str, or_null: str) -> Any:
    """Return a value of any type but a dataclass."""
    if kind is Any:
        return value
    if get_origin(kind) is dict:
        names = isinstance(value, dict) and all(isinstance(name, str) and is_text(name) and name for name in value)
        require(names, key, value, f"a mapping of names to values, as in {{a: 1}}{or_null}")
        return {name: typed(get_args(kind)[1], item, f"{key}.{name}") for name, item in value.items()}
    if get_origin(kind) is list:
        (of,) = get_args(kind)
        allowed = f"a list of {LISTS.get(of, 'texts, as in [a,b]')}{or_null}"
        require(isinstance(value, list), key, value, allowed)
        if dataclasses.is_dataclass(of):
            return [_section(of, item, f"{key}[{place}]") for place, item in enumerate(value)]
        items = [_scalar(of, item) for item in value]
        require(None not in items, key, value, allowed)
        return items
    scalar = _scalar(kind, value)
    require(scalar is not None, key, value, WORDS[kind] + or_null)
    return scalar


def _section(kind: Any, value: Any, key: str) -> Any:
    """Return the dataclass `kind` with these values; `key` is empty for a whole config."""
    require(isinstance(value, dict), key, value, "a section with its keys")
    hints, prefix = hints_of(kind), f"{key}." if key else ""
    for name in value:
        if name not in hints:
            raise ConfigError(unknown_key(f"{prefix}{name}", [f"{prefix}{hint}" for hint in hints]))
    values = {name: typed(hints[name], item, f"{prefix}{name}") for name, item in value.items()}
    for item in dataclasses.fields(kind):
        is_needed = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
        if is_needed and item.name not in values:
            raise ConfigError(f"{prefix}{item.name} is missing: it must have a value")
    try:
        return kind(**values)
    except ConfigError:
        raise
    except Exception as error:  # whatever a check stumbles over in a user's values is a wrong value
        raise ConfigError(f"{key or 'this config'} is not possible: {first_line(error)}") from error


def _scalar(kind: type, value: Any) -> Any:
    """Return `value` as a `kind`, parsed if it is text (as environment variables are); None if it is none."""
    try:
        if kind is str:
            return str(value) if type(value) in (str, int, float) and is_text(str(value)) else None
        if kind is bool:
            return {"true": True, "false": False}[str(value).lower()] if type(value) in (bool, str) else None
        parsed = kind(value) if type(value) in (str, int, *([float] if kind is float else [])) else None
    except (ValueError, OverflowError, KeyError):
        return None
    return parsed if parsed is not None and abs(parsed) <= LARGEST[kind] else None


def is_text(value: str) -> bool:
    """Return whether all characters can be shown: no control characters but new lines, no halves of characters."""
    return all(character.isprintable() or character == "\n" for character in value)


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def parts_of(hint: Any) -> tuple[Any, Allowed | None, bool]:
    """Return the type in a hint, the rule that stands beside it, and whether null is allowed."""
    rule = None
    if get_origin(hint) is Annotated:
        hint, rule = get_args(hint)
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return kinds[0], rule, NoneType in kinds


@cache
def hints_of(kind: Any) -> dict[str, Any]:
    """Return the type hints of a dataclass, rules included, by name."""
    return get_type_hints(kind, include_extras=True)


@cache
def defaults_of(schema: Any) -> dict[str, Any]:
    """Return the values of all keys that a config of this dataclass may leave out, sections included, by dotted key.

    A config written before there was such a key means its default.
    """
    values: dict[str, Any] = {}
    for item in dataclasses.fields(schema):
        kind = parts_of(hints_of(schema)[item.name])[0]
        if dataclasses.is_dataclass(kind):
            within = defaults_of(cast(Any, kind))
            values |= {f"{item.name}.{name}": value for name, value in within.items()}
        elif item.default is not dataclasses.MISSING:
            values[item.name] = item.default
        elif item.default_factory is not dataclasses.MISSING:
            values[item.name] = item.default_factory()
    return values


def hint_within(hint: Any, name: str) -> Any:
    """Return the type hint of `name` in a value of the type `hint`; None if it has nothing of that name."""
    kind = parts_of(hint)[0]
    if dataclasses.is_dataclass(kind):
        return hints_of(cast(Any, kind)).get(name)
    if get_origin(kind) is dict:
        return get_args(kind)[1]
    return Any if kind is Any else None


def hint_at(schema: Any, key: str) -> Any:
    """Return the type hint at a dotted `key`; None if there is no such key."""
    hint = schema
    for name in key.split("."):
        hint = hint_within(hint, name) if name else None
    return hint


@cache
def dotted_keys(schema: Any, prefix: str = "") -> list[str]:
    """Return all dotted keys of a dataclass `schema`, sections included."""
    keys = []
    for name, hint in hints_of(schema).items():
        kind = parts_of(hint)[0]
        keys.append(prefix + name)
        if dataclasses.is_dataclass(kind):
            keys += dotted_keys(cast(Any, kind), f"{prefix}{name}.")
    return keys


# What other programs call keys, and settings that are no keys of a run.
OTHER_NAMES = {
    "lr": "optimizer.learning_rate",
    "batch": "trainer.batch_size",
    "n_trials": "study.n_trials, or hydra.sweeper.n_trials with -m",
}


def unknown_key(key: str, keys: list[str]) -> str:
    """Return the message for `key`, which is none of `keys`: the nearest right name and the keys of its section."""
    section, _, last = key.rpartition(".")
    ends = {k.rpartition(".")[2]: k for k in reversed(keys)}
    hint = f" (did you mean {OTHER_NAMES[last]}?)" if last in OTHER_NAMES else did_you_mean(key, keys)
    if not hint and (similar := difflib.get_close_matches(last, ends, n=1, cutoff=0.6)):
        hint = f" (did you mean {ends[similar[0]]}?)"
    siblings = [k for k in keys if k.rpartition(".")[0] == section] or [k for k in keys if "." not in k]
    return f"{key} is not a config key{hint}. Keys there: {', '.join(siblings)}"
