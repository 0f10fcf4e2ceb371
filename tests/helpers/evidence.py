"""Evidence for claims from given numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

from sweeps.claims.config import ClaimConfig, StatisticsConfig
from sweeps.claims.kinds import check_claim
from sweeps.claims.verdicts import Finding, judge

TOLERANCE = {"accuracy": 0.01, "loss": 0.05, "prediction": 0.01}


def at(*looks: int, tolerance: dict[str, float] = TOLERANCE) -> StatisticsConfig:
    """Settings with these looks."""
    return StatisticsConfig(0.95, list(looks), 0.5, tolerance, 0.005)


SETTINGS = at(3)
Values = dict[str, dict[str, list[float]]]


@dataclass
class GivenEvidence:
    """Evidence from given numbers, seeds 0, 1, ... in order."""

    metrics: Values
    curves: dict[str, list[list[float]]] = field(default_factory=dict)
    times: dict[str, list[float]] = field(default_factory=dict)
    limit: tuple[int, float] = (20, 0.9)
    fineness: float = 1e-4

    def seeds(self, trial: str) -> list[int]:
        given = [*self.metrics.get(trial, {}).values(), *([self.curves[trial]] if trial in self.curves else [])]
        return list(range(min((len(values) for values in given), default=0)))

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
    made = ClaimConfig(says="so", kind=kind, **keys)  # type: ignore[arg-type]
    check_claim(made)
    return made


def one(claimed: ClaimConfig, evidence: GivenEvidence) -> Finding:
    """Judge a claim at one look at all seeds."""
    seeds = min((len(evidence.seeds(trial)) for trial in claimed.trials), default=3)
    (finding,) = judge({"it": claimed}, evidence, at(max(3, seeds)))
    return finding


GREATER = claim("greater", trial="a", than=["b"], metric="test/accuracy")
LOW, HIGH = [0.900, 0.902, 0.901], [0.921, 0.920, 0.923]


def accuracies(**trials: list[float]) -> GivenEvidence:
    return GivenEvidence({name: {"test/accuracy": values} for name, values in trials.items()})
