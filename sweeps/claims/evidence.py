"""Evidence and outcome: what claims are tested on, and what a test gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Evidence(Protocol):
    """What our runs gave, by trial."""

    def seeds(self, trial: str) -> list[int]:
        """Return the seeds that have finished, in the sweep's order, up to the first that has not."""

    def values(self, trial: str, metric: str) -> dict[int, float]:
        """Return the metric's last value, or with NAME@EPOCH that epoch's, by seed."""

    def curve(self, trial: str, metric: str) -> dict[int, list[float]]:
        """Return the metric after each epoch, by seed."""

    def rounds(self, trial: str) -> list[float]:
        """Return seconds per epoch, timed side by side with the other trials, round by round."""

    def target(self, trial: str) -> tuple[int, float]:
        """Return the epochs that the trial was allowed, and the training accuracy at which it was to stop."""

    def resolution(self, trial: str, metric: str) -> float:
        """Return the smallest difference that the metric can show: one example of an accuracy, one epoch."""


@dataclass(frozen=True)
class Outcome:
    """What one test gave, before its p-value is corrected for the others'.

    Attributes:
        estimate, low, high: In the unit of `unit`, with the interval of the configured confidence.
        n: Number of seeds, or of what `repeats` says.
        p: Two-sided p-value of the direction that the evidence points to; of `equal_within` the two one-sided tests'.
        supports: Whether the evidence points to the claim (True) or against it (False).
        summary: What was measured, in words.
        claimed: Between which values of what is estimated the claim is true; of a published number, that number twice.
        neutral: What is estimated where there is no effect: 0 for a difference, 1 for a ratio.
        vague: Why even a small p-value decides nothing; empty if it does.
    """

    estimate: float
    low: float
    high: float
    n: int
    p: float
    supports: bool
    summary: str
    unit: str
    claimed: tuple[float, float]
    vague: str = ""
    neutral: float = 0.0
    repeats: str = "seeds"


class TooFewError(Exception):
    """There are too few seeds, or rounds of timing, for a test; the message says how many there are."""
