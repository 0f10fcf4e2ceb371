"""Student's t on a handful of seeds, and corrections for testing many claims. Numbers in, numbers out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class MeanTest(NamedTuple):
    """A mean, its interval, the two-sided p-value of Student's t-test that it is 0, and its standard error."""

    mean: float
    low: float
    high: float
    p: float
    error: float


def mean_test(values: Sequence[float], confidence: float, resolution: float = 1e-6) -> MeanTest:
    """Test the mean of at least two values, whose standard deviation is taken to be at least `resolution`.

    Counts of few examples tie by chance: without a resolution, three equal ones would be certain.
    """
    mean, n = float(np.mean(values)), len(values)
    error = deviation(values, resolution) / n**0.5
    half = t_quantile((1 + confidence) / 2, n - 1) * error
    return MeanTest(mean, mean - half, mean + half, 2 * t_tail(abs(mean) / error, n - 1), error)


def interval_of(values: Sequence[float], confidence: float) -> tuple[float, float] | None:
    """Return the interval of the mean; None for less than two values."""
    if len(values) < 2:
        return None
    test = mean_test(values, confidence, resolution=sys.float_info.min)
    return test.low, test.high


def deviation(values: Sequence[float], resolution: float) -> float:
    """Return the sample standard deviation (n - 1), at least `resolution`."""
    return max(float(np.std(values, ddof=1)), resolution)


def slope(values: Sequence[float]) -> float:
    """Return the least-squares slope per step."""
    return float(np.polyfit(np.arange(len(values)), values, 1)[0])


def turn(curves: Sequence[Sequence[float]]) -> int:
    """Return the epoch, from 1, at which the mean of the curves is lowest, among epochs that all of them have."""
    shortest = min(map(len, curves))
    return int(np.mean([list(curve[:shortest]) for curve in curves], axis=0).argmin()) + 1


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's (1979) step-down adjusted p-values, in the order given.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


# scipy.special, not scipy.stats: importing it takes 0.15 s, not 0.65 s.
def t_quantile(p: float, freedom: int) -> float:
    """Return Student's t with probability `p` below it."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, p))


def t_tail(t: float, freedom: int) -> float:
    """Return the probability of a Student's t above `t`."""
    from scipy.special import stdtr

    return float(stdtr(freedom, -t))
