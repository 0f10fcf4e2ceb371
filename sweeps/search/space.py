"""Hydra's sweep grammar -> Optuna distributions, or a grid; with parameters that exist only under a condition."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from math import ceil, isfinite, prod
from typing import TYPE_CHECKING, Any, cast

from pipeline.config.checks import ConfigError, shown
from pipeline.config.groups import config_groups
from pipeline.config.overrides import parse_override
from pipeline.config.types import LARGEST

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

# Of one parameter: each is composed and checked before the start.
MOST_VALUES = 1_000
SWEEP = "in Hydra's sweep grammar, as in choice(8,16), range(1,4) or interval(0,0.5)"

Value = str | int | float | bool | None
Params = Mapping[str, Value]

COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}


@dataclass(frozen=True)
class Condition:
    """`key op value`, as in model.conv_layers>0."""

    key: str
    op: str
    value: Value

    def holds(self, known: Callable[[str], Any]) -> bool:
        """Whether it holds where `known(key)` is the key's value; never for a parameter that does not exist."""
        left = known(self.key)
        try:
            return left is not None and COMPARE[self.op](left, self.value)
        except TypeError:
            raise ConfigError(f"when: {self.key}{self.op}{self.value} compares {left!r} with {self.value!r}") from None


@dataclass(frozen=True)
class Parameter:
    """One dimension: a finite list of values, or an interval.

    Attributes:
        key: Config key, without `+`.
        prefix: `+` where the override had one.
        values: All values, in Hydra's order; None for an interval.
        low, high: Ends of an interval, both included.
        whole: Whether an interval has whole numbers only.
        log: Whether an interval is sampled on a logarithmic scale.
        ordered: Whether the values are numbers in equal steps (a range).
        when: Conditions under which it exists; all must hold.
    """

    key: str
    prefix: str
    values: tuple[Value, ...] | None
    low: float = 0.0
    high: float = 0.0
    whole: bool = False
    log: bool = False
    ordered: bool = False
    when: tuple[Condition, ...] = ()

    def distribution(self) -> BaseDistribution:
        """Optuna's distribution with the same points."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.values is None:
            if self.whole:
                return IntDistribution(int(self.low), int(self.high), log=self.log)
            return FloatDistribution(self.low, self.high, log=self.log)
        if not self.ordered or len(self.values) == 1:
            return CategoricalDistribution(self.values)
        low, high = min(self._numbers), max(self._numbers)
        step = abs(Decimal(str(self._numbers[1])) - Decimal(str(self._numbers[0])))
        if all(isinstance(value, int) for value in self.values):
            return IntDistribution(int(low), int(high), step=int(step))
        return FloatDistribution(float(low), float(high), step=float(step))

    def snapped(self, value: Value) -> Value:
        """The parameter's own number for one that Optuna rounded, as 0.3 for 0.30000000000000004."""
        if not self.ordered or not isinstance(value, float):
            return value
        return min(self._numbers, key=lambda number: abs(number - value))

    @property
    def _numbers(self) -> list[float]:
        return [cast(float, value) for value in self.values or () if isinstance(value, int | float)]


@dataclass(frozen=True)
class Space:
    """Parameters in order; a condition refers to a parameter before it, or to the base config."""

    parameters: tuple[Parameter, ...]

    @property
    def is_finite(self) -> bool:
        """Whether every parameter has a finite list of values."""
        return all(parameter.values is not None for parameter in self.parameters)

    @property
    def is_countable(self) -> bool:
        """Whether it has finitely many points: also where an interval has whole numbers only."""
        return all(parameter.values is not None or parameter.whole for parameter in self.parameters)

    def point(self, params: Params) -> dict[str, Value]:
        """Optuna's params as a point: in order, and without the rounding of 0.1 + 0.2."""
        return {p.key: p.snapped(params[p.key]) for p in self.parameters if p.key in params}

    def points(self, base: Callable[[str], Any]) -> Iterator[dict[str, Value]]:
        """All points of a countable space, in Hydra's order; `base(key)` is the base config's value of a key."""
        yield from self._points(self.parameters, {}, base)

    @property
    def most_points(self) -> float:
        """Number of points if all conditions hold, counted without making any; infinite for an interval of numbers."""
        sizes = [len(p.values) if p.values is not None else p.high - p.low + 1 for p in self.parameters]
        return prod(sizes) if self.is_countable else float("inf")

    def size(self, base: Callable[[str], Any], most: int = 100_000) -> int | None:
        """Number of points; None where there are infinitely many, or more than `most`."""
        if not self.is_countable:
            return None
        count = sum(1 for _ in islice(self.points(base), most + 1))
        return count if count <= most else None

    def suggest(self, trial: optuna.Trial, base: Callable[[str], Any]) -> dict[str, Value]:
        """The point that Optuna proposes for `trial`."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        point: dict[str, Value] = {}
        for parameter in self.parameters:
            if not _exists(parameter, point, base):
                continue
            match parameter.distribution():
                case CategoricalDistribution(choices=choices):
                    point[parameter.key] = trial.suggest_categorical(parameter.key, choices)
                case IntDistribution(low=low, high=high, step=step, log=log):
                    point[parameter.key] = trial.suggest_int(parameter.key, low, high, step=step, log=log)
                case FloatDistribution(low=low, high=high, step=step, log=log):
                    value = trial.suggest_float(parameter.key, low, high, step=step, log=log)
                    point[parameter.key] = parameter.snapped(value)
        return point

    def overrides(self, point: Params) -> list[str]:
        """The point as Hydra overrides."""
        prefix = {parameter.key: parameter.prefix for parameter in self.parameters}
        return [f"{prefix[key]}{key}={as_text(value)}" for key, value in point.items()]

    def _points(
        self, rest: tuple[Parameter, ...], point: dict[str, Value], base: Callable[[str], Any]
    ) -> Iterator[dict[str, Value]]:
        if not rest:
            yield dict(point)
            return
        first, *others = rest
        if not _exists(first, point, base):
            yield from self._points(tuple(others), point, base)
            return
        for value in first.values or range(int(first.low), int(first.high) + 1):
            yield from self._points(tuple(others), point | {first.key: value}, base)


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


def as_text(value: Value) -> str:
    """A value as the right side of an override."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, float) else str(value)


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


def _exists(parameter: Parameter, point: Params, base: Callable[[str], Any]) -> bool:
    return all(condition.holds(lambda key: point[key] if key in point else base(key)) for condition in parameter.when)


def _conditions(key: str, text: str) -> tuple[Condition, ...]:
    found = []
    for part in filter(None, (part.strip() for part in re.split(r"\band\b", text))):
        told = re.fullmatch(r"([\w.]+)\s*(==|!=|<=|>=|<|>)\s*(\S+)", part)
        if not told:
            raise ConfigError(f"{key}: when: '{part}' is not of the form KEY OP VALUE, as in model.conv_layers>0")
        try:
            found.append(Condition(told[1], told[2], _constant(told[3])))
        except ValueError:
            raise ConfigError(f"{key}: when: {told[3]} is neither a number, a word, true, false nor null") from None
    return tuple(found)


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
