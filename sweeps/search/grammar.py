"""Hydra's sweep grammar, and a study's space in it -> the parameters of a search space."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from math import ceil, isfinite
from typing import Any

from pipeline.config.checks import ConfigError, shown
from pipeline.config.groups import config_groups
from pipeline.config.overrides import parse_override
from pipeline.config.types import LARGEST
from sweeps.search.space import Condition, Parameter, Space, Value

# Of one parameter: each is composed and checked before the start.
MOST_VALUES = 1_000
SWEEP = "in Hydra's sweep grammar, as in choice(8,16), range(1,4) or interval(0,0.5)"


def parse_space(entries: Mapping[str, Any]) -> Space:
    """A space from config: per key a sweep in Hydra's grammar, or {sweep, when}.

    Raises:
        ConfigError: for what is no sweep, an empty range, or a condition that refers to a later parameter.
    """
    parameters: list[Parameter] = []
    for key, entry in entries.items():
        parts = {"sweep": entry} if isinstance(entry, str) else entry
        fits = isinstance(parts, dict) and "sweep" in parts and parts.keys() <= {"sweep", "when"}
        if not fits or not all(isinstance(text, str) for text in parts.values()):
            raise ConfigError(
                f"study.space: {shown(key)}: {shown(entry)} is not allowed: it must be a sweep {SWEEP}, "
                'or {sweep: "choice(8,16)", when: "model.conv_layers>0"}'
            )
        parameter = parse_sweep(f"{key}={parts['sweep']}", _conditions(key, parts.get("when", "")))
        later = [k for k in entries if k not in [p.key for p in parameters]]
        for condition in parameter.when:
            if condition.key in later:
                raise ConfigError(f"{key}: when: {condition.key} must stand above {key} in the space")
        parameters.append(parameter)
    return space_of(parameters)


def space_of(parameters: Iterable[Parameter]) -> Space:
    """The space of these parameters. Raises ConfigError where one is varied twice."""
    listed = tuple(parameters)
    keys = [parameter.key for parameter in listed]
    if twice := [key for key in keys if keys.count(key) > 1]:
        raise ConfigError(f"{twice[0]} is varied twice")
    return Space(listed)


def parse_sweep(text: str, when: tuple[Condition, ...] = ()) -> Parameter:
    """One override with a sweep, as in `model.filters=16,32` or `a=tag(log, interval(1,10))`, as a parameter.

    Raises:
        ConfigError: if it is no sweep, sweeps over nothing, or over too much.
    """
    from hydra.core.override_parser.types import Glob, IntervalSweep, RangeSweep

    override = parse_override(text, SWEEP)
    key, prefix = override.key_or_group, "+" if override.is_add() else ""
    value: Any = override.value()
    if override.is_delete() or not override.is_sweep_override():
        raise ConfigError(
            f"{shown(text)} sweeps over nothing; write choice(a,b), range(start,stop,step), interval(low,high) or "
            "glob(*)"
        )
    if isinstance(value, IntervalSweep):
        return _interval(key, prefix, value, when, text)
    if isinstance(value, RangeSweep):
        return Parameter(key, prefix, _listed(_range(value, text), text), ordered=True, when=when)
    if isinstance(value, Glob):
        options = config_groups().get(key)
        if options is None:
            raise ConfigError(f"{shown(text)}: glob chooses among the options of a group; {key} is none")
        return Parameter(key, prefix, _listed(value.filter(options), text), when=when)
    values = [_plain(choice, text) for choice in value.list]  # in the order written, also where they are to be shuffled
    distinct = {(type(v), v): v for v in values}  # 1 and True are two values
    return Parameter(key, prefix, _listed(distinct.values(), text), when=when)


def _interval(key: str, prefix: str, value: Any, when: tuple[Condition, ...], text: str) -> Parameter:
    whole = isinstance(value.start, int) and isinstance(value.end, int)
    if not all(_is_number(end) and abs(end) < LARGEST[int if whole else float] for end in (value.start, value.end)):
        raise ConfigError(f"{shown(text)}: the ends of an interval must be finite numbers")
    low, high = float(value.start), float(value.end)
    log = "log" in value.tags
    if not low < high:
        raise ConfigError(f"{shown(text)}: the interval is empty; its start must be below its end")
    if log and low <= 0:
        raise ConfigError(f"{shown(text)}: a logarithmic interval must start above 0")
    return Parameter(key, prefix, None, low, high, whole=whole, log=log, when=when)


def _range(value: Any, text: str) -> list[Value]:
    """The numbers of a range, counted before they are made: those of Hydra's, without the rounding of 0.1 + 0.2."""
    ends = (value.start, value.stop, value.step)
    if not all(_is_number(end) and abs(end) < LARGEST[float] for end in ends) or not value.step:
        raise ConfigError(f"{shown(text)}: start, stop and step of a range must be finite numbers, its step not 0")
    start, stop, step = (Decimal(str(end)) for end in ends)
    if (stop - start) / step > MOST_VALUES:
        raise ConfigError(_too_many(ceil((stop - start) / step), text))
    if all(isinstance(end, int) for end in ends):
        return list(value.range())
    return [float(start + number * step) for number, _ in enumerate(value.range())]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _listed(values: Iterable[Value], text: str) -> tuple[Value, ...]:
    """The values of a parameter; raises ConfigError for none, or for too many."""
    listed = tuple(values)
    if not listed:
        raise ConfigError(f"{shown(text)} has no value (the stop of a range is not part of it, as in Hydra)")
    if len(listed) > MOST_VALUES:
        raise ConfigError(_too_many(len(listed), text))
    return listed


def _too_many(count: int, text: str) -> str:
    return f"{shown(text)} has {count:,} values, at most {MOST_VALUES:,} are allowed; use an interval, which is sampled"


def _plain(value: Any, text: str) -> Value:
    """A choice as Optuna keeps it: numbers, truth values and null as they are, all else as Hydra's text."""
    from hydra.core.override_parser.types import QuotedString, Transformer

    if isinstance(value, QuotedString):
        return str(value.with_quotes())
    if isinstance(value, str):
        return value if _is_word(value) else f"'{value}'"
    if isinstance(value, int | float) and not _is_number(value) and not isinstance(value, bool):
        raise ConfigError(f"{shown(text)}: {value} is no finite number")
    return value if value is None or isinstance(value, bool | int | float) else str(Transformer.encode(value))


def _is_word(text: str) -> bool:
    """Whether text needs no quotes to stay text."""
    try:
        return isinstance(_constant(text), str)
    except ValueError:
        return False


def _conditions(key: str, text: str) -> tuple[Condition, ...]:
    conditions = []
    for part in filter(None, (part.strip() for part in re.split(r"\band\b", text))):
        match = re.fullmatch(r"([\w.]+)\s*(==|!=|<=|>=|<|>)\s*(\S+)", part)
        if not match:
            raise ConfigError(f"{key}: when: '{part}' is not of the form KEY OP VALUE, as in model.conv_layers>0")
        try:
            conditions.append(Condition(match[1], match[2], _constant(match[3])))
        except ValueError:
            raise ConfigError(f"{key}: when: {match[3]} is neither a number, a word, true, false nor null") from None
    return tuple(conditions)


def _constant(text: str) -> Value:
    """The value that a text stands for in YAML. Raises ValueError for what is no single value there."""
    import yaml

    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(text) from error
    if value is not None and not isinstance(value, str | int | float | bool):
        raise ValueError(text)
    return value
