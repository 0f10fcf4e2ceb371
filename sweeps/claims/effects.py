"""Effects in a grid: how a metric changes along a factor, and how that change depends on another factor.

An effect is a contrast of the trials' values, taken for each seed by itself and tested over seeds by Student's t, as
claims are: the least-squares slope per step of a factor, and of two factors the change of one's slope per step of the
other (linear contrasts, as in Montgomery, Design and Analysis of Experiments).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from sweeps.claims.config import LEAST_SEEDS
from sweeps.claims.statistics import MeanTest, holm, mean_test


@dataclass(frozen=True)
class Effect:
    """The effect of one factor, averaged over all others, or the interaction of two.

    Attributes:
        metric: What changes.
        factors: One or two.
        test: Mean change over the seeds per step of each factor, its interval and p-value.
        n: Number of seeds.
        p_adjusted: The p-value after Holm's correction for all effects that are estimated together.
    """

    metric: str
    factors: tuple[str, ...]
    test: MeanTest
    n: int
    p_adjusted: float


def effects(grid: Mapping[str, int], values: Mapping[str, np.ndarray], confidence: float) -> list[Effect]:
    """Return all effects and interactions of two factors on each metric; none with less than three seeds.

    Args:
        grid: Number of levels by factor.
        values: By metric, an array of shape (seeds, levels of the first factor, levels of the second, ...).
        confidence: Of the intervals, which are not corrected.
    """
    factors = [*((factor,) for factor in grid), *combinations(grid, 2)]
    pairs = [(metric, each) for metric, array in values.items() if len(array) >= LEAST_SEEDS for each in factors]
    tests = [mean_test(_contrasts(values[metric], [*grid], each), confidence) for metric, each in pairs]
    adjusted = holm([test.p for test in tests])
    return [
        Effect(metric, each, test, len(values[metric]), p)
        for (metric, each), test, p in zip(pairs, tests, adjusted, strict=True)
    ]


def _contrasts(values: np.ndarray, grid: Sequence[str], factors: Sequence[str]) -> list[float]:
    """Return each seed's slope along the factors, the mean over all others."""
    for factor in reversed(grid):  # each takes the last axis away
        levels = values.shape[-1]
        steps = np.arange(levels) - (levels - 1) / 2
        values = values @ (steps / (steps @ steps) if factor in factors else np.full(levels, 1 / levels))
    return [float(value) for value in values]
