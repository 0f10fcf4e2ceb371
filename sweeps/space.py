"""Hydra's sweep grammar -> Optuna distributions, or a grid; with parameters that exist only under a condition."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from pipeline.config import ConfigError, config_groups

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

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
        steps = {p.key: getattr(p.distribution(), "step", None) for p in self.parameters if p.key in params}
        return {k: _clean(v, steps[k]) if isinstance(v := params[k], float) else v for k in steps}

    def points(self, base: Callable[[str], Any]) -> Iterator[dict[str, Value]]:
        """All points of a countable space, in Hydra's order; `base(key)` is the base config's value of a key."""
        yield from self._points(self.parameters, {}, base)

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
                    point[parameter.key] = _clean(value, step)
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


def parse_space(entries: Mapping[str, str | Mapping[str, str]]) -> Space:
    """A space from config: per key a sweep in Hydra's grammar, or {sweep, when}.

    Raises:
        ConfigError: for what is no sweep, an empty range, or a condition that refers to a later parameter.
    """
    parameters: list[Parameter] = []
    for key, entry in entries.items():
        sweep, when = (entry, "") if isinstance(entry, str) else (entry.get("sweep", ""), entry.get("when", ""))
        parameter = parse_sweep(f"{key}={sweep}", _conditions(key, when))
        later = [k for k in entries if k not in [p.key for p in parameters]]
        for condition in parameter.when:
            if condition.key in later:
                raise ConfigError(f"{key}: when: {condition.key} must stand above {key} in the space")
        parameters.append(parameter)
    return Space(tuple(parameters))


def parse_sweep(text: str, when: tuple[Condition, ...] = ()) -> Parameter:
    """One override with a sweep, as in `model.filters=16,32` or `a=tag(log, interval(1,10))`, as a parameter.

    Raises:
        ConfigError: if it is no sweep, or sweeps over nothing.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Glob, IntervalSweep, RangeSweep
    from hydra.errors import HydraException

    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException as error:
        raise ConfigError(f"'{text}' is not in Hydra's sweep grammar: {str(error).strip().splitlines()[0]}") from error
    key, prefix = override.key_or_group, "+" if override.is_add() else ""
    value = override.value()
    if not override.is_sweep_override():
        raise ConfigError(
            f"{text} sweeps over nothing; write choice(a,b), range(start,stop,step), interval(low,high) or glob(*)"
        )
    if isinstance(value, IntervalSweep):
        return _interval(key, prefix, value, when, text)
    if isinstance(value, RangeSweep):
        numbers: tuple[Value, ...] = tuple(_exact(v) for v in value.range())
        _need_some(numbers, text)
        return Parameter(key, prefix, numbers, ordered=True, when=when)
    if isinstance(value, Glob):
        options = config_groups().get(key)
        if options is None:
            raise ConfigError(f"{text}: glob chooses among the options of a group; {key} is none")
        found = tuple(value.filter(options))
        _need_some(found, text)
        return Parameter(key, prefix, found, when=when)
    values = tuple(_plain(v) for v in override.sweep_iterator())
    distinct = {(type(v), v): v for v in values}  # 1 and True are two values
    return Parameter(key, prefix, tuple(distinct.values()), when=when)


def as_text(value: Value) -> str:
    """A value as the right side of an override."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, float) else str(value)


def _interval(key: str, prefix: str, value: Any, when: tuple[Condition, ...], text: str) -> Parameter:
    low, high = float(value.start), float(value.end)
    log = "log" in value.tags
    if not low < high:
        raise ConfigError(f"{text}: the interval is empty; its start must be below its end")
    if log and low <= 0:
        raise ConfigError(f"{text}: a logarithmic interval must start above 0")
    whole = isinstance(value.start, int) and isinstance(value.end, int)
    return Parameter(key, prefix, None, low, high, whole=whole, log=log, when=when)


def _need_some(values: tuple[Value, ...], text: str) -> None:
    if not values:
        raise ConfigError(f"{text} has no value (the stop of a range is not part of it, as in Hydra)")


def _plain(value: Any) -> Value:
    """A choice as Optuna keeps it: numbers, truth values and null as they are, all else as Hydra's text."""
    from hydra.core.override_parser.types import QuotedString, Transformer

    if isinstance(value, QuotedString):
        return str(value.with_quotes())
    if isinstance(value, str):
        return value if isinstance(_constant(value), str) else f"'{value}'"
    return value if value is None or isinstance(value, bool | int | float) else str(Transformer.encode(value))


def _exact(value: float) -> int | float:
    """0.30000000000000004 as 0.3."""
    return value if isinstance(value, int) else float(round(Decimal(str(value)), 12))


def _clean(value: float, step: float | None) -> float:
    return float(_exact(value)) if step else value


def _exists(parameter: Parameter, point: Params, base: Callable[[str], Any]) -> bool:
    return all(condition.holds(lambda key: point[key] if key in point else base(key)) for condition in parameter.when)


def _conditions(key: str, text: str) -> tuple[Condition, ...]:
    found = []
    for part in filter(None, (part.strip() for part in re.split(r"\band\b", text))):
        told = re.fullmatch(r"([\w.]+)\s*(==|!=|<=|>=|<|>)\s*(\S+)", part)
        if not told:
            raise ConfigError(f"{key}: when: '{part}' is not of the form KEY OP VALUE, as in model.conv_layers>0")
        found.append(Condition(told[1], told[2], _constant(told[3])))
    return tuple(found)


def _constant(text: str) -> Value:
    import yaml

    value: Value = yaml.safe_load(text)
    return value
