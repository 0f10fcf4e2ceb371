"""Claims: what our seeds say about a published sentence or number. Pure numpy and scipy: evidence in, findings out.

A claim is judged over seeds, paired where two configs are compared: Student's t on the differences, and on the slopes
for a trend. The two-sided p-values of all claims of an ablation are corrected together (Holm 1979, with directional
decisions as in Shaffer 1980), so that the chance of any wrong verdict among them is at most 1 - confidence. Published
numbers are corrected among themselves in the same way, so that the chance of calling any further run of ours
contradicted is at most that; REPRODUCED says only that a number cannot be told apart from a further run of ours, known
to within a few tolerances. Below `min_seeds` seeds there is no verdict.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import NamedTuple, Protocol

import numpy as np

from pipeline.config.schema import ConfigError, require, require_one_of

REPRODUCED, CONTRADICTED, INCONCLUSIVE = "REPRODUCED", "CONTRADICTED", "INCONCLUSIVE"
NEAR = "near"
# A published number inside a prediction interval of more than so many tolerances to either side proves nothing.
WIDEST = 3.0


@dataclass
class ClaimConfig:
    """One published sentence and how it is tested. conf/ablation/filter_count.yaml shows some.

    `trial` is compared with each of `than`, or with `value`, in `metric`; a trend goes `along` several trials.
    """

    says: str
    kind: str
    reference: str = ""
    source: list[str] = field(default_factory=list)
    trial: str | None = None
    than: list[str] = field(default_factory=list)
    value: float | None = None
    along: list[str] = field(default_factory=list)
    metric: str | None = None
    margin: float | None = None

    def __post_init__(self) -> None:
        """Check; raise ConfigError."""
        require_one_of("kind of a claim", self.kind, KINDS)
        needed = NEEDED[self.kind]
        for key in ("trial", "than", "along", "metric", "margin"):
            given = getattr(self, key) not in (None, [])
            if key in needed.split() and not (given or (key == "than" and self.value is not None)):
                raise ConfigError(f"the claim '{self.says}' ({self.kind}) has no {key}")
            if given and key not in needed.split() + OPTIONAL.get(self.kind, "").split():
                raise ConfigError(f"the claim '{self.says}': {key} has no meaning for the kind {self.kind}")
        told = f"the claim '{self.says}' ({self.kind})"
        if self.value is not None and (self.than or self.kind not in ("greater", "less", "equal_within")):
            raise ConfigError(f"{told}: value has a meaning only for greater, less and equal_within, and without than")
        if len(self.than) > 1 and self.kind not in ("greater", "less"):
            raise ConfigError(f"{told} is compared with one trial, not with {', '.join(self.than)}")
        if self.along and len(set(self.along)) < 2:
            raise ConfigError(f"{told} goes along at least two trials")
        for key in ("margin", "value"):
            number = getattr(self, key)
            require(number is None or math.isfinite(number), f"{key} of {told}", number, "a finite number")
        require(self.margin is None or self.margin >= 0, f"margin of {told}", self.margin, "a number from 0")

    @property
    def trials(self) -> list[str]:
        """Labels of all trials that it names."""
        return [*([self.trial] if self.trial else []), *self.than, *self.along]


@dataclass
class StatisticsConfig:
    """How published numbers and claims are judged. conf/ablation.yaml explains each key."""

    confidence: float
    min_seeds: int
    tolerance: dict[str, float]
    harmless: float

    def __post_init__(self) -> None:
        """Check ranges; raise ConfigError."""
        inside = 0.5 < self.confidence < 1
        require(inside, "statistics.confidence", self.confidence, "above 0.5 and below 1")
        require(self.min_seeds >= 3, "statistics.min_seeds", self.min_seeds, "a whole number from 3")
        for name, value in self.tolerance.items():
            require(value >= 0, f"statistics.tolerance.{name}", value, "a number from 0")
        require(self.harmless >= 0, "statistics.harmless", self.harmless, "a number from 0")


class Evidence(Protocol):
    """What our runs gave, by trial."""

    def values(self, trial: str, metric: str) -> dict[int, float]:
        """The metric's last value, or with NAME@EPOCH that epoch's, by seed."""

    def curve(self, trial: str, metric: str) -> dict[int, list[float]]:
        """The metric after each epoch, by seed."""

    def rounds(self, trial: str) -> list[float]:
        """Seconds per epoch, timed side by side with the other trials, round by round."""

    def target(self, trial: str) -> tuple[int, float]:
        """Epochs that the trial was allowed, and the training accuracy at which it was to stop."""

    def resolution(self, trial: str, metric: str) -> float:
        """The smallest difference that the metric can show: one example of an accuracy, one epoch."""


@dataclass(frozen=True)
class Outcome:
    """What one test gave, before its p-value is corrected for the others'.

    Attributes:
        estimate, low, high: In the unit of `unit`, with the interval of the configured confidence.
        n: Seeds, or rounds of timing.
        p: Two-sided p-value of the direction that the evidence points to; of `equal_within` the two one-sided tests'.
        supports: Whether the evidence points to the claim (True) or against it (False).
        told: What was measured, in words.
        vague: Why even a small p-value decides nothing; empty if it does.
    """

    estimate: float
    low: float
    high: float
    n: int
    p: float
    supports: bool
    told: str
    unit: str = ""
    vague: str = ""


@dataclass(frozen=True)
class Question:
    """What is judged: a claim, or a published number (kind `near`)."""

    name: str
    says: str
    kind: str
    reference: str
    source: list[str]
    trials: list[str]


@dataclass(frozen=True)
class Finding:
    """What our seeds say about one claim or published number.

    Attributes:
        question: The claim, or the published number.
        verdict: REPRODUCED, CONTRADICTED or INCONCLUSIVE.
        sentence: Its reason in plain words.
        outcome: What the test gave; None where there were too few seeds for one.
        p_adjusted: The outcome's p-value after Holm's correction within the family (claims, or published numbers).
    """

    question: Question
    verdict: str
    sentence: str
    outcome: Outcome | None = None
    p_adjusted: float | None = None

    def as_dict(self) -> dict[str, object]:
        """All of it as one flat dictionary, for JSON."""
        told = ("estimate", "low", "high", "unit", "n", "p")
        measured = {key: getattr(self.outcome, key) if self.outcome else None for key in told}
        return (
            asdict(self.question)
            | {"verdict": self.verdict, "sentence": self.sentence}
            | measured
            | {"p_adjusted": self.p_adjusted}
        )


@dataclass(frozen=True)
class Published:
    """A published number: where it stands, of which trial and metric."""

    trial: str
    metric: str
    source: str
    value: float

    @property
    def name(self) -> str:
        """Unique within the ablation."""
        return f"{self.trial} {self.metric} {self.source}"


def judge(claims: Mapping[str, ClaimConfig], evidence: Evidence, settings: StatisticsConfig) -> list[Finding]:
    """A finding per claim, in order; p-values corrected over all of them."""
    asked = [(_question(name, claim), KINDS[claim.kind](claim, evidence, settings)) for name, claim in claims.items()]
    return _decide(asked, settings)


def judge_published(published: Sequence[Published], evidence: Evidence, settings: StatisticsConfig) -> list[Finding]:
    """A finding per published number, in order; p-values corrected over all of them."""
    asked = [(_question_of(told), _near(told, evidence, settings)) for told in published]
    return _decide(asked, settings)


def told_counts(verdicts: Iterable[str]) -> str:
    """How many of each verdict, in words: `5 REPRODUCED, 1 CONTRADICTED`; empty for none."""
    counts = Counter(verdicts)
    return ", ".join(f"{counts[v]} {v}" for v in (REPRODUCED, CONTRADICTED, INCONCLUSIVE) if counts[v])


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down adjusted p-values, in the order given.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, at in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[at]))
        adjusted[at] = highest
    return adjusted


class MeanTest(NamedTuple):
    """A mean, its interval, and the two-sided p-value of Student's t-test that it is 0."""

    mean: float
    low: float
    high: float
    p: float


def t_quantile(p: float, freedom: int) -> float:
    """Student's t with probability `p` below it; of scipy.special, which imports in a third of scipy.stats's time."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, p))


def t_tail(t: float, freedom: int) -> float:
    """Probability of a Student's t above `t`."""
    from scipy.special import stdtr

    return float(stdtr(freedom, -t))


def mean_test(values: Sequence[float], settings: StatisticsConfig, resolution: float = 1e-6) -> MeanTest:
    """Student's t-test of the mean of at least two values, with a standard deviation of at least `resolution`.

    Values that are counts of few examples tie by chance: without that, three equal ones would be certain.
    """
    mean, error, n = float(np.mean(values)), deviation(values, resolution) / len(values) ** 0.5, len(values)
    half = t_quantile((1 + settings.confidence) / 2, n - 1) * error
    return MeanTest(mean, mean - half, mean + half, 2 * t_tail(abs(mean) / error, n - 1))


def interval_of(values: Sequence[float], settings: StatisticsConfig) -> tuple[float, float] | None:
    """The interval of the mean; None for less than two values."""
    if len(values) < 2:
        return None
    found = mean_test(values, settings, resolution=0.0) if len(set(values)) > 1 else None
    return (found.low, found.high) if found else (float(values[0]), float(values[0]))


def deviation(values: Sequence[float], resolution: float) -> float:
    """Sample standard deviation (n - 1), at least `resolution`."""
    return max(float(np.std(values, ddof=1)), resolution)


def turn(curves: Sequence[Sequence[float]]) -> int:
    """Epoch, from 1, at which the mean of the curves is lowest, among epochs that all of them have."""
    shortest = min(map(len, curves))
    return int(np.mean([list(curve[:shortest]) for curve in curves], axis=0).argmin()) + 1


# -- kinds ------------------------------------------------------------------------------------------------------------


def _near(told: Published, evidence: Evidence, settings: StatisticsConfig) -> Outcome | str:
    """Whether a published number is a plausible draw from our seeds: prediction interval for one further run.

    mean +- t * s * sqrt(1 + 1/n), with the tolerance added on both sides. The p-value is that of a number at least so
    far beyond the tolerance.
    """
    values = list(evidence.values(told.trial, told.metric).values())
    if few := _too_few(len(values), settings):
        return few
    word, n, mean = _word(told.metric), len(values), float(np.mean(values))
    tolerance = settings.tolerance.get(word, 0.0) * (1.0 if word == "accuracy" else abs(told.value))
    error = deviation(values, evidence.resolution(told.trial, told.metric)) * (1 + 1 / n) ** 0.5
    half = t_quantile((1 + settings.confidence) / 2, n - 1) * error + tolerance
    inside = abs(told.value - mean) <= half
    p = 2 * t_tail(max(0.0, abs(told.value - mean) - tolerance) / error, n - 1)
    words = f"ours: {_number(mean)}, a further run between {_number(mean - half)} and {_number(mean + half)}"
    wide = inside and half > WIDEST * tolerance > 0
    vague = "our seeds scatter too widely to tell" if wide else ""
    return Outcome(mean, mean - half, mean + half, n, p, inside, words, told.metric, vague)


def _compare(claim: ClaimConfig, evidence: Evidence, settings: StatisticsConfig, sign: int) -> Outcome | str:
    """Whether `trial` lies above (sign 1) or below (-1) each of `than`, or `value`, by more than the margin."""
    pairs = _paired(claim, evidence)
    if few := _too_few(min(len(d) for d in pairs.values()), settings):
        return few
    shift, fineness = claim.margin or 0.0, _resolution(claim, evidence)
    tests = {
        other: mean_test([sign * d - shift for d in differences], settings, fineness)
        for other, differences in pairs.items()
    }
    # For: every comparison has to hold. Against: one that fails is enough, and any of them may.
    failing = [other for other in tests if tests[other].mean <= 0]
    supports = not failing
    decisive = max(tests, key=lambda o: tests[o].p) if supports else min(failing, key=lambda o: tests[o].p)
    mean, low, high, p = tests[decisive]
    estimate = sign * (mean + shift)
    low, high = sorted((sign * (low + shift), sign * (high + shift)))
    words = f"{claim.metric} of {claim.trial} minus {decisive}: {_interval(estimate, low, high)}"
    if len(tests) > 1:
        words += f", the {'hardest' if supports else 'clearest failure'} of {len(tests)} comparisons"
    p = p if supports else min(1.0, p * len(tests))
    return Outcome(estimate, low, high, len(pairs[decisive]), p, supports, words, claim.metric or "")


def _equal_within(claim: ClaimConfig, evidence: Evidence, settings: StatisticsConfig) -> Outcome | str:
    """Whether the mean difference lies within +- margin: two one-sided t-tests (Schuirmann 1987)."""
    ((other, differences),) = _paired(claim, evidence).items()
    if few := _too_few(len(differences), settings):
        return few
    assert claim.margin is not None
    mean, low, high, _ = mean_test(differences, settings, _resolution(claim, evidence))
    n = len(differences)
    error = deviation(differences, _resolution(claim, evidence)) / n**0.5
    inside = abs(mean) <= claim.margin
    room = abs(claim.margin - abs(mean)) / error
    far = (claim.margin + abs(mean)) / error
    p = max(t_tail(room, n - 1), t_tail(far, n - 1)) if inside else 2 * t_tail(room, n - 1)
    words = f"{claim.metric} of {claim.trial} minus {other}: {_interval(mean, low, high)}; margin {claim.margin:g}"
    return Outcome(mean, low, high, n, p, inside, words, claim.metric or "")


def _trend(claim: ClaimConfig, evidence: Evidence, settings: StatisticsConfig, sign: int) -> Outcome | str:
    """Whether the metric rises (sign 1) or falls (-1) along the trials: t-test on each seed's least-squares slope."""
    assert claim.metric is not None
    columns = [evidence.values(trial, claim.metric) for trial in claim.along]
    seeds = sorted(set.intersection(*(set(column) for column in columns)))
    if few := _too_few(len(seeds), settings):
        return few
    slopes = [_slope([column[seed] for column in columns]) for seed in seeds]
    mean, low, high, p = mean_test(slopes, settings, _resolution(claim, evidence) / len(columns))
    words = f"{claim.metric} per step along {', '.join(claim.along)}: {_interval(mean, low, high)}"
    return Outcome(mean, low, high, len(seeds), p, sign * mean > 0, words, f"{claim.metric} per step")


def _overfits(claim: ClaimConfig, evidence: Evidence, settings: StatisticsConfig) -> Outcome | str:
    """Whether the gap train_eval - test is above 0, or grew since `than`, and test loss rises in the end.

    The rise is each seed's least-squares slope over the second half of its epochs: chosen beforehand, where the epoch
    with the lowest loss, which is told beside it, is chosen by the noise.
    """
    assert claim.trial is not None
    gaps = evidence.values(claim.trial, "gap/accuracy")
    before = evidence.values(claim.than[0], "gap/accuracy") if claim.than else dict.fromkeys(gaps, 0.0)
    curves = {seed: curve for seed, curve in evidence.curve(claim.trial, "test/loss").items() if len(curve) >= 4}
    seeds = sorted(set(gaps) & set(before) & set(curves))
    if few := _too_few(len(seeds), settings):
        return f"{few}, of at least four epochs each"
    fineness = max(evidence.resolution(trial, "gap/accuracy") for trial in claim.trials)
    growth = mean_test([gaps[seed] - before[seed] for seed in seeds], settings, fineness)
    rise = mean_test([_slope(curves[seed][len(curves[seed]) // 2 :]) for seed in seeds], settings)
    supports = growth.mean > 0 and rise.mean > 0
    wrong = [test.p for test in (growth, rise) if test.mean <= 0]
    p = max(growth.p, rise.p) if supports else min(1.0, 2 * min(wrong))
    onset, last = turn([curves[seed] for seed in seeds]), min(len(curves[seed]) for seed in seeds)
    since = f" above {claim.than[0]}'s" if claim.than else ""
    words = (
        f"gap{since}: {_interval(growth.mean, growth.low, growth.high)}; test loss is lowest after epoch {onset} of "
        f"{last}, and over the second half of the epochs changes by {rise.mean:+.4f} per epoch"
    )
    return Outcome(growth.mean, growth.low, growth.high, len(seeds), p, supports, words, "gap/accuracy")


def _slope(values: Sequence[float]) -> float:
    """Least-squares slope per step."""
    return float(np.polyfit(np.arange(len(values)), values, 1)[0])


def _reduces_overfitting(claim: ClaimConfig, evidence: Evidence, settings: StatisticsConfig) -> Outcome | str:
    """Whether the gap is smaller than the baseline's and test accuracy no lower by more than `harmless`."""
    assert claim.trial is not None
    base = claim.than[0]
    found = {}
    for metric in ("gap/accuracy", "test/accuracy"):
        ours, theirs = evidence.values(claim.trial, metric), evidence.values(base, metric)
        seeds = sorted(set(ours) & set(theirs))
        if few := _too_few(len(seeds), settings):
            return few
        found[metric] = [ours[seed] - theirs[seed] for seed in seeds]
    fine = {metric: max(evidence.resolution(trial, metric) for trial in claim.trials) for metric in found}
    gap = mean_test(found["gap/accuracy"], settings, fine["gap/accuracy"])
    accuracy = mean_test(found["test/accuracy"], settings, fine["test/accuracy"])
    kept = mean_test([d + settings.harmless for d in found["test/accuracy"]], settings, fine["test/accuracy"])
    supports = gap.mean < 0 and kept.mean > 0
    wrong = [p for p, bad in ((gap.p, gap.mean >= 0), (kept.p, kept.mean <= 0)) if bad]
    p = max(gap.p, kept.p) if supports else min(1.0, 2 * min(wrong))
    words = (
        f"gap against {base}: {_interval(*gap[:3])}; test accuracy: {_interval(*accuracy[:3])} "
        f"(down to {-settings.harmless:g} counts as harmless)"
    )
    return Outcome(*gap[:3], len(found["gap/accuracy"]), p, supports, words, "gap/accuracy")


def _speed(claim: ClaimConfig, evidence: Evidence, settings: StatisticsConfig, sign: int) -> Outcome | str:
    """Whether an epoch takes longer (sign 1) or shorter (-1) than `than`'s: t-test on logarithms of paired ratios."""
    assert claim.trial is not None
    ours, theirs = evidence.rounds(claim.trial), evidence.rounds(claim.than[0])
    n = min(len(ours), len(theirs))
    if n < settings.min_seeds:
        return f"timed side by side {n} times; a verdict needs at least {settings.min_seeds}"
    logs = [float(np.log(a / b)) for a, b in zip(ours, theirs, strict=False)]
    mean, low, high, p = mean_test(logs, settings)
    ratio, least, most = (float(np.exp(x)) for x in (mean, low, high))
    words = (
        f"seconds per epoch of {claim.trial} over {claim.than[0]}, timed in turn: "
        f"{ratio:.2f} times, interval {least:.2f} to {most:.2f}"
    )
    return Outcome(ratio, least, most, n, p, sign * mean > 0, words, "times as long per epoch")


def _stops(claim: ClaimConfig, evidence: Evidence, settings: StatisticsConfig) -> Outcome | str:
    """Whether training accuracy reached its target before the last epoch allowed, with every seed; or with none."""
    assert claim.trial is not None
    epochs = evidence.values(claim.trial, "epochs")
    limit, target = evidence.target(claim.trial)
    if few := _too_few(len(epochs), settings):
        return few
    mean, low, high, _ = mean_test(list(epochs.values()), settings, evidence.resolution(claim.trial, "epochs"))
    reached = evidence.values(claim.trial, "train/accuracy")
    stopped = [seed for seed in epochs if reached[seed] >= target]
    if not stopped:
        fineness = evidence.resolution(claim.trial, "train/accuracy")
        missed = mean_test([target - value for value in reached.values()], settings, fineness)
        ended = _number(float(np.mean(list(reached.values()))))
        words = f"no seed stopped within {limit} epochs; training accuracy ended at {ended}, below {target:g}"
        return Outcome(mean, low, high, len(epochs), missed.p, False, words, "epochs")
    early = mean_test([limit + 1 - value for value in epochs.values()], settings, 1.0)
    words = f"{len(stopped)} of {len(epochs)} seeds stopped, after {_interval(mean, low, high, 1)} of {limit} epochs"
    vague = "" if len(stopped) == len(epochs) else "not every seed stopped"
    return Outcome(mean, low, high, len(epochs), early.p, True, words, "epochs", vague)


Kind = Callable[[ClaimConfig, Evidence, StatisticsConfig], "Outcome | str"]
KINDS: dict[str, Kind] = {
    "greater": lambda claim, evidence, settings: _compare(claim, evidence, settings, 1),
    "less": lambda claim, evidence, settings: _compare(claim, evidence, settings, -1),
    "equal_within": _equal_within,
    "rises": lambda claim, evidence, settings: _trend(claim, evidence, settings, 1),
    "falls": lambda claim, evidence, settings: _trend(claim, evidence, settings, -1),
    "overfits": _overfits,
    "reduces_overfitting": _reduces_overfitting,
    "slower": lambda claim, evidence, settings: _speed(claim, evidence, settings, 1),
    "faster": lambda claim, evidence, settings: _speed(claim, evidence, settings, -1),
    "stops": _stops,
}
TIMED = ("slower", "faster")
NEEDED = {
    "greater": "trial than metric",
    "less": "trial than metric",
    "equal_within": "trial than metric margin",
    "rises": "along metric",
    "falls": "along metric",
    "overfits": "trial",
    "reduces_overfitting": "trial than",
    "slower": "trial than",
    "faster": "trial than",
    "stops": "trial",
}
OPTIONAL = {"greater": "margin", "less": "margin", "overfits": "than"}


# -- verdicts ---------------------------------------------------------------------------------------------------------


def _question(name: str, claim: ClaimConfig) -> Question:
    return Question(name, claim.says, claim.kind, claim.reference, list(claim.source), claim.trials)


def _question_of(told: Published) -> Question:
    says = f"{told.metric} of {told.trial} is {_number(told.value)}"
    return Question(told.name, says, NEAR, told.name, [told.source], [told.trial])


def _decide(asked: list[tuple[Question, Outcome | str]], settings: StatisticsConfig) -> list[Finding]:
    """Correct the p-values for each other, and say what follows from them."""
    tested = [outcome for _, outcome in asked if isinstance(outcome, Outcome)]
    adjusted = iter(holm([outcome.p for outcome in tested]))
    found = []
    for question, outcome in asked:
        if isinstance(outcome, str):
            found.append(Finding(question, INCONCLUSIVE, outcome + "."))
            continue
        p = next(adjusted)
        verdict, why = _verdict(outcome, p, settings, question.kind, len(tested))
        n = f"n={outcome.n} {'rounds' if question.kind in TIMED else 'seeds'}"
        found.append(Finding(question, verdict, f"{outcome.told} ({n}){why}.", outcome, p))
    return found


def _verdict(outcome: Outcome, p: float, settings: StatisticsConfig, kind: str, family: int) -> tuple[str, str]:
    """The verdict, and what is to be added to the sentence for it."""
    if outcome.vague:
        return INCONCLUSIVE, f"; {outcome.vague}"
    if kind == NEAR and outcome.supports:
        return REPRODUCED, ""  # it lies inside the interval: there is nothing to reject
    after = f"p={p:.2g} after correction for {family} {'published numbers' if kind == NEAR else 'claims'}"
    if p >= 1 - settings.confidence:
        return INCONCLUSIVE, f"; {after}: not decided"
    return (REPRODUCED if outcome.supports else CONTRADICTED), f"; {after}"


def _paired(claim: ClaimConfig, evidence: Evidence) -> dict[str, list[float]]:
    """Differences of the trial to each of what it is compared with, paired by seed."""
    assert claim.trial is not None
    assert claim.metric is not None
    ours = evidence.values(claim.trial, claim.metric)
    if claim.value is not None:
        return {f"{claim.value:g}": [value - claim.value for value in ours.values()]}
    found = {}
    for other in claim.than:
        theirs = evidence.values(other, claim.metric)
        found[other] = [ours[seed] - theirs[seed] for seed in sorted(set(ours) & set(theirs))]
    return found


def _too_few(n: int, settings: StatisticsConfig) -> str:
    return "" if n >= settings.min_seeds else f"n={n} seeds; a verdict needs at least {settings.min_seeds}"


def _word(metric: str) -> str:
    return metric.partition("@")[0].rpartition("/")[2]


def _resolution(claim: ClaimConfig, evidence: Evidence) -> float:
    return max(evidence.resolution(trial, claim.metric or "") for trial in claim.trials)


def _number(value: float) -> str:
    return f"{value:.4f}"


def _interval(estimate: float, low: float, high: float, digits: int = 4) -> str:
    sign = "" if digits < 4 else "+"
    return f"{estimate:{sign}.{digits}f}, interval {low:{sign}.{digits}f} to {high:{sign}.{digits}f}"
