"""Looks: the planned numbers of seeds at which claims are judged, on the first seeds alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sweeps.claims.evidence import Evidence, TooFewError
from sweeps.claims.statistics import t_quantile, t_tail


@dataclass(frozen=True)
class FirstSeeds:
    """The evidence of some seeds alone."""

    evidence: Evidence
    only: frozenset[int]

    def seeds(self, trial: str) -> list[int]:
        """Return those of the trial's seeds."""
        return [seed for seed in self.evidence.seeds(trial) if seed in self.only]

    def values(self, trial: str, metric: str) -> dict[int, float]:
        """Return the metric's values of these seeds."""
        return {seed: value for seed, value in self.evidence.values(trial, metric).items() if seed in self.only}

    def curve(self, trial: str, metric: str) -> dict[int, list[float]]:
        """Return the metric after each epoch, of these seeds."""
        return {seed: curve for seed, curve in self.evidence.curve(trial, metric).items() if seed in self.only}

    def rounds(self, trial: str) -> list[float]:
        """Return seconds per epoch, which have nothing to do with seeds."""
        return self.evidence.rounds(trial)

    def target(self, trial: str) -> tuple[int, float]:
        """Return the epochs that the trial was allowed, and its target."""
        return self.evidence.target(trial)

    def resolution(self, trial: str, metric: str) -> float:
        """Return the smallest difference that the metric can show."""
        return self.evidence.resolution(trial, metric)


def at_look(evidence: Evidence, trials: Sequence[str], look: int) -> FirstSeeds:
    """Return the evidence of the first `look` seeds.

    Raises:
        TooFewError: unless all the trials have finished with each of them.
    """
    seeds = min((evidence.seeds(trial) for trial in trials), key=len)
    if len(seeds) < look:
        raise TooFewError(f"n={len(seeds)} seeds; a verdict needs at least {look}")
    return FirstSeeds(evidence, frozenset(seeds[:look]))


def chance_to_decide(p: float, n: int, later: Sequence[int], level: float) -> float:
    """Return the chance that the likeliest of the later looks decides, seen optimistically; 0 without any.

    The effect is taken to be one standard error larger than n seeds have shown, the scatter as they have shown it. Only
    what is trained depends on this, so that no error rate does.

    Args:
        p: Two-sided p-value of Student's t over n seeds.
        n: Seeds so far.
        later: Numbers of seeds of the looks to come.
        level: The p-value below which a look decides.
    """
    shown = t_quantile(1 - p / 2, n - 1) + 1
    return max((t_tail(t_quantile(1 - level / 2, m - 1) - shown * (m / n) ** 0.5, m - 1) for m in later), default=0.0)
