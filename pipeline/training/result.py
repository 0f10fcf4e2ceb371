"""What one training gives, and the error of one that fails."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.datasets.image_statistics import ImageStatistics
from pipeline.system.errors import ConvsweepError


class TrainingError(ConvsweepError, RuntimeError):
    """A training that failed for its own reason, such as a loss that is not finite."""


@dataclass
class RunResult:
    """What one run gave.

    Attributes:
        history: Per metric (`train/loss`, `test/accuracy`, ...) its value after each epoch, epochs 1..E in order.
        final: `train_eval/...`, `gap/accuracy`, `test/accuracy/CLASS` for each class, `epochs` (trained), `parameters`,
            `seconds`, `seconds_per_epoch` (median, without the first of several epochs, which also traces the model), a
            regression's `prediction`, and where these are asked for `gradient_norm/LAYER` before the first step,
            `test_shift_0.1/...` and `test_size_0.75/...` on changed test images, `gap_shift_0.1/accuracy` lost by that.
        summary: The layer table of a network that only Keras knows; else empty.
        image_statistics: How the training images look; None where they are not grey images.
        stopped: Why it ended before `trainer.epochs`: `stop_at_accuracy`, `asked` (by `on_epoch`), or empty.
    """

    history: dict[str, list[float]] = field(default_factory=dict)
    final: dict[str, float] = field(default_factory=dict)
    stopped: str = ""
    summary: str = ""
    image_statistics: ImageStatistics | None = None

    @property
    def epochs(self) -> int:
        """Number of epochs trained."""
        return len(next(iter(self.history.values()), []))

    @property
    def metrics(self) -> dict[str, float]:
        """Last value of every metric, `final` included."""
        return {name: values[-1] for name, values in self.history.items()} | self.final
