"""Evidence for claims, from what is tracked."""

from __future__ import annotations

import pytest

from pipeline.config.compose import compose
from pipeline.config.schema import RunConfig
from pipeline.tracking.reader import TrackedRun
from sweeps.evidence import SweepEvidence
from sweeps.results import TrialResult


@pytest.mark.parametrize(
    ("metric", "resolution"),
    [
        ("test/accuracy", 1 / 256),
        ("test/accuracy@3", 1 / 256),
        ("gap/accuracy", 1 / 256 + 1 / 1027),
        ("test/accuracy/horses", 1 / 128),
        ("test_shift_0.1/accuracy", 1 / 256),
        ("gap_size_0.75/accuracy", 1 / 256),
        ("test_shift_0.1/loss", 1e-6),
        ("epochs", 1.0),
        ("test/loss", 1e-6),
        ("parameters", 1e-6),
    ],
)
def test_a_metric_shows_no_less_than_one_example(metric: str, resolution: float) -> None:
    config = compose(RunConfig, "train", ["data=horse_or_human", "model=horse_conv"])
    assert SweepEvidence([0], [], {"course": config}, {}).resolution("course", metric) == pytest.approx(resolution)


def test_a_part_of_a_grids_name_stands_for_the_mean_over_all_trials_that_have_it() -> None:
    config = compose(RunConfig, "train", ["data=digits"])
    given = {
        "filters=8 epochs=1": {0: 0.5, 1: 0.6},
        "filters=8 epochs=5": {0: 0.7},
        "filters=16 epochs=5": {0: 0.8, 1: 1.0},
    }
    results = [
        TrialResult(
            label,
            "",
            [*values],
            [TrackedRun("", "FINISHED", {"test/accuracy": value}, {}) for value in values.values()],
        )
        for label, values in given.items()
    ]
    evidence = SweepEvidence([0, 1], results, dict.fromkeys(given, config), {})
    assert evidence.values("filters=8", "test/accuracy") == {0: pytest.approx(0.6)}
    assert evidence.values("epochs=5 filters=16", "test/accuracy") == {0: 0.8, 1: 1.0}
    assert [evidence.seeds(name) for name in ("filters=8", "epochs=5", "filters=16")] == [[0], [0], [0, 1]]
    assert evidence.resolution("filters=8", "test/accuracy") == pytest.approx(1 / 360)
