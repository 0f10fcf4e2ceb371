"""Evidence for claims, from what is tracked."""

from __future__ import annotations

import pytest

from pipeline.config.compose import compose
from pipeline.config.schema import RunConfig
from sweeps.results import SweepEvidence


@pytest.mark.parametrize(
    ("metric", "resolution"),
    [
        ("test/accuracy", 1 / 256),
        ("test/accuracy@3", 1 / 256),
        ("gap/accuracy", 1 / 256 + 1 / 1027),
        ("test/accuracy/horses", 1 / 128),
        ("epochs", 1.0),
        ("test/loss", 1e-6),
        ("parameters", 1e-6),
    ],
)
def test_a_metric_shows_no_less_than_one_example(metric: str, resolution: float) -> None:
    config = compose(RunConfig, "train", ["data=horse_or_human", "model=horse_conv"])
    assert SweepEvidence([0], [], {"course": config}, {}).resolution("course", metric) == pytest.approx(resolution)
