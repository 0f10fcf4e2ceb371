"""The config of claims: a published sentence, a published number, and how both are judged."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from pipeline.config.rules import Allowed, number
from pipeline.config.schema import FromZero

MOST_SEEDS = 1_000
LEAST_SEEDS = 3  # and rounds of timing: fewer show no scatter
LOOKS = Allowed(
    f"whole numbers of seeds from {LEAST_SEEDS} to {MOST_SEEDS:,}, each above the one before, as in [3,5,8,13,21]",
    lambda looks: bool(looks) and looks[0] >= LEAST_SEEDS and looks[-1] <= MOST_SEEDS and sorted(set(looks)) == looks,
)


@dataclass
class ClaimConfig:
    """One published sentence and how it is tested. conf/ablation/filter_count.yaml shows some.

    `trial` is compared with each of `than`, or with `value`, in `metric`; of `than` it may be another, `than_metric`. A
    trend goes `along` several trials. `ratio` compares by ratio instead of difference, as suits orders of magnitude.
    sweeps.claims.kinds says which keys a kind needs, and checks them.
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
    than_metric: str | None = None
    margin: Annotated[float | None, number(at_least=0)] = None
    ratio: bool = False

    def __str__(self) -> str:
        return f"the claim '{self.says}' ({self.kind})"

    @property
    def trials(self) -> list[str]:
        """Labels of all trials that it names."""
        return [*([self.trial] if self.trial else []), *self.than, *self.along]


def quantity_of(metric: str) -> str:
    """Return what a metric measures, in whatever part, class or epoch: accuracy, loss, epochs, ..."""
    part, _, quantity = metric.partition("@")[0].partition("/")
    return part if part == "gradient_norm" else quantity.partition("/")[0] or part


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
    """How published numbers and claims are judged. conf/sweep.yaml explains each key."""

    confidence: Annotated[float, number(above=0.5, below=1)]
    looks: Annotated[list[int], LOOKS]
    give_up: Annotated[float, number(at_least=0, below=1)]
    tolerance: dict[str, FromZero]
    harmless: FromZero
