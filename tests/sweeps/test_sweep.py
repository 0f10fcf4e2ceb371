"""Durations."""

from __future__ import annotations

import pytest

from pipeline.config.checks import ConfigError
from pipeline.config.types import hints_of, typed
from sweeps.sweep import SweepConfig, duration

DIGITS = ["data=digits", "model.padding=same", "trainer.epochs=2", "store.log_model=none"]


def test_durations() -> None:
    assert [duration(t) for t in ("90s", "30min", "2h", "1h30min", "1.5h")] == [90, 1800, 7200, 5400, 5400]
    for text in ("", "soon", "5", "0s", "-3min", "3days"):
        with pytest.raises(ConfigError, match="budget must be a time as in 30min, 2h or 90s, or null"):
            typed(hints_of(SweepConfig)["budget"], text, "budget")
