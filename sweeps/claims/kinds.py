"""Kinds of claims: which keys each needs, and which test judges it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from pipeline.config.checks import ConfigError, require_one_of
from sweeps.claims.config import ClaimConfig, StatisticsConfig
from sweeps.claims.evidence import Evidence, Outcome
from sweeps.claims.hypothesis_tests import compare, equal_within, overfits, reduces_overfitting, speed, stops, trend


@dataclass(frozen=True)
class Kind:
    """A kind of claim.

    Attributes:
        test: Tests a claim; raises TooFewError.
        needed, optional: Keys of the claim that have a meaning for it. `value`, if optional, may stand for `than`.
        metrics: What it is judged by, unless by the claim's own `metric`.
        is_timed: Whether it compares seconds per epoch, which have to be timed side by side.
        is_of_one: Whether each of its trials is a single one, not the mean over several of a grid.
        is_slow: Whether it says that there is no, or no large, difference: that takes the most seeds.
    """

    test: Callable[[ClaimConfig, Evidence, StatisticsConfig], Outcome]
    needed: tuple[str, ...]
    optional: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    is_timed: bool = False
    is_of_one: bool = False
    is_slow: bool = False


COMPARISON = (("trial", "than", "metric"), ("margin", "value", "than_metric", "ratio"))
MAY_BE_NEGATIVE = ("gap", "prediction")
TIMED = (("trial", "than"), ("margin",))
KINDS = {
    "greater": Kind(partial(compare, sign=1), *COMPARISON),
    "less": Kind(partial(compare, sign=-1), *COMPARISON),
    "equal_within": Kind(equal_within, ("trial", "than", "metric", "margin"), ("value",), is_slow=True),
    "rises": Kind(partial(trend, sign=1), ("along", "metric")),
    "falls": Kind(partial(trend, sign=-1), ("along", "metric")),
    "overfits": Kind(overfits, ("trial",), ("than",), metrics=("gap/accuracy", "test/loss"), is_of_one=True),
    "reduces_overfitting": Kind(
        reduces_overfitting, ("trial", "than"), metrics=("gap/accuracy", "test/accuracy"), is_slow=True
    ),
    "slower": Kind(partial(speed, sign=1), *TIMED, is_timed=True, is_of_one=True),
    "faster": Kind(partial(speed, sign=-1), *TIMED, is_timed=True, is_of_one=True),
    "stops": Kind(stops, ("trial",), metrics=("train/accuracy",), is_of_one=True),
}


def check_claim(claim: ClaimConfig) -> None:
    """Raise ConfigError unless the claim's kind exists and it has the keys that the kind needs, and no others."""
    require_one_of("kind of a claim", claim.kind, KINDS)
    kind = KINDS[claim.kind]
    keys = ("trial", "than", "along", "metric", "than_metric", "margin", "value", "ratio")
    given = [key for key in keys if (value := getattr(claim, key)) not in (None, []) and value is not False]
    for key in kind.needed:
        if key not in given and not (key == "than" and "value" in given):
            raise ConfigError(f"{claim} has no {key}")
    for key in given:
        if key not in kind.needed + kind.optional:
            raise ConfigError(f"{claim}: {key} has no meaning for the kind {claim.kind}")
    if "value" in given and ("than" in given or "than_metric" in given):
        raise ConfigError(f"{claim} is compared with trials or with a value: give than or value")
    if claim.ratio and claim.value is not None and claim.value <= 0:
        raise ConfigError(f"{claim} is compared by ratio: its value must be above 0")
    if len(claim.than) > 1 and claim.kind not in ("greater", "less"):
        raise ConfigError(f"{claim} takes a single trial in than, not {', '.join(claim.than)}")
    if claim.along and len(set(claim.along)) < 2:
        raise ConfigError(f"{claim} needs at least two trials in along")
    for key, labels in (("than", claim.than), ("along", claim.along)):
        if len(set(labels)) < len(labels):
            raise ConfigError(f"{claim} names a trial twice in {key}: {', '.join(labels)}")
    if claim.trial in claim.than and claim.than_metric in (None, claim.metric):
        raise ConfigError(f"{claim} compares {claim.trial} with itself")
    for metric in filter(None, (claim.metric, claim.than_metric)):
        if claim.ratio and metric.startswith(MAY_BE_NEGATIVE):
            raise ConfigError(f"{claim} is compared by ratio: {metric} may be negative, which has none")


def claim_metrics(claim: ClaimConfig, trial: str) -> list[str]:
    """Return the metrics of a trial by which the claim is judged."""
    own = [claim.metric] if trial in (claim.trial, *claim.along) else []
    others = [claim.than_metric or claim.metric] if trial in claim.than else []
    metrics = KINDS[claim.kind].metrics if trial in claim.trials else ()
    return [metric for metric in (*metrics, *own, *others) if metric]
