from __future__ import annotations

import numpy as np
import pytest

from sweeps.claims.effects import effects
from sweeps.claims.statistics import holm

GRID = {"filters": 3, "dropout": 2, "epochs": 2}


def test_effects_of_a_linear_model_are_its_coefficients() -> None:
    filters, dropout, epochs = np.meshgrid([-1, 0, 1], [-0.5, 0.5], [-0.5, 0.5], indexing="ij")
    mean = 0.9 + 0.03 * filters - 0.01 * dropout + 0.02 * epochs + 0.004 * filters * epochs
    values = np.stack([mean + seed for seed in (0.1, 0.2, 0.3)])  # what a seed does to all configs cancels out
    found = {each.factors: each.test.mean for each in effects(GRID, {"test/accuracy": values}, 0.95)}
    assert found == pytest.approx(
        {
            ("filters",): 0.03,
            ("dropout",): -0.01,
            ("epochs",): 0.02,
            ("filters", "dropout"): 0.0,
            ("filters", "epochs"): 0.004,
            ("dropout", "epochs"): 0.0,
        },
        abs=1e-12,
    )


def test_an_effect_of_two_levels_is_a_paired_t_test_of_the_means() -> None:
    from scipy.stats import ttest_rel

    values = np.random.default_rng(0).normal(0.9, 0.01, (5, 3, 2, 2))
    found = effects(GRID, {"test/accuracy": values}, 0.9)
    (epochs,) = [each for each in found if each.factors == ("epochs",)]
    theirs = ttest_rel(values[..., 1].mean((1, 2)), values[..., 0].mean((1, 2)))
    interval = theirs.confidence_interval(0.9)
    assert (epochs.test.low, epochs.test.high, epochs.test.p) == pytest.approx((*interval, theirs.pvalue))
    assert epochs.n == 5
    assert [each.p_adjusted for each in found] == holm([each.test.p for each in found])


def test_fewer_than_three_seeds_show_no_effect() -> None:
    assert effects(GRID, {"test/accuracy": np.zeros((2, 3, 2, 2)), "gap/accuracy": np.zeros((0, 3, 2, 2))}, 0.95) == []
