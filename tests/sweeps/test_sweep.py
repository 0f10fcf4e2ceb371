"""Durations."""

from __future__ import annotations

import pytest

from pipeline.config.checks import ConfigError
from sweeps.sweep import duration

DIGITS = ["data=digits", "model.padding=same", "trainer.epochs=2", "store.log_model=none"]


def test_durations() -> None:
    assert [duration("budget", t) for t in ("90s", "30min", "2h", "1h30min", "1.5h")] == [90, 1800, 7200, 5400, 5400]
    for text in ("", "soon", "5", "0s", "-3min", "3days"):
        with pytest.raises(ConfigError, match="30min, 2h or 90s"):
            duration("budget", text)
