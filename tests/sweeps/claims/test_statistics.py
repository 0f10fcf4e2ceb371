from __future__ import annotations

import pytest

from sweeps.claims.statistics import holm, interval_of, mean_test, turn


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_equal_values_are_known_no_better_than_their_resolution() -> None:
    test = mean_test([4.0, 4.0, 4.0], 0.95, resolution=1.0)
    assert test.low < 4.0 < test.high
    assert interval_of([4.0], 0.95) is None
    assert interval_of([4.0, 4.0], 0.95) == (4.0, 4.0)


def test_the_turn_is_of_the_mean_curve() -> None:
    assert turn([[3, 1, 2], [3, 2, 1], [3, 1, 2]]) == 2
