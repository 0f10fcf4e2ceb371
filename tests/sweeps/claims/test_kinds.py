from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from pipeline.config.schema import ConfigError
from sweeps.claims.kinds import (
    CONTRADICTED,
    INCONCLUSIVE,
    KINDS,
    REPRODUCED,
    ClaimConfig,
    Finding,
    Published,
    StatisticsConfig,
    holm,
    interval_of,
    judge,
    judge_published,
    mean_test,
    turn,
)

SETTINGS = StatisticsConfig(0.95, 3, {"accuracy": 0.01, "loss": 0.05, "prediction": 0.01}, 0.005)
Values = dict[str, dict[str, list[float]]]


@dataclass
class Known:
    """Evidence from given numbers, seeds 0, 1, ... in order."""

    metrics: Values
    curves: dict[str, list[list[float]]] = field(default_factory=dict)
    times: dict[str, list[float]] = field(default_factory=dict)
    limit: tuple[int, float] = (20, 0.9)
    fineness: float = 1e-4

    def values(self, trial: str, metric: str) -> dict[int, float]:
        return dict(enumerate(self.metrics[trial].get(metric, [])))

    def curve(self, trial: str, metric: str) -> dict[int, list[float]]:
        return dict(enumerate(self.curves.get(trial, [])))

    def rounds(self, trial: str) -> list[float]:
        return self.times.get(trial, [])

    def target(self, trial: str) -> tuple[int, float]:
        return self.limit

    def resolution(self, trial: str, metric: str) -> float:
        return 1.0 if metric == "epochs" else self.fineness if "accuracy" in metric else 1e-6


def claim(kind: str, **keys: object) -> ClaimConfig:
    return ClaimConfig(says="so", kind=kind, **keys)  # type: ignore[arg-type]


def one(asked: ClaimConfig, evidence: Known) -> Finding:
    (found,) = judge({"it": asked}, evidence, SETTINGS)
    return found


GREATER = claim("greater", trial="a", than=["b"], metric="test/accuracy")
LOW, HIGH = [0.900, 0.902, 0.901], [0.921, 0.920, 0.923]


def accuracies(**trials: list[float]) -> Known:
    return Known({name: {"test/accuracy": values} for name, values in trials.items()})


def test_greater_and_less() -> None:
    assert one(GREATER, accuracies(a=HIGH, b=LOW)).verdict == REPRODUCED
    assert one(GREATER, accuracies(a=LOW, b=HIGH)).verdict == CONTRADICTED
    assert one(GREATER, accuracies(a=[0.90, 0.91, 0.92], b=[0.91, 0.90, 0.91])).verdict == INCONCLUSIVE
    less = claim("less", trial="a", than=["b"], metric="test/accuracy")
    assert one(less, accuracies(a=LOW, b=HIGH)).verdict == REPRODUCED
    assert one(claim("greater", trial="a", value=0.5, metric="test/accuracy"), accuracies(a=LOW)).verdict == REPRODUCED


def test_numbers_of_a_comparison_are_those_of_a_paired_t_test() -> None:
    from scipy.stats import ttest_rel

    found = one(GREATER, accuracies(a=HIGH, b=LOW))
    theirs = ttest_rel(HIGH, LOW)
    low, high = theirs.confidence_interval(0.95)
    assert found.outcome is not None
    measured = [found.outcome.estimate, found.outcome.low, found.outcome.high, found.outcome.p]
    assert measured == pytest.approx([np.mean(HIGH) - np.mean(LOW), low, high, theirs.pvalue])
    assert found.outcome.n == 3
    for part in ("a minus b", "+0.0203", "n=3 seeds"):
        assert part in found.sentence


def test_pairs_by_seed() -> None:
    evidence = accuracies(a=[0.80, 0.90, 0.85, 0.95], b=[0.79, 0.889, 0.841, 0.94])
    assert one(GREATER, evidence).verdict == REPRODUCED, "the seeds differ more than the configs"


def test_a_margin_has_to_be_exceeded() -> None:
    asked = claim("greater", trial="a", than=["b"], metric="test/accuracy", margin=0.05)
    found = one(asked, accuracies(a=HIGH, b=LOW))
    assert found.verdict == CONTRADICTED
    assert found.outcome is not None
    assert found.outcome.estimate == pytest.approx(np.mean(HIGH) - np.mean(LOW))


def test_greater_than_all_needs_all() -> None:
    asked = claim("greater", trial="a", than=["b", "c"], metric="test/accuracy")
    assert one(asked, accuracies(a=HIGH, b=LOW, c=LOW)).verdict == REPRODUCED
    assert one(asked, accuracies(a=HIGH, b=LOW, c=[0.920, 0.922, 0.921])).verdict == INCONCLUSIVE
    assert one(asked, accuracies(a=HIGH, b=LOW, c=[0.951, 0.950, 0.953])).verdict == CONTRADICTED


def test_fewer_than_three_seeds_give_no_verdict() -> None:
    for kind, keys in ARGUMENTS.items():
        evidence = Known(
            {t: {m: [0.9, 0.91] for m in ("test/accuracy", "gap/accuracy", "epochs", "train/accuracy")} for t in "abc"},
            {"a": [[1.0, 0.5], [1.0, 0.5]]},
            {"a": [1.0, 1.1], "b": [2.0, 2.1]},
        )
        found = one(claim(kind, **keys), evidence)
        assert (found.verdict, found.outcome) == (INCONCLUSIVE, None)
        assert "at least 3" in found.sentence
    (found,) = judge_published([Published("a", "test/accuracy", "N22", 0.9)], accuracies(a=[0.9, 0.9]), SETTINGS)
    assert found.verdict == INCONCLUSIVE


ARGUMENTS: dict[str, dict[str, object]] = {
    "greater": {"trial": "a", "than": ["b"], "metric": "test/accuracy"},
    "less": {"trial": "a", "than": ["b"], "metric": "test/accuracy"},
    "equal_within": {"trial": "a", "than": ["b"], "metric": "test/accuracy", "margin": 0.01},
    "rises": {"along": ["a", "b", "c"], "metric": "test/accuracy"},
    "falls": {"along": ["a", "b", "c"], "metric": "test/accuracy"},
    "overfits": {"trial": "a", "than": ["b"]},
    "reduces_overfitting": {"trial": "a", "than": ["b"]},
    "slower": {"trial": "a", "than": ["b"]},
    "faster": {"trial": "a", "than": ["b"]},
    "stops": {"trial": "a"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_claim_says_what_it_lacks(kind: str) -> None:
    claim(kind, **ARGUMENTS[kind])
    for key in ARGUMENTS[kind]:
        rest = {name: value for name, value in ARGUMENTS[kind].items() if name != key}
        if (kind, key) != ("overfits", "than"):
            with pytest.raises(ConfigError, match=f"has no {key}"):
                claim(kind, **rest)
    with pytest.raises(ConfigError, match="has no meaning"):
        claim(kind, **ARGUMENTS[kind], **({"along": ["a"]} if "trial" in ARGUMENTS[kind] else {"trial": "a"}))


@pytest.mark.parametrize(
    ("kind", "keys", "told"),
    [
        ("greater", {"trial": "a", "than": ["b"], "value": 0.0, "metric": "test/accuracy"}, "without than"),
        ("stops", {"trial": "a", "value": 0.0}, "without than"),
        ("equal_within", ARGUMENTS["equal_within"] | {"than": ["b", "c"]}, "compared with one trial"),
        ("reduces_overfitting", {"trial": "a", "than": ["b", "c"]}, "compared with one trial"),
        ("rises", {"along": ["a"], "metric": "test/accuracy"}, "at least two trials"),
        ("greater", {"trial": "a", "value": float("nan"), "metric": "test/accuracy"}, "a finite number"),
    ],
)
def test_a_claim_says_what_it_has_too_much(kind: str, keys: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        claim(kind, **keys)


def test_a_number_without_tolerance_is_reproduced_by_itself() -> None:
    strict = StatisticsConfig(0.95, 3, {}, 0.0)
    known = Known({"a": {"parameters": [9610.0] * 3}})
    (found,) = judge_published([Published("a", "parameters", "N22", 9610.0)], known, strict)
    assert found.verdict == REPRODUCED
    (found,) = judge_published([Published("a", "parameters", "N22", 9611.0)], known, strict)
    assert found.verdict == CONTRADICTED


def test_the_sentence_is_of_the_comparison_that_decides() -> None:
    asked = claim("greater", trial="a", than=["b", "c"], metric="test/accuracy")
    found = one(asked, accuracies(a=[0.90, 0.901, 0.902], b=[0.91, 0.9111, 0.9119], c=[0.90, 0.95, 0.89]))
    assert found.verdict == CONTRADICTED
    assert "a minus b" in found.sentence


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean greater"):
        claim("greatr")


def test_equal_within_a_margin() -> None:
    asked = claim("equal_within", trial="a", than=["b"], metric="test/accuracy", margin=0.01)
    assert one(asked, accuracies(a=[0.900, 0.902, 0.901], b=[0.901, 0.901, 0.901])).verdict == REPRODUCED
    assert one(asked, accuracies(a=HIGH, b=LOW)).verdict == CONTRADICTED
    assert one(asked, accuracies(a=[0.900, 0.912, 0.909], b=LOW)).verdict == INCONCLUSIVE
    to_a_number = claim("equal_within", trial="a", value=4.0, metric="prediction", margin=0.01)
    assert one(to_a_number, Known({"a": {"prediction": [4.002, 4.001, 3.999]}})).verdict == REPRODUCED


def test_trends() -> None:
    rises, falls = (claim(kind, along=["a", "b", "c"], metric="test/accuracy") for kind in ("rises", "falls"))
    up = accuracies(a=[0.90, 0.91, 0.92], b=[0.92, 0.93, 0.94], c=[0.94, 0.951, 0.959])
    assert one(rises, up).verdict == REPRODUCED
    assert one(falls, up).verdict == CONTRADICTED
    assert one(rises, up).outcome.estimate == pytest.approx(0.02, abs=0.0005)  # type: ignore[union-attr]


def curves(ends: list[float]) -> list[list[float]]:
    return [[0.5, 0.3 + 0.001 * n, 0.35, end] for n, end in enumerate(ends)]


def test_overfitting_needs_a_gap_and_a_turn() -> None:
    asked = claim("overfits", trial="a", than=["b"])
    gaps: Values = {"a": {"gap/accuracy": [0.05, 0.052, 0.051]}, "b": {"gap/accuracy": [0.01, 0.011, 0.012]}}
    found = one(asked, Known(gaps, {"a": curves([0.40, 0.41, 0.42])}))
    assert found.verdict == REPRODUCED
    assert "lowest after epoch 2 of 4" in found.sentence
    assert one(asked, Known(gaps, {"a": curves([0.20, 0.21, 0.22])})).verdict == CONTRADICTED
    assert one(asked, Known(gaps, {"a": curves([0.30, 0.40, 0.35])})).verdict == INCONCLUSIVE
    stopped = [[*curve, 0.5][: 4 + n] for n, curve in enumerate(curves([0.40, 0.41, 0.42]))]
    assert "of 4" in one(asked, Known(gaps, {"a": stopped})).sentence, "runs may end at different epochs"
    assert one(asked, Known({"a": gaps["b"], "b": gaps["a"]}, {"a": curves([0.4, 0.41, 0.42])})).verdict == CONTRADICTED


def test_a_remedy_must_not_cost_accuracy() -> None:
    asked = claim("reduces_overfitting", trial="a", than=["b"])

    def with_accuracy(ours: list[float]) -> Known:
        base = {"gap/accuracy": [0.06, 0.062, 0.061], "test/accuracy": LOW}
        return Known({"a": {"gap/accuracy": [0.02, 0.022, 0.021], "test/accuracy": ours}, "b": base})

    assert one(asked, with_accuracy(HIGH)).verdict == REPRODUCED
    assert one(asked, with_accuracy([0.870, 0.872, 0.871])).verdict == CONTRADICTED
    assert one(asked, with_accuracy([0.890, 0.905, 0.900])).verdict == INCONCLUSIVE


def test_speed_is_a_ratio_of_paired_rounds() -> None:
    times = {"a": [2.0, 2.4, 3.0], "b": [1.0, 1.2, 1.5]}
    slower, faster = (claim(kind, trial="a", than=["b"]) for kind in ("slower", "faster"))
    found = one(slower, Known({}, times=times))
    assert found.verdict == REPRODUCED
    assert found.outcome is not None
    assert found.outcome.estimate == pytest.approx(2.0)
    assert one(faster, Known({}, times=times)).verdict == CONTRADICTED


@pytest.mark.parametrize(
    ("epochs", "accuracy", "verdict"),
    [
        ([4, 4, 5], [0.91, 0.905, 0.91], REPRODUCED),
        ([4, 4, 4], [0.91, 0.91, 0.91], REPRODUCED),
        ([4, 4, 4], [0.9, 0.9, 0.9], REPRODUCED),  # the target itself is enough
        ([20, 20, 20], [0.85, 0.851, 0.852], CONTRADICTED),
        ([20, 20, 20], [0.91, 0.92, 0.91], INCONCLUSIVE),  # reached, but in the last epoch allowed
        ([19, 20, 20], [0.91, 0.89, 0.89], INCONCLUSIVE),
    ],
)
def test_stopping(epochs: list[float], accuracy: list[float], verdict: str) -> None:
    evidence = Known({"a": {"epochs": epochs, "train/accuracy": accuracy}})
    assert one(claim("stops", trial="a"), evidence).verdict == verdict


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
    (found,) = judge_published([Published("a", "test/accuracy", "N22", published)], accuracies(a=ours), SETTINGS)
    assert found.verdict == verdict
    assert found.question.says == f"test/accuracy of a is {published:.4f}"


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_more_claims_need_more_evidence() -> None:
    evidence = accuracies(a=[0.916, 0.921, 0.924], b=[0.900, 0.902, 0.901])
    alone = one(GREATER, evidence)
    many = judge({str(n): GREATER for n in range(8)}, evidence, SETTINGS)
    assert alone.verdict == REPRODUCED
    assert {finding.verdict for finding in many} == {INCONCLUSIVE}
    assert many[0].p_adjusted == pytest.approx(8 * (alone.p_adjusted or 0))


def test_equal_values_are_known_no_better_than_their_resolution() -> None:
    found = mean_test([4.0, 4.0, 4.0], SETTINGS, resolution=1.0)
    assert found.low < 4.0 < found.high
    assert interval_of([4.0], SETTINGS) is None
    assert interval_of([4.0, 4.0], SETTINGS) == (4.0, 4.0)


def test_the_turn_is_of_the_mean_curve() -> None:
    assert turn([[3, 1, 2], [3, 2, 1], [3, 1, 2]]) == 2


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
    asked = {"it": claim(kind, trial="a", than=["b"], metric="test/accuracy")}

    def judged(rng: np.random.Generator) -> list[Finding]:
        return judge(asked, accuracies(a=noisy(rng, 0.9, n), b=noisy(rng, 0.9, n)), SETTINGS)

    assert share(REPRODUCED, judged) + share(CONTRADICTED, judged) <= ALLOWED


@pytest.mark.parametrize(("size", "counts"), [(256, 0.6), (256, 1.0), (360, 2.0)])
def test_ties_of_a_small_test_set_are_rarely_called_a_difference(size: int, counts: float) -> None:
    asked = {str(n): claim("greater", trial=f"a{n}", than=[f"b{n}"], metric="test/accuracy") for n in range(7)}

    def counted(rng: np.random.Generator) -> list[float]:
        return list(np.round(0.9 * size + counts * rng.standard_normal(3)) / size)

    def judged(rng: np.random.Generator) -> list[Finding]:
        known = accuracies(**{f"{t}{n}": counted(rng) for t in "ab" for n in range(7)})
        known.fineness = 1 / size
        return judge(asked, known, SETTINGS)

    assert share(REPRODUCED, judged) + share(CONTRADICTED, judged) <= ALLOWED


def test_a_family_of_claims_is_rarely_wrong_anywhere() -> None:
    asked = {str(n): claim("greater", trial=f"a{n}", than=["b"], metric="test/accuracy") for n in range(6)}

    def judged(rng: np.random.Generator) -> list[Finding]:
        trials = {f"a{n}": noisy(rng, 0.9, 5) for n in range(6)}
        return judge(asked, accuracies(**trials, b=noisy(rng, 0.9, 5)), SETTINGS)

    assert share(REPRODUCED, judged) <= ALLOWED
    assert share(CONTRADICTED, judged) <= ALLOWED


def test_a_family_with_true_and_false_claims_is_rarely_wrong() -> None:
    asked = {str(n): claim("greater", trial=f"a{n}", than=["b"], metric="test/accuracy") for n in range(6)}

    def judged(rng: np.random.Generator) -> list[Finding]:
        trials = {f"a{n}": noisy(rng, 0.95 if n < 3 else 0.9, 5) for n in range(6)}
        found = judge(asked, accuracies(**trials, b=noisy(rng, 0.9, 5)), SETTINGS)
        return [f for f in found if int(f.question.name) >= 3]

    assert share(REPRODUCED, judged) <= ALLOWED
    assert share(CONTRADICTED, judged) <= ALLOWED


@pytest.mark.parametrize("difference", [0.01, -0.01])
def test_a_difference_as_large_as_the_margin_is_rarely_called_equal(difference: float) -> None:
    asked = {"it": claim("equal_within", trial="a", than=["b"], metric="test/accuracy", margin=0.01)}

    def judged(rng: np.random.Generator) -> list[Finding]:
        return judge(asked, accuracies(a=noisy(rng, 0.9 + difference, 5), b=noisy(rng, 0.9, 5)), SETTINGS)

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
    asked = {"it": claim("overfits", trial="a")}

    def judged(rng: np.random.Generator) -> list[Finding]:
        gaps: Values = {"a": {"gap/accuracy": noisy(rng, 0.05, n)}}
        flat = [list(0.3 + 0.01 * rng.standard_normal(10)) for _ in range(n)]
        return judge(asked, Known(gaps, {"a": flat}), SETTINGS)

    assert share(REPRODUCED, judged) <= ALLOWED


def test_a_remedy_without_effect_is_rarely_called_one() -> None:
    asked = {"it": claim("reduces_overfitting", trial="a", than=["b"])}

    def judged(rng: np.random.Generator) -> list[Finding]:
        trials = {t: {m: noisy(rng, 0.9) for m in ("gap/accuracy", "test/accuracy")} for t in "ab"}
        return judge(asked, Known(trials), SETTINGS)

    assert share(REPRODUCED, judged) <= ALLOWED


def test_a_large_difference_is_found() -> None:
    asked = {"it": GREATER}

    def judged(rng: np.random.Generator) -> list[Finding]:
        return judge(asked, accuracies(a=noisy(rng, 0.93, 5), b=noisy(rng, 0.90, 5)), SETTINGS)

    assert share(REPRODUCED, judged) > 0.95
