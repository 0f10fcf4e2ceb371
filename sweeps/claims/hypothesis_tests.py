"""How our seeds test each kind of claim, and a published number: evidence in, outcomes out.

A claim is tested over seeds, paired if two configs are compared: Student's t on the differences, and on the slopes for
a trend. sweeps.claims.verdicts says what follows from the p-values of all claims together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sweeps.claims.config import LEAST_SEEDS, ClaimConfig, Published, StatisticsConfig, quantity_of
from sweeps.claims.evidence import Evidence, Outcome, TooFewError
from sweeps.claims.statistics import MeanTest, deviation, mean_test, slope, t_quantile, t_tail, turn
from sweeps.claims.words import COUNTS, difference_in_words, metric_in_words, ratio_in_words

# A published number inside a prediction interval of more than so many tolerances to either side proves nothing.
WIDEST = 3.0
# What a claim of two parts says of the one that an outcome's estimate shows: nothing by itself.
EVERYWHERE = (-np.inf, np.inf)


def near(published: Published, evidence: Evidence, settings: StatisticsConfig) -> Outcome:
    """Test whether a published number is a plausible draw from our seeds: prediction interval for one further run.

    mean +- t * s * sqrt(1 + 1/n), with the tolerance added on both sides. The p-value is that of a number at least so
    far beyond the tolerance.
    """
    values = list(evidence.values(published.trial, published.metric).values())
    _require_seeds(len(values))
    quantity, n, mean = quantity_of(published.metric), len(values), float(np.mean(values))
    tolerance = settings.tolerance.get(quantity, 0.0) * (1.0 if quantity == "accuracy" else abs(published.value))
    error = deviation(values, evidence.resolution(published.trial, published.metric)) * (1 + 1 / n) ** 0.5
    half = t_quantile((1 + settings.confidence) / 2, n - 1) * error + tolerance
    distance = abs(published.value - mean)
    is_inside, p = distance <= half, 2 * t_tail(max(0.0, distance - tolerance) / error, n - 1)
    summary = f"ours {mean:.4f}, a further run between {mean - half:.4f} and {mean + half:.4f}"
    vague = "our seeds scatter too widely to tell" if is_inside and half > WIDEST * tolerance > 0 else ""
    claimed = (published.value, published.value)
    return Outcome(mean, mean - half, mean + half, n, p, is_inside, summary, published.metric, claimed, vague)


def compare(claim: ClaimConfig, evidence: Evidence, settings: StatisticsConfig, sign: int) -> Outcome:
    """Test whether `trial` lies above (sign 1) or below (-1) each of `than`, or `value`, by more than the margin."""
    if claim.ratio:
        return _compare_ratios(claim, evidence, settings, sign)
    margin, differences = claim.margin or 0.0, _differences(claim, evidence)
    it = _hardest(claim, differences, margin, sign, settings, _finest(claim, evidence))
    summary = f"{_of_trial(claim)} is {difference_in_words(*it.interval, f' than {it.other}')}{it.among}"
    claimed = (margin, np.inf) if sign > 0 else (-np.inf, -margin)
    return Outcome(*it.interval, it.n, it.p, it.supports, summary, claim.metric or "", claimed)


def _compare_ratios(claim: ClaimConfig, evidence: Evidence, settings: StatisticsConfig, sign: int) -> Outcome:
    """Test the same by how many times as much it is: t-test on logs of paired ratios, the margin a share.

    A value below what the metric can show counts as that: it may be 0.
    """
    margin, finest = float(np.log1p(claim.margin or 0.0)), _finest(claim, evidence)
    logs = _differences(claim, evidence, lambda value: float(np.log(max(value, finest))))
    it = _hardest(claim, logs, margin, sign, settings)
    interval, claimed = _as_ratios(it, margin, sign)
    summary = f"{_of_trial(claim)} is {ratio_in_words(*interval, f' as {it.other}')}{it.among}"
    return Outcome(*interval, it.n, it.p, it.supports, summary, f"ratio of {claim.metric}", claimed, neutral=1.0)


def _as_ratios(it: _Comparison, margin: float, sign: int) -> tuple[tuple[float, float, float], tuple[float, float]]:
    """Return the mean ratio with its interval, and which ratios a claim says, of a comparison of logarithms."""
    ratio, low, high = (float(np.exp(end)) for end in it.interval)
    return (ratio, low, high), (float(np.exp(margin)), np.inf) if sign > 0 else (0.0, float(np.exp(-margin)))


class _Comparison(NamedTuple):
    """The comparison of several that decides: with which other, its mean with interval, and how that came about."""

    other: str
    interval: tuple[float, float, float]
    n: int
    p: float
    supports: bool
    among: str


def _hardest(
    claim: ClaimConfig,
    differences: Mapping[str, Sequence[float]],
    margin: float,
    sign: int,
    settings: StatisticsConfig,
    resolution: float = 1e-6,
) -> _Comparison:
    """Return the hardest of the comparisons where all hold, else the clearest failure; p is that of all together."""
    _require_seeds(min(map(len, differences.values())), f" with {claim.metric}")  # which runs of before may lack
    tests = {
        other: _mean_test([sign * value - margin for value in values], settings, resolution)
        for other, values in differences.items()
    }
    supports, p = _all_hold([(test.p, test.mean > 0) for test in tests.values()])
    by_p = sorted((other for other in tests if (tests[other].mean > 0) == supports), key=lambda other: tests[other].p)
    other = by_p[-1 if supports else 0]
    mean, *ends = (sign * (end + margin) for end in tests[other][:3])
    among = (
        f", the {'hardest' if supports else 'clearest failure'} of {len(tests)} comparisons" if len(tests) > 1 else ""
    )
    return _Comparison(other, (mean, min(ends), max(ends)), len(differences[other]), p, supports, among)


def equal_within(claim: ClaimConfig, evidence: Evidence, settings: StatisticsConfig) -> Outcome:
    """Test whether the mean difference lies within +- margin: two one-sided t-tests (Schuirmann 1987)."""
    ((other, differences),) = _differences(claim, evidence).items()
    test = _mean_test(differences, settings, _resolution(claim, evidence, claim.metric))
    n, margin, distance = len(differences), claim.margin or 0.0, abs(test.mean)
    nearest = t_tail(abs(margin - distance) / test.error, n - 1)
    is_inside = distance <= margin
    p = max(nearest, t_tail((margin + distance) / test.error, n - 1)) if is_inside else 2 * nearest
    summary = f"{_of_trial(claim)} is {difference_in_words(*test[:3], f' than {other}')}; margin {margin:g}"
    return Outcome(*test[:3], n, p, is_inside, summary, claim.metric or "", (-margin, margin))


def trend(claim: ClaimConfig, evidence: Evidence, settings: StatisticsConfig, sign: int) -> Outcome:
    """Test whether the metric rises (sign 1) or falls (-1) along the trials: t-test on each seed's slope."""
    columns = [evidence.values(trial, claim.metric or "") for trial in claim.along]
    slopes = [slope([column[seed] for column in columns]) for seed in _common(*columns)]
    test = _mean_test(slopes, settings, _resolution(claim, evidence, claim.metric) / len(columns))
    metric = metric_in_words(claim.metric or "")
    summary = f"{metric} is {difference_in_words(*test[:3], ' per step')}, along {', '.join(claim.along)}"
    claimed = (0.0, np.inf) if sign > 0 else (-np.inf, 0.0)
    return Outcome(*test[:3], len(slopes), test.p, sign * test.mean > 0, summary, f"{claim.metric} per step", claimed)


def overfits(claim: ClaimConfig, evidence: Evidence, settings: StatisticsConfig) -> Outcome:
    """Test whether the gap train_eval - test is above 0, or grew since `than`, and test loss rises in the end.

    The rise is each seed's least-squares slope over the second half of its epochs: chosen beforehand, noise chooses
    the epoch with the lowest loss, which the summary gives too.
    """
    trial = claim.trial or ""
    gaps = evidence.values(trial, "gap/accuracy")
    before = evidence.values(claim.than[0], "gap/accuracy") if claim.than else dict.fromkeys(gaps, 0.0)
    by_seed = {seed: curve for seed, curve in evidence.curve(trial, "test/loss").items() if len(curve) >= 4}
    seeds = _common(gaps, before, by_seed)
    _require_seeds(len(seeds), ", of at least four epochs each")
    curves = [by_seed[seed] for seed in seeds]
    resolution = _resolution(claim, evidence, "gap/accuracy")
    growth = _mean_test([gaps[seed] - before[seed] for seed in seeds], settings, resolution)
    rise = _mean_test([slope(curve[len(curve) // 2 :]) for curve in curves], settings)
    supports, p = _all_hold([(test.p, test.mean > 0) for test in (growth, rise)])
    since = f" than {claim.than[0]}'s" if claim.than else " than 0"
    summary = (
        f"gap is {difference_in_words(*growth[:3], since)}; test loss is lowest after epoch {turn(curves)} of "
        f"{min(map(len, curves))}, and over the second half of the epochs changes by {rise.mean:+.4f} per epoch"
    )
    return Outcome(*growth[:3], len(seeds), p, supports, summary, "gap/accuracy", EVERYWHERE)


def reduces_overfitting(claim: ClaimConfig, evidence: Evidence, settings: StatisticsConfig) -> Outcome:
    """Test whether the gap is smaller than the baseline's and test accuracy no lower by more than `harmless`."""
    (baseline,) = claim.than

    def test(metric: str, shift: float = 0.0) -> tuple[MeanTest, int]:
        ours, theirs = evidence.values(claim.trial or "", metric), evidence.values(baseline, metric)
        differences = [ours[seed] - theirs[seed] + shift for seed in _common(ours, theirs)]
        return _mean_test(differences, settings, _resolution(claim, evidence, metric)), len(differences)

    gap, n = test("gap/accuracy")
    accuracy, _ = test("test/accuracy")
    harmless, _ = test("test/accuracy", settings.harmless)
    supports, p = _all_hold([(gap.p, gap.mean < 0), (harmless.p, harmless.mean > 0)])
    summary = (
        f"gap is {difference_in_words(*gap[:3], f' than {baseline}')}; test accuracy is "
        f"{difference_in_words(*accuracy[:3])} ({settings.harmless:g} lower counts as harmless)"
    )
    return Outcome(*gap[:3], n, p, supports, summary, "gap/accuracy", EVERYWHERE)


def speed(claim: ClaimConfig, evidence: Evidence, settings: StatisticsConfig, sign: int) -> Outcome:
    """Test whether an epoch takes longer (sign 1) or shorter (-1) than `than`'s: t-test on logs of paired ratios.

    By more than the margin, a share of the shorter epoch: with 1.0 an epoch has to take more than twice as long.
    """
    (other,), margin = claim.than, float(np.log1p(claim.margin or 0.0))
    pairs = zip(evidence.rounds(claim.trial or ""), evidence.rounds(other), strict=False)
    logs = [float(np.log(ours / theirs)) for ours, theirs in pairs]
    if len(logs) < LEAST_SEEDS:
        raise TooFewError(f"timed side by side {len(logs)} times; a verdict needs at least {LEAST_SEEDS}")
    it = _hardest(claim, {other: logs}, margin, sign, settings)
    (ratio, low, high), claimed = _as_ratios(it, margin, sign)
    unit = "times as long per epoch"
    summary = f"{claim.trial} takes {ratio:.2f} {unit} as {other}, between {low:.2f} and {high:.2f}, timed in turn"
    return Outcome(ratio, low, high, it.n, it.p, it.supports, summary, unit, claimed, neutral=1.0, repeats="rounds")


def stops(claim: ClaimConfig, evidence: Evidence, settings: StatisticsConfig) -> Outcome:
    """Test whether training accuracy reached its target in the epochs allowed; vague where only some seeds did."""
    trial = claim.trial or ""
    epochs, accuracies = (list(evidence.values(trial, metric).values()) for metric in ("epochs", "train/accuracy"))
    limit, target = evidence.target(trial)
    mean, low, high = _mean_test(epochs, settings, evidence.resolution(trial, "epochs"))[:3]
    n, stopped = len(epochs), sum(accuracy >= target for accuracy in accuracies)
    if not stopped:
        resolution = evidence.resolution(trial, "train/accuracy")
        p = _mean_test([target - accuracy for accuracy in accuracies], settings, resolution).p
        ended = f"training accuracy ended at {float(np.mean(accuracies)):.4f}, below {target:g}"
        summary = f"no seed stopped within {limit} epochs; {ended}"
        return Outcome(mean, low, high, n, p, False, summary, "epochs", (0.0, limit))
    p = _mean_test([limit + 1 - value for value in epochs], settings, 1.0).p
    summary = f"{stopped} of {n} seeds stopped, after {mean:.1f} of {limit} epochs, between {low:.1f} and {high:.1f}"
    vague = "" if stopped == n else "not every seed stopped"
    return Outcome(mean, low, high, n, p, True, summary, "epochs", (0.0, limit), vague)


def _require_seeds(n: int, each: str = "") -> None:
    if n < LEAST_SEEDS:
        raise TooFewError(f"n={n} seeds; a verdict needs at least {LEAST_SEEDS}{each}")


def _mean_test(values: Sequence[float], settings: StatisticsConfig, resolution: float = 1e-6) -> MeanTest:
    _require_seeds(len(values))
    return mean_test(values, settings.confidence, resolution)


def _all_hold(parts: Sequence[tuple[float, bool]]) -> tuple[bool, float]:
    """Return whether all parts of a claim hold, and its p-value, of each part's p-value and direction.

    For: every part has to hold. Against: one that fails is enough, and any of them may.
    """
    failing = [p for p, holds in parts if not holds]
    return (False, min(1.0, len(parts) * min(failing))) if failing else (True, max(p for p, _ in parts))


def _differences(
    claim: ClaimConfig, evidence: Evidence, scaled: Callable[[float], float] = float
) -> dict[str, list[float]]:
    """Return the trial's differences to each of `than`, paired by seed, or to `value`."""
    metric = claim.metric or ""
    ours = evidence.values(claim.trial or "", metric)
    if claim.value is not None:
        return {f"{claim.value:g}": [scaled(value) - scaled(claim.value) for value in ours.values()]}
    than_metric = claim.than_metric or metric
    of = f"{metric_in_words(than_metric)} of " if claim.than_metric else ""
    others = {of + other: evidence.values(other, than_metric) for other in claim.than}
    return {
        other: [scaled(ours[seed]) - scaled(values[seed]) for seed in _common(ours, values)]
        for other, values in others.items()
    }


def _finest(claim: ClaimConfig, evidence: Evidence) -> float:
    """Return the smallest difference that each of the metrics of a comparison can show."""
    return max(_resolution(claim, evidence, metric) for metric in (claim.metric, claim.than_metric) if metric)


def _common(*by_seed: dict[int, float] | dict[int, list[float]]) -> list[int]:
    return sorted(set.intersection(*(set(values) for values in by_seed)))


def _resolution(claim: ClaimConfig, evidence: Evidence, metric: str | None) -> float:
    return max(evidence.resolution(trial, metric or "") for trial in claim.trials)


def _of_trial(claim: ClaimConfig) -> str:
    metric = metric_in_words(claim.metric or "")
    return f"{'number of ' if metric in COUNTS else ''}{metric} of {claim.trial}"
