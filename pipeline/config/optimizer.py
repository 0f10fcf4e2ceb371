"""What an optimizer's config is: an update rule, and the schedule of its learning rate."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from pipeline.config.checks import require
from pipeline.config.rules import BOUNDARIES, FACTORS, number, one_of
from pipeline.config.types import defaults_of

# Keys that only one schedule has.
OF_SCHEDULE = {
    "final_fraction": "cosine",
    "decay_rate": "exponential",
    "decay_epochs": "exponential",
    "boundaries": "piecewise",
    "factors": "piecewise",
}


@dataclass
class OptimizerConfig:
    """An optimizer by name: conf/optimizer/adam.yaml. What has a default here is without effect at it."""

    name: Annotated[str, one_of("adam", "adamw", "sgd", "rmsprop")]
    learning_rate: Annotated[float, number(above=0)]
    momentum: Annotated[float, number(at_least=0, below=1)]
    nesterov: bool = False
    weight_decay: Annotated[float, number(at_least=0)] = 0.0
    clip_norm: Annotated[float | None, number(above=0)] = None
    schedule: Annotated[str, one_of("constant", "cosine", "exponential", "piecewise")] = "constant"
    warmup_epochs: Annotated[float, number(at_least=0, unit="a number of epochs")] = 0.0
    final_fraction: Annotated[float, number(at_least=0, below=1)] = 0.0
    decay_rate: Annotated[float, number(above=0, at_most=1)] = 1.0
    decay_epochs: Annotated[float, number(above=0, unit="a number of epochs")] = 1.0
    boundaries: Annotated[list[int], BOUNDARIES] = field(default_factory=list)
    factors: Annotated[list[float], FACTORS] = field(default_factory=list)

    def require_consistent(self) -> None:
        """Raise ConfigError for keys that do not go together, or have no effect."""
        has_none = self.name in ("adam", "adamw") and self.momentum != 0
        require(not has_none, "optimizer.momentum", self.momentum, f"0.0 with optimizer={self.name}, which has none")
        fits = not self.nesterov or (self.name == "sgd" and self.momentum > 0)
        require(fits, "optimizer.nesterov", True, "false, unless with optimizer=sgd and optimizer.momentum above 0")
        for key, schedule in OF_SCHEDULE.items():
            value, neutral = getattr(self, key), defaults_of(OptimizerConfig)[key]
            allowed = f"{neutral} with optimizer.schedule={self.schedule}: only {schedule} has it"
            require(self.schedule == schedule or value == neutral, f"optimizer.{key}", value, allowed)
        falls = self.schedule != "exponential" or self.decay_rate < 1
        require(falls, "optimizer.decay_rate", self.decay_rate, "below 1 with optimizer.schedule=exponential")
        if self.schedule == "piecewise":
            self._check_pieces()

    def _check_pieces(self) -> None:
        allowed = "at least one epoch with optimizer.schedule=piecewise, as in [10,15]"
        require(self.boundaries, "optimizer.boundaries", self.boundaries, allowed)
        matches, allowed = len(self.factors) == len(self.boundaries), f"one per boundary, {len(self.boundaries)}"
        require(matches, "optimizer.factors", self.factors, allowed)
        first = self.boundaries[0]
        allowed = f"at most {first}, the first of optimizer.boundaries"
        require(self.warmup_epochs <= first, "optimizer.warmup_epochs", self.warmup_epochs, allowed)

    @property
    def depends_on_epochs(self) -> bool:
        """Whether the learning rate of an epoch depends on how many are to be trained: then no run is extended."""
        return self.schedule == "cosine"
