"""Published numbers, looks, and the correction for many claims."""

from __future__ import annotations

import numpy as np
import pytest

from sweeps.claims.config import Published
from sweeps.claims.verdicts import CONTRADICTED, INCONCLUSIVE, REPRODUCED, judge, judge_published
from tests.helpers.evidence import GREATER, HIGH, LOW, SETTINGS, GivenEvidence, accuracies, at, claim, one


@pytest.mark.parametrize(
    ("published", "ours", "verdict"),
    [
        (0.9006, [0.900, 0.902, 0.901], REPRODUCED),
        (0.9106, [0.900, 0.902, 0.901], REPRODUCED),  # within tolerance and interval
        (0.9500, [0.900, 0.902, 0.901], CONTRADICTED),
        (0.9006, [0.85, 0.95, 0.90], INCONCLUSIVE),  # inside an interval that holds everything
    ],
)
def test_published_numbers(published: float, ours: list[float], verdict: str) -> None:
    (finding,) = judge_published([Published("a", "test/accuracy", "N22", published)], accuracies(a=ours), SETTINGS)
    assert finding.verdict == verdict
    assert finding.question.says == f"test accuracy of a is {published:.4f}"


def test_a_number_without_tolerance_is_reproduced_by_itself() -> None:
    strict = at(3, tolerance={})
    evidence = GivenEvidence({"a": {"parameters": [9610.0] * 3}})
    (finding,) = judge_published([Published("a", "parameters", "N22", 9610.0)], evidence, strict)
    assert finding.verdict == REPRODUCED
    (finding,) = judge_published([Published("a", "parameters", "N22", 9611.0)], evidence, strict)
    assert finding.verdict == CONTRADICTED


def test_a_published_number_needs_three_seeds_too() -> None:
    (finding,) = judge_published([Published("a", "test/accuracy", "N22", 0.9)], accuracies(a=[0.9, 0.9]), SETTINGS)
    assert finding.verdict == INCONCLUSIVE


def test_more_claims_need_more_evidence() -> None:
    evidence = accuracies(a=[0.916, 0.921, 0.924], b=[0.900, 0.902, 0.901])
    alone = one(GREATER, evidence)
    many = judge({str(n): GREATER for n in range(8)}, evidence, SETTINGS)
    assert alone.verdict == REPRODUCED
    assert {finding.verdict for finding in many} == {INCONCLUSIVE}
    assert many[0].p_adjusted == pytest.approx(8 * (alone.p_adjusted or 0))


def test_a_look_sees_the_first_seeds_alone() -> None:
    """What decides at three seeds stands, whatever later seeds say; what does not is judged again at five."""
    certain = accuracies(a=[0.95, 0.951, 0.949, 0.5, 0.5], b=[0.9, 0.9, 0.9, 0.9, 0.9])
    (finding,) = judge({"it": GREATER}, certain, at(3, 5))
    assert (finding.verdict, finding.outcome and finding.outcome.n) == (REPRODUCED, 3)
    assert "(decided at 3 seeds)" in finding.sentence
    assert "after correction for 1 claim and 2 looks" in finding.sentence
    late = accuracies(a=[0.95, 0.92, 0.93, 0.94, 0.935], b=[0.9, 0.91, 0.9, 0.91, 0.9])
    (finding,) = judge({"it": GREATER}, late, at(3, 5))
    assert (finding.verdict, finding.outcome and finding.outcome.n) == (REPRODUCED, 5)


def test_seeds_between_looks_wait() -> None:
    noisy = accuracies(a=[0.91, 0.90, 0.92, 0.95], b=[0.90, 0.91, 0.90, 0.90])
    (finding,) = judge({"it": GREATER}, noisy, at(3, 5))
    assert (finding.verdict, finding.outcome and finding.outcome.n) == (INCONCLUSIVE, 3)


def test_each_look_has_an_equal_share_of_the_error() -> None:
    evidence = accuracies(a=[0.916, 0.921, 0.924], b=[0.900, 0.902, 0.901])
    alone, among_five = (judge({"it": GREATER}, evidence, at(*looks))[0] for looks in ((3,), (3, 4, 5, 6, 7)))
    assert alone.verdict == REPRODUCED
    assert among_five.p_adjusted == pytest.approx(5 * (alone.p_adjusted or 0))
    assert among_five.verdict == INCONCLUSIVE


def test_what_is_decided_leaves_the_family() -> None:
    """At its look, a claim is corrected for those that are open, with those that have too few seeds among them."""
    sure, unsure = [0.95, 0.951, 0.949, 0.95, 0.95], [0.91, 0.90, 0.92, 0.93, 0.95]
    claims = {name: claim("greater", trial=name, than=["b"], metric="test/accuracy") for name in ("sure", "c", "short")}
    evidence = accuracies(sure=sure, c=unsure, short=unsure[:3], b=[0.9, 0.901, 0.9, 0.9, 0.902])
    findings = {finding.question.name: finding for finding in judge(claims, evidence, at(3, 5))}
    assert "for 3 claims and 2 looks" in findings["sure"].sentence
    assert "for 2 claims and 2 looks" in findings["c"].sentence
    assert findings["short"].outcome is not None
    assert findings["short"].outcome.n == 3


def test_a_claim_waits_for_seeds_in_the_order_planned() -> None:
    """A seed that is missing is not made up for by a later one: which seeds count must not depend on what they gave."""
    evidence = accuracies(a=HIGH, b=LOW)
    (finding,) = judge({"it": GREATER}, evidence, at(5))
    assert (finding.verdict, finding.outcome) == (INCONCLUSIVE, None)
    assert "n=3 seeds; a verdict needs at least 5" in finding.sentence


def test_hopeless_claims_have_a_small_chance() -> None:
    rng = np.random.default_rng(0)
    level = list(0.9 + 0.004 * rng.standard_normal(8))
    (null,) = judge({"it": GREATER}, accuracies(a=level, b=level[::-1]), at(3, 5, 8, 13, 21))
    (near,) = judge({"it": GREATER}, accuracies(a=[x + 0.004 for x in level], b=level[::-1]), at(3, 5, 8, 13, 21))
    assert null.verdict == near.verdict == INCONCLUSIVE
    assert null.chance < 0.3 < near.chance
    (last,) = judge({"it": GREATER}, accuracies(a=level, b=level[::-1]), at(3, 5, 8))
    assert last.chance == 0, "no look is left"


def test_a_number_that_lies_inside_is_judged_again() -> None:
    """To be inside an interval is no decision: later seeds may put the number outside."""
    values = [0.900, 0.912, 0.906, 0.9059, 0.9061, 0.906, 0.906, 0.9061, 0.9059]
    number, evidence = Published("a", "test/accuracy", "N22", 0.93), accuracies(a=values)
    (early,), (late,) = (judge_published([number], evidence, at(*looks)) for looks in ((3,), (3, 9)))
    assert early.verdict == INCONCLUSIVE
    assert late.verdict == CONTRADICTED
    inside = Published("a", "test/accuracy", "N22", 0.906)
    (finding,) = judge_published([inside], evidence, at(3, 9))
    assert (finding.verdict, finding.outcome and finding.outcome.n) == (REPRODUCED, 9)
    assert "(n=9 seeds)" in finding.sentence
