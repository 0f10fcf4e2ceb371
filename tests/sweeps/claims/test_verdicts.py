"""Published numbers, the correction for many claims, and the stated error rates on synthetic seeds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sweeps.claims.config import Published, StatisticsConfig
from sweeps.claims.verdicts import CONTRADICTED, INCONCLUSIVE, REPRODUCED, Finding, judge, judge_published
from tests.helpers.evidence import GREATER, SETTINGS, GivenEvidence, Values, accuracies, claim, one


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
    assert finding.question.says == f"test/accuracy of a is {published:.4f}"


def test_a_number_without_tolerance_is_reproduced_by_itself() -> None:
    strict = StatisticsConfig(0.95, 3, {}, 0.0)
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


# -- the stated error rates, on synthetic seeds ------------------------------------------------------------------------

REPEATS = 1500
# Three standard errors of a share of 5 % in so many repeats.
ALLOWED = 0.05 + 3 * (0.05 * 0.95 / REPEATS) ** 0.5


def share(verdict: str, judged: Callable[[np.random.Generator], list[Finding]]) -> float:
    """Share of synthetic sweeps with at least one such verdict."""
    rng = np.random.default_rng(1)
    return float(np.mean([any(f.verdict == verdict for f in judged(rng)) for _ in range(REPEATS)]))


def noisy(rng: np.random.Generator, mean: float, n: int = 3, sd: float = 0.004) -> list[float]:
    return list(mean + sd * rng.standard_normal(n))


@pytest.mark.parametrize("n", [3, 5])
@pytest.mark.parametrize("kind", ["greater", "less"])
def test_no_difference_is_rarely_called_one(kind: str, n: int) -> None:
    claims = {"it": claim(kind, trial="a", than=["b"], metric="test/accuracy")}

    def judged(rng: np.random.Generator) -> list[Finding]:
        return judge(claims, accuracies(a=noisy(rng, 0.9, n), b=noisy(rng, 0.9, n)), SETTINGS)

    assert share(REPRODUCED, judged) + share(CONTRADICTED, judged) <= ALLOWED


@pytest.mark.parametrize(("size", "counts"), [(256, 0.6), (256, 1.0), (360, 2.0)])
def test_ties_of_a_small_test_set_are_rarely_called_a_difference(size: int, counts: float) -> None:
    claims = {str(n): claim("greater", trial=f"a{n}", than=[f"b{n}"], metric="test/accuracy") for n in range(7)}

    def counted(rng: np.random.Generator) -> list[float]:
        return list(np.round(0.9 * size + counts * rng.standard_normal(3)) / size)

    def judged(rng: np.random.Generator) -> list[Finding]:
        evidence = accuracies(**{f"{t}{n}": counted(rng) for t in "ab" for n in range(7)})
        evidence.fineness = 1 / size
        return judge(claims, evidence, SETTINGS)

    assert share(REPRODUCED, judged) + share(CONTRADICTED, judged) <= ALLOWED


def test_a_family_of_claims_is_rarely_wrong_anywhere() -> None:
    claims = {str(n): claim("greater", trial=f"a{n}", than=["b"], metric="test/accuracy") for n in range(6)}

    def judged(rng: np.random.Generator) -> list[Finding]:
        trials = {f"a{n}": noisy(rng, 0.9, 5) for n in range(6)}
        return judge(claims, accuracies(**trials, b=noisy(rng, 0.9, 5)), SETTINGS)

    assert share(REPRODUCED, judged) <= ALLOWED
    assert share(CONTRADICTED, judged) <= ALLOWED


def test_a_family_with_true_and_false_claims_is_rarely_wrong() -> None:
    claims = {str(n): claim("greater", trial=f"a{n}", than=["b"], metric="test/accuracy") for n in range(6)}

    def judged(rng: np.random.Generator) -> list[Finding]:
        trials = {f"a{n}": noisy(rng, 0.95 if n < 3 else 0.9, 5) for n in range(6)}
        findings = judge(claims, accuracies(**trials, b=noisy(rng, 0.9, 5)), SETTINGS)
        return [f for f in findings if int(f.question.name) >= 3]

    assert share(REPRODUCED, judged) <= ALLOWED
    assert share(CONTRADICTED, judged) <= ALLOWED


@pytest.mark.parametrize("difference", [0.01, -0.01])
def test_a_difference_as_large_as_the_margin_is_rarely_called_equal(difference: float) -> None:
    claims = {"it": claim("equal_within", trial="a", than=["b"], metric="test/accuracy", margin=0.01)}

    def judged(rng: np.random.Generator) -> list[Finding]:
        return judge(claims, accuracies(a=noisy(rng, 0.9 + difference, 5), b=noisy(rng, 0.9, 5)), SETTINGS)

    assert share(REPRODUCED, judged) <= ALLOWED
    assert share(CONTRADICTED, judged) <= ALLOWED


def test_a_further_run_of_ours_is_rarely_called_implausible() -> None:
    def judged(rng: np.random.Generator) -> list[Finding]:
        untolerant = StatisticsConfig(0.95, 3, {"accuracy": 0.0}, 0.0)
        (published,) = noisy(rng, 0.9, 1)
        number = Published("a", "test/accuracy", "N22", published)
        return judge_published([number], accuracies(a=noisy(rng, 0.9, 3)), untolerant)

    rate = share(CONTRADICTED, judged)
    assert 0.05 - (ALLOWED - 0.05) <= rate <= ALLOWED, "a prediction interval of 95 % misses 5 %, no less"


@pytest.mark.parametrize("n", [3, 5, 10])
def test_a_flat_noisy_curve_is_rarely_called_overfitting(n: int) -> None:
    claims = {"it": claim("overfits", trial="a")}

    def judged(rng: np.random.Generator) -> list[Finding]:
        gaps: Values = {"a": {"gap/accuracy": noisy(rng, 0.05, n)}}
        flat = [list(0.3 + 0.01 * rng.standard_normal(10)) for _ in range(n)]
        return judge(claims, GivenEvidence(gaps, {"a": flat}), SETTINGS)

    assert share(REPRODUCED, judged) <= ALLOWED


def test_a_remedy_without_effect_is_rarely_called_one() -> None:
    claims = {"it": claim("reduces_overfitting", trial="a", than=["b"])}

    def judged(rng: np.random.Generator) -> list[Finding]:
        trials = {t: {m: noisy(rng, 0.9) for m in ("gap/accuracy", "test/accuracy")} for t in "ab"}
        return judge(claims, GivenEvidence(trials), SETTINGS)

    assert share(REPRODUCED, judged) <= ALLOWED


def test_a_large_difference_is_found() -> None:
    claims = {"it": GREATER}

    def judged(rng: np.random.Generator) -> list[Finding]:
        return judge(claims, accuracies(a=noisy(rng, 0.93, 5), b=noisy(rng, 0.90, 5)), SETTINGS)

    assert share(REPRODUCED, judged) > 0.95
