"""Which metrics claims and published numbers may name."""

from __future__ import annotations

import re

from pipeline.config.checks import require
from pipeline.training.changed_images import CHANGED

METRIC = (
    r"(train|val|test|train_eval)/(loss|accuracy)(@[1-9]\d*)?|test/accuracy/[^@]+|"
    rf"{CHANGED}/(loss|accuracy)|gap/accuracy|epochs|parameters|prediction|gradient_norm/.+"
)


def require_metric(key: str, metric: str) -> None:
    """Raise ConfigError unless `metric` is one that runs have, or had after an epoch (NAME@EPOCH)."""
    allowed = (
        "PART/loss or PART/accuracy (PART: train, val, test, train_eval), with @EPOCH for one epoch's, "
        "test/accuracy/CLASS, test_CHANGE/loss, test_CHANGE/accuracy or gap_CHANGE/accuracy (CHANGE: shift_SHARE or "
        "size_FACTOR, as in shift_0.1), gap/accuracy, epochs, parameters, prediction or gradient_norm/LAYER"
    )
    require(bool(re.fullmatch(METRIC, metric)), key, metric, allowed)
