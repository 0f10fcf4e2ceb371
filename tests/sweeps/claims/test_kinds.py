from __future__ import annotations

import numpy as np
import pytest

from pipeline.config.checks import ConfigError
from sweeps.claims.config import quantity_of
from sweeps.claims.kinds import KINDS, claim_metrics
from sweeps.claims.verdicts import CONTRADICTED, INCONCLUSIVE, REPRODUCED, judge
from tests.helpers.evidence import GREATER, HIGH, LOW, GivenEvidence, Values, accuracies, at, claim, one


def test_greater_and_less() -> None:
    assert one(GREATER, accuracies(a=HIGH, b=LOW)).verdict == REPRODUCED
    assert one(GREATER, accuracies(a=LOW, b=HIGH)).verdict == CONTRADICTED
    assert one(GREATER, accuracies(a=[0.90, 0.91, 0.92], b=[0.91, 0.90, 0.91])).verdict == INCONCLUSIVE
    less = claim("less", trial="a", than=["b"], metric="test/accuracy")
    assert one(less, accuracies(a=LOW, b=HIGH)).verdict == REPRODUCED
    assert one(claim("greater", trial="a", value=0.5, metric="test/accuracy"), accuracies(a=LOW)).verdict == REPRODUCED


def test_numbers_of_a_comparison_are_those_of_a_paired_t_test() -> None:
    from scipy.stats import ttest_rel

    finding = one(GREATER, accuracies(a=HIGH, b=LOW))
    theirs = ttest_rel(HIGH, LOW)
    low, high = theirs.confidence_interval(0.95)
    assert finding.outcome is not None
    measured = [finding.outcome.estimate, finding.outcome.low, finding.outcome.high, finding.outcome.p]
    assert measured == pytest.approx([np.mean(HIGH) - np.mean(LOW), low, high, theirs.pvalue])
    assert finding.outcome.n == 3
    for part in ("of a is 0.0203 higher than b", "decided at 3 seeds"):
        assert part in finding.sentence


def test_pairs_by_seed() -> None:
    evidence = accuracies(a=[0.80, 0.90, 0.85, 0.95], b=[0.79, 0.889, 0.841, 0.94])
    assert one(GREATER, evidence).verdict == REPRODUCED, "the seeds differ more than the configs"


def test_a_margin_has_to_be_exceeded() -> None:
    claimed = claim("greater", trial="a", than=["b"], metric="test/accuracy", margin=0.05)
    finding = one(claimed, accuracies(a=HIGH, b=LOW))
    assert finding.verdict == CONTRADICTED
    assert finding.outcome is not None
    assert finding.outcome.estimate == pytest.approx(np.mean(HIGH) - np.mean(LOW))


def test_a_ratio_is_tested_by_its_logarithm() -> None:
    from scipy.stats import ttest_rel

    norms: Values = {"a": {"gradient_norm/conv_1": [0.5, 2.0, 8.0]}, "b": {"gradient_norm/conv_1": [1e-5, 3e-5, 2e-5]}}
    keys: dict[str, object] = {"trial": "a", "than": ["b"], "metric": "gradient_norm/conv_1"}
    assert one(claim("greater", **keys), GivenEvidence(norms)).verdict == INCONCLUSIVE, "the larger one scatters"
    finding = one(claim("greater", **keys, ratio=True), GivenEvidence(norms))
    assert finding.verdict == REPRODUCED
    assert finding.outcome is not None
    logs = [np.log(norms[trial]["gradient_norm/conv_1"]) for trial in "ab"]
    interval = ttest_rel(*logs).confidence_interval(0.95)
    expected = np.exp([np.mean(logs[0]) - np.mean(logs[1]), interval.low, interval.high])
    assert [finding.outcome.estimate, finding.outcome.low, finding.outcome.high] == pytest.approx(expected)
    assert "of conv_1 of a is 110,064 times as high as b, between 6,700 and 1,808,112" in finding.sentence
    assert (finding.outcome.claimed, finding.outcome.neutral) == ((1.0, np.inf), 1.0)
    assert one(claim("less", **keys, ratio=True), GivenEvidence(norms)).verdict == CONTRADICTED


def test_a_ratio_of_what_a_metric_cannot_show_is_one() -> None:
    nothing: Values = {"a": {"gradient_norm/conv_1": [0.0] * 3}, "b": {"gradient_norm/conv_1": [1e-9] * 3}}
    made = claim("less", trial="a", than=["b"], metric="gradient_norm/conv_1", ratio=True)
    assert one(made, GivenEvidence(nothing)).verdict == INCONCLUSIVE


def test_two_metrics_of_one_trial_are_compared() -> None:
    of_classes: Values = {"a": {"test/accuracy/humans": LOW, "test/accuracy/horses": HIGH}}
    keys = {"trial": "a", "than": ["a"], "metric": "test/accuracy/humans", "than_metric": "test/accuracy/horses"}
    finding = one(claim("less", **keys), GivenEvidence(of_classes))
    assert finding.verdict == REPRODUCED
    assert "test accuracy on humans of a is 0.0203 lower than test accuracy on horses of a" in finding.sentence
    assert one(claim("greater", **keys), GivenEvidence(of_classes)).verdict == CONTRADICTED
    assert one(claim("less", **keys), GivenEvidence(of_classes, fineness=0.1)).verdict == INCONCLUSIVE
    of_classes["a"]["test/accuracy/horses"] = []
    judged = judge({"it": claim("less", **keys)}, RunsOfBefore(of_classes), at(3))
    assert judged[0].sentence == "n=0 seeds; a verdict needs at least 3 with test/accuracy/humans."


class RunsOfBefore(GivenEvidence):
    def seeds(self, trial: str) -> list[int]:
        return [0, 1, 2]


def test_a_trial_is_asked_for_the_metrics_that_it_is_compared_in() -> None:
    keys = {"trial": "a", "than": ["b"], "metric": "test/accuracy", "than_metric": "val/accuracy"}
    made = claim("less", **keys)
    assert [claim_metrics(made, trial) for trial in "abc"] == [["test/accuracy"], ["val/accuracy"], []]
    assert claim_metrics(claim("overfits", trial="a"), "a") == ["gap/accuracy", "test/loss"]


def test_greater_than_all_needs_all() -> None:
    claimed = claim("greater", trial="a", than=["b", "c"], metric="test/accuracy")
    assert one(claimed, accuracies(a=HIGH, b=LOW, c=LOW)).verdict == REPRODUCED
    assert one(claimed, accuracies(a=HIGH, b=LOW, c=[0.920, 0.922, 0.921])).verdict == INCONCLUSIVE
    assert one(claimed, accuracies(a=HIGH, b=LOW, c=[0.951, 0.950, 0.953])).verdict == CONTRADICTED


def test_fewer_than_three_seeds_give_no_verdict() -> None:
    for kind, keys in ARGUMENTS.items():
        evidence = GivenEvidence(
            {t: {m: [0.9, 0.91] for m in ("test/accuracy", "gap/accuracy", "epochs", "train/accuracy")} for t in "abc"},
            {"a": [[1.0, 0.5], [1.0, 0.5]]},
            {"a": [1.0, 1.1], "b": [2.0, 2.1]},
        )
        finding = one(claim(kind, **keys), evidence)
        assert (finding.verdict, finding.outcome) == (INCONCLUSIVE, None)
        assert "at least 3" in finding.sentence


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
    ("kind", "keys", "message"),
    [
        ("greater", {"trial": "a", "than": ["b"], "value": 0.0, "metric": "test/accuracy"}, "give than or value"),
        ("less", {"trial": "a", "value": 0.0, "metric": "a", "than_metric": "b"}, "give than or value"),
        ("rises", ARGUMENTS["rises"] | {"than_metric": "b"}, "than_metric has no meaning"),
        ("rises", ARGUMENTS["rises"] | {"ratio": True}, "ratio has no meaning"),
        ("less", {"trial": "a", "value": 0.0, "metric": "test/loss", "ratio": True}, "value must be above 0"),
        ("stops", {"trial": "a", "value": 0.0}, "value has no meaning for the kind stops"),
        ("equal_within", ARGUMENTS["equal_within"] | {"than": ["b", "c"]}, "takes a single trial in than"),
        ("reduces_overfitting", {"trial": "a", "than": ["b", "c"]}, "takes a single trial in than"),
        ("rises", {"along": ["a"], "metric": "test/accuracy"}, "at least two trials"),
        ("rises", {"along": ["a", "b", "a"], "metric": "test/accuracy"}, "names a trial twice in along: a, b, a"),
        ("less", {"trial": "a", "than": ["b", "b"], "metric": "test/loss"}, "names a trial twice in than"),
        ("less", {"trial": "a", "than": ["b", "a"], "metric": "test/loss"}, "compares a with itself"),
        ("slower", {"trial": "a", "than": ["a"]}, "compares a with itself"),
        ("less", {"trial": "a", "than": ["b"], "metric": "gap/accuracy", "ratio": True}, "may be negative"),
    ],
)
def test_a_claim_says_what_it_has_too_much(kind: str, keys: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        claim(kind, **keys)


def test_the_sentence_is_of_the_comparison_that_decides() -> None:
    claimed = claim("greater", trial="a", than=["b", "c"], metric="test/accuracy")
    finding = one(claimed, accuracies(a=[0.90, 0.901, 0.902], b=[0.91, 0.9111, 0.9119], c=[0.90, 0.95, 0.89]))
    assert finding.verdict == CONTRADICTED
    assert "of a is" in finding.sentence


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean greater"):
        claim("greatr")


def test_equal_within_a_margin() -> None:
    claimed = claim("equal_within", trial="a", than=["b"], metric="test/accuracy", margin=0.01)
    assert one(claimed, accuracies(a=[0.900, 0.902, 0.901], b=[0.901, 0.901, 0.901])).verdict == REPRODUCED
    assert one(claimed, accuracies(a=HIGH, b=LOW)).verdict == CONTRADICTED
    assert one(claimed, accuracies(a=[0.900, 0.912, 0.909], b=LOW)).verdict == INCONCLUSIVE
    to_a_number = claim("equal_within", trial="a", value=4.0, metric="prediction", margin=0.01)
    assert one(to_a_number, GivenEvidence({"a": {"prediction": [4.002, 4.001, 3.999]}})).verdict == REPRODUCED


def test_trends() -> None:
    rises, falls = (claim(kind, along=["a", "b", "c"], metric="test/accuracy") for kind in ("rises", "falls"))
    up = accuracies(a=[0.90, 0.91, 0.92], b=[0.92, 0.93, 0.94], c=[0.94, 0.951, 0.959])
    assert one(rises, up).verdict == REPRODUCED
    assert one(falls, up).verdict == CONTRADICTED
    assert one(rises, up).outcome.estimate == pytest.approx(0.02, abs=0.0005)  # type: ignore[union-attr]


def curves(ends: list[float]) -> list[list[float]]:
    return [[0.5, 0.3 + 0.001 * n, 0.35, end] for n, end in enumerate(ends)]


def test_overfitting_needs_a_gap_and_a_turn() -> None:
    claimed = claim("overfits", trial="a", than=["b"])
    gaps: Values = {"a": {"gap/accuracy": [0.05, 0.052, 0.051]}, "b": {"gap/accuracy": [0.01, 0.011, 0.012]}}
    finding = one(claimed, GivenEvidence(gaps, {"a": curves([0.40, 0.41, 0.42])}))
    assert finding.verdict == REPRODUCED
    assert "lowest after epoch 2 of 4" in finding.sentence
    assert one(claimed, GivenEvidence(gaps, {"a": curves([0.20, 0.21, 0.22])})).verdict == CONTRADICTED
    assert one(claimed, GivenEvidence(gaps, {"a": curves([0.30, 0.40, 0.35])})).verdict == INCONCLUSIVE
    stopped = [[*curve, 0.5][: 4 + n] for n, curve in enumerate(curves([0.40, 0.41, 0.42]))]
    assert "of 4" in one(claimed, GivenEvidence(gaps, {"a": stopped})).sentence, "runs may end at different epochs"
    assert (
        one(claimed, GivenEvidence({"a": gaps["b"], "b": gaps["a"]}, {"a": curves([0.4, 0.41, 0.42])})).verdict
        == CONTRADICTED
    )


def test_a_remedy_must_not_cost_accuracy() -> None:
    claimed = claim("reduces_overfitting", trial="a", than=["b"])

    def with_accuracy(ours: list[float]) -> GivenEvidence:
        base = {"gap/accuracy": [0.06, 0.062, 0.061], "test/accuracy": LOW}
        return GivenEvidence({"a": {"gap/accuracy": [0.02, 0.022, 0.021], "test/accuracy": ours}, "b": base})

    assert one(claimed, with_accuracy(HIGH)).verdict == REPRODUCED
    assert one(claimed, with_accuracy([0.870, 0.872, 0.871])).verdict == CONTRADICTED
    assert one(claimed, with_accuracy([0.890, 0.905, 0.900])).verdict == INCONCLUSIVE


def test_speed_is_a_ratio_of_paired_rounds() -> None:
    times = {"a": [2.0, 2.4, 3.0], "b": [1.0, 1.2, 1.5]}
    slower, faster = (claim(kind, trial="a", than=["b"]) for kind in ("slower", "faster"))
    finding = one(slower, GivenEvidence({}, times=times))
    assert finding.verdict == REPRODUCED
    assert finding.outcome is not None
    assert finding.outcome.estimate == pytest.approx(2.0)
    assert one(faster, GivenEvidence({}, times=times)).verdict == CONTRADICTED


def test_a_metric_says_what_it_measures() -> None:
    metrics = ("test/accuracy", "gap/accuracy", "train/loss@3", "test/accuracy/T-shirt_top", "epochs", "prediction")
    assert [quantity_of(metric) for metric in metrics] == ["accuracy", "accuracy", "loss", "accuracy", *metrics[-2:]]
    assert quantity_of("gradient_norm/accuracy") == "gradient_norm", "of a layer that somebody calls so"


@pytest.mark.parametrize(
    ("kind", "trial", "margin", "verdict"),
    [
        ("greater", "a", 0.9, REPRODUCED),
        ("greater", "a", 1.1, CONTRADICTED),
        ("less", "b", 0.9, REPRODUCED),
        ("less", "b", 1.1, CONTRADICTED),
        ("slower", "a", 0.9, REPRODUCED),
        ("slower", "a", 1.1, CONTRADICTED),
        ("faster", "b", 0.9, REPRODUCED),
        ("faster", "b", 1.1, CONTRADICTED),
    ],
)
def test_a_margin_of_a_ratio_is_a_share_of_the_smaller(kind: str, trial: str, margin: float, verdict: str) -> None:
    values = {"a": [2.0, 2.4, 3.01], "b": [1.0, 1.2, 1.5]}
    (other,) = set(values) - {trial}
    keys: dict[str, object] = {} if KINDS[kind].is_timed else {"metric": "test/loss", "ratio": True}
    evidence = GivenEvidence({name: {"test/loss": each} for name, each in values.items()}, times=values)
    finding = one(claim(kind, trial=trial, than=[other], margin=margin, **keys), evidence)
    assert finding.verdict == verdict
    assert finding.outcome is not None
    assert finding.outcome.estimate == pytest.approx(2.0 if trial == "a" else 0.5, rel=0.01), "the ratio itself"
    assert finding.outcome.low < finding.outcome.estimate < finding.outcome.high


def test_counts_are_shown_whole() -> None:
    parameters: Values = {"a": {"parameters": [2_370_282.0] * 3}, "b": {"parameters": [113_386.0] * 3}}
    finding = one(claim("greater", trial="a", than=["b"], metric="parameters", margin=1e6), GivenEvidence(parameters))
    assert finding.verdict == REPRODUCED
    assert "2,256,896 higher than b, between 2,256,896 and 2,256,896 (" in finding.sentence


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
    evidence = GivenEvidence({"a": {"epochs": epochs, "train/accuracy": accuracy}})
    assert one(claim("stops", trial="a"), evidence).verdict == verdict
