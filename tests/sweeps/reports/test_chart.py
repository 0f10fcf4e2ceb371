"""Where the marks of a chart and of the bars beside claims lie."""

from __future__ import annotations

import pytest

from sweeps.claims.verdicts import Finding
from sweeps.config.ablation import compose_ablation
from sweeps.reports.chart import MOST_ROWS, Scale, bar_of, chart_of, scale_of
from tests.helpers.evidence import GivenEvidence, accuracies, at, claim, one
from tests.helpers.pages import page, result


def test_a_scale_is_in_percent_and_has_round_ticks() -> None:
    scale = Scale(0.84, 0.94)
    assert [scale.at(value) for value in (0.84, 0.89, 0.94, 2.0)] == ["0.00%", "50.00%", "100.00%", "100.00%"]
    assert scale.width((0.5, 0.89)) == "50.00%"
    assert scale.ticks == [0.84, 0.86, 0.88, 0.9, 0.92, 0.94]
    assert Scale(0, 1.2e6).ticks[1] == 2e5
    assert scale_of([3.0]).ticks
    assert scale_of([0.0]).ticks


def test_a_chart_has_a_row_per_config_and_intervals_from_three_seeds_on() -> None:
    sweep = compose_ablation("demo", []).sweep
    results = [result(label, place) for place, label in enumerate(("dense_512_256_128", "conv_64"))]
    chart = chart_of(results, sweep, "filters", at(3))
    assert chart is not None
    assert [row.label for row in chart.rows] == ["dense_512_256_128", "conv_64"]
    assert [row.is_best for row in chart.rows] == [False, True]
    assert chart.parts == {"train": "training accuracy", "test": "test accuracy"}
    assert all(marks.interval for row in chart.rows for marks in row.marks)
    assert "published 0.9044 (N22)" in chart.rows[1].words
    two = [type(it)(it.label, it.tick, it.seeds[:2], it.runs[:2]) for it in results]
    of_two = chart_of(two, sweep, "filters", at(3))
    assert of_two is not None
    assert not any(marks.interval for row in of_two.rows for marks in row.marks)
    assert "interval" not in of_two.caption
    assert chart_of([], sweep, "filters", at(3)) is None


def test_of_very_many_configs_the_first_are_drawn() -> None:
    chart = chart_of([result("conv_64", 1)] * 100, compose_ablation("demo", []).sweep, "filters", at(3))
    assert chart is not None
    assert len(chart.rows) == MOST_ROWS
    assert "24 of 100 configs; the table below has all" in chart.caption


def bar(kind: str, **keys: object) -> tuple[Finding, object]:
    given = accuracies(a=[0.90, 0.91, 0.92], b=[0.88, 0.90, 0.89])
    given.times = {"a": [1.0, 1.1, 1.2], "b": [2.0, 2.1, 2.2]}
    finding = one(claim(kind, **keys), given)
    return finding, bar_of(finding)


@pytest.mark.parametrize(
    ("kind", "keys", "reference", "label", "zone"),
    [
        ("greater", {"metric": "test/accuracy"}, 0.0, "equal", (0.0, float("inf"))),
        ("less", {"metric": "test/accuracy", "margin": 0.01}, 0.0, "equal", (float("-inf"), -0.01)),
        ("equal_within", {"metric": "test/accuracy", "margin": 0.01}, 0.0, "equal", (-0.01, 0.01)),
        ("faster", {}, 1.0, "equally fast", (0.0, 1.0)),
        ("slower", {"margin": 1.0}, 1.0, "equally fast", (2.0, float("inf"))),
    ],
)
def test_a_claim_has_a_bar_beside_what_it_is_compared_with(
    kind: str, keys: dict[str, object], reference: float, label: str, zone: tuple[float, float]
) -> None:
    finding, drawn = bar(kind, trial="a", than=["b"], **keys)
    assert finding.outcome is not None
    assert (drawn.reference, drawn.label) == (reference, label)  # type: ignore[attr-defined]
    assert drawn.zone == pytest.approx(zone)  # type: ignore[attr-defined]
    ends = (finding.outcome.low, finding.outcome.high, reference, *(end for end in zone if abs(end) < 9))
    assert drawn.scale.low < min(ends) < max(ends) < drawn.scale.high  # type: ignore[attr-defined]


def test_where_one_number_does_not_show_a_claim_no_zone_is_shaded() -> None:
    metrics = {name: {"gap/accuracy": [0.1, 0.11, 0.12], "test/accuracy": [0.9, 0.91, 0.9]} for name in "ab"}
    drawn = bar_of(one(claim("reduces_overfitting", trial="a", than=["b"]), GivenEvidence(metrics)))
    assert drawn is not None
    assert drawn.zone is None
    assert bar_of(one(claim("greater", trial="a", value=0.5, metric="test/accuracy"), accuracies(a=[0.9]))) is None


def test_a_published_number_lies_beside_the_interval_of_one_further_run() -> None:
    (contradicted,) = (finding for finding in page().numbers if finding.verdict == "CONTRADICTED")
    drawn = bar_of(contradicted)
    assert drawn is not None
    assert (drawn.reference, drawn.label, drawn.zone) == (0.95, "published", None)
    assert drawn.high < 0.95
