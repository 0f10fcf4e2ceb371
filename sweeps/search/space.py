"""Search spaces: parameters, finite or intervals, some of which exist only under a condition; as Optuna has them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from math import prod
from typing import TYPE_CHECKING, Any, cast

from pipeline.config.checks import ConfigError

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

Value = str | int | float | bool | None
Params = Mapping[str, Value]

MOST_COUNTED = 100_000  # points of a space, which are counted one by one where some exist under a condition

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

    def holds(self, value_of: Callable[[str], Any]) -> bool:
        """Whether it holds where `value_of(key)` is the key's value; never for a parameter that does not exist."""
        left = value_of(self.key)
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

    @property
    def ends(self) -> tuple[Value, ...]:
        """All values of a list, or both ends of an interval."""
        if self.values is not None:
            return self.values
        return (int(self.low), int(self.high)) if self.whole else (self.low, self.high)

    def exists(self, point: Params, base: Callable[[str], Any]) -> bool:
        """Whether its conditions hold at a point, where `base(key)` is the value of a key that it does not set."""
        return all(condition.holds(lambda key: point[key] if key in point else base(key)) for condition in self.when)

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

    def first_point(self, base: Callable[[str], Any]) -> dict[str, Value]:
        """A point of any space: first values of lists, low ends of intervals."""
        point: dict[str, Value] = {}
        for parameter in self.parameters:
            if parameter.exists(point, base):
                point[parameter.key] = parameter.ends[0]
        return point

    @property
    def most_points(self) -> float:
        """Number of points if all conditions hold, counted without making any; infinite for an interval of numbers."""
        sizes = [len(p.values) if p.values is not None else p.high - p.low + 1 for p in self.parameters]
        return prod(sizes) if self.is_countable else float("inf")

    def size(self, base: Callable[[str], Any]) -> int | None:
        """Number of points; None where there are infinitely many, or too many to make each."""
        if not self.is_countable:
            return None
        count = sum(1 for _ in islice(self.points(base), MOST_COUNTED + 1))
        return count if count <= MOST_COUNTED else None

    def suggest(self, trial: optuna.Trial, base: Callable[[str], Any]) -> dict[str, Value]:
        """The point that Optuna proposes for `trial`."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        point: dict[str, Value] = {}
        for parameter in self.parameters:
            if not parameter.exists(point, base):
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
        if not first.exists(point, base):
            yield from self._points(tuple(others), point, base)
            return
        for value in first.values or range(int(first.low), int(first.high) + 1):
            yield from self._points(tuple(others), point | {first.key: value}, base)


def as_text(value: Value) -> str:
    """A value as the right side of an override."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, float) else str(value)
