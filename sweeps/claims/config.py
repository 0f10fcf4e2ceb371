"""The config of claims: a published sentence, a published number, and how both are judged."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from pipeline.config.checks import require


@dataclass
class ClaimConfig:
    """One published sentence and how it is tested. conf/ablation/filter_count.yaml shows some.

    `trial` is compared with each of `than`, or with `value`, in `metric`; a trend goes `along` several trials. Which
    keys a kind needs, sweeps.claims.kinds says, and checks.
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
        for key in ("margin", "value"):
            number = getattr(self, key)
            require(number is None or math.isfinite(number), f"{key} of {self}", number, "a finite number")
        require(self.margin is None or self.margin >= 0, f"margin of {self}", self.margin, "a number from 0")

    def __str__(self) -> str:
        return f"the claim '{self.says}' ({self.kind})"

    @property
    def trials(self) -> list[str]:
        """Labels of all trials that it names."""
        return [*([self.trial] if self.trial else []), *self.than, *self.along]


@dataclass(frozen=True)
class Published:
    """A published number: of which trial and metric, and in which document."""

    trial: str
    metric: str
    source: str
    value: float

    @property
    def name(self) -> str:
        """Unique within the ablation."""
        return f"{self.trial} {self.metric} {self.source}"


@dataclass
class StatisticsConfig:
    """How published numbers and claims are judged. conf/ablation.yaml explains each key."""

    confidence: float
    min_seeds: int
    tolerance: dict[str, float]
    harmless: float

    def __post_init__(self) -> None:
        """Check ranges; raise ConfigError."""
        is_inside = 0.5 < self.confidence < 1
        require(is_inside, "statistics.confidence", self.confidence, "above 0.5 and below 1")
        require(self.min_seeds >= 3, "statistics.min_seeds", self.min_seeds, "a whole number from 3")
        for name, value in self.tolerance.items():
            require(value >= 0, f"statistics.tolerance.{name}", value, "a number from 0")
        require(self.harmless >= 0, "statistics.harmless", self.harmless, "a number from 0")
