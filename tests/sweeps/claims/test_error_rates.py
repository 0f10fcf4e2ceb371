"""The stated error rates and power, on synthetic seeds. benchmarks/error_rates.py measures them thoroughly."""

from __future__ import annotations

import numpy as np
import pytest

from sweeps.claims.verdicts import INCONCLUSIVE, REPRODUCED, judge
from tests.helpers.evidence import GREATER, accuracies, at
from tests.helpers.nulls import KINDS, LOOKS, NOISES, NUMBERS, SCATTER, SEEDS, normal, wrong_verdict

REPEATS = 400
# Three standard errors of a share of 5 % in so many repeats.
ALLOWED = 0.05 + 3 * (0.05 * 0.95 / REPEATS) ** 0.5
# What one collapsed seed in ten does to a mean over a handful, no test of it shows: docs/explanation/statistics.md.
UNPROTECTED = [("greater than a value", "outliers"), *((name, "outliers") for name in NUMBERS)]
# Nor does it know the tails of single runs: without a tolerance, one of twenty numbers is often too far out.
UNPROTECTED += [("twenty published numbers", "heavy")]


@pytest.mark.parametrize("looks", [(3,), LOOKS], ids=["one look", "stopping at any look"])
@pytest.mark.parametrize("name", KINDS)
def test_a_wrong_verdict_is_rare(name: str, looks: tuple[int, ...]) -> None:
    for noise in (NOISES[each] for each in NOISES if (name, each) not in UNPROTECTED):
        rng = np.random.default_rng(1)
        wrong = np.mean([wrong_verdict(name, noise, rng, looks) for _ in range(REPEATS)])
        assert wrong <= ALLOWED, noise.__name__


def test_stopping_at_any_look_without_correction_is_often_wrong() -> None:
    """The simulation can tell: each look on its own is wrong in 5 %, any of them far more often."""
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(REPEATS):
        evidence = accuracies(a=normal(rng, 0.9), b=normal(rng, 0.9))
        wrong += any(judge({"it": GREATER}, evidence, at(look))[0].verdict != INCONCLUSIVE for look in LOOKS)
    assert wrong / REPEATS > ALLOWED


def test_a_prediction_interval_misses_no_less_than_it_says() -> None:
    rng = np.random.default_rng(1)
    assert np.mean([wrong_verdict("published number", normal, rng, (3,)) for _ in range(2000)]) > 0.035


@pytest.mark.parametrize(
    ("looks", "at_least", "at_most"), [((5,), 0.25, 0.55), (LOOKS, 0.9, 1.0)], ids=["five seeds", "looks"]
)
def test_looks_find_what_five_seeds_miss(looks: tuple[int, ...], at_least: float, at_most: float) -> None:
    """An effect of one standard deviation of the differences."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(REPEATS):
        differences = SCATTER * (rng.standard_normal(SEEDS) + 1)
        evidence = accuracies(a=list(0.9 + differences), b=[0.9] * SEEDS)
        found.append(judge({"it": GREATER}, evidence, at(*looks))[0].verdict == REPRODUCED)
    assert at_least < np.mean(found) <= at_most
