"""What claims are judged by: the results of a sweep's trials, behind the interface of `sweeps.claims.evidence`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from statistics import fmean

from pipeline.config.schema import RunConfig
from pipeline.datasets.dataset import split_sizes
from pipeline.training.by_class import BY_CLASS
from pipeline.training.changed_images import CHANGED
from sweeps.claims.config import quantity_of
from sweeps.results import TrialResult
from sweeps.sweep import trials_of


@dataclass(frozen=True)
class SweepEvidence:
    """Evidence for claims: results over the planned seeds, their configs, and seconds per epoch timed in turn.

    A name that stands for several trials of a grid has their mean, of the seeds that all of them have.
    """

    planned: Sequence[int]
    results: Sequence[TrialResult]
    configs: Mapping[str, RunConfig]
    timings: Mapping[str, list[float]]

    def _results(self, trial: str) -> list[TrialResult]:
        labels = trials_of([trial], self.configs)
        return [result for result in self.results if result.label in labels]

    def seeds(self, trial: str) -> list[int]:
        """Return the seeds that have finished, in the order planned, up to the first that has not."""
        finished = set.intersection(*(set(result.seeds) for result in self._results(trial)))
        return list(takewhile(finished.__contains__, self.planned))

    def values(self, trial: str, metric: str) -> dict[int, float]:
        """Return the metric's last value, or with NAME@EPOCH that epoch's, by seed."""
        return mean_by_seed([result.by_seed(metric) for result in self._results(trial)])

    def curve(self, trial: str, metric: str) -> dict[int, list[float]]:
        """Return the metric after each epoch, by seed; of a single trial."""
        (result,) = self._results(trial)
        return result.curve(metric)

    def rounds(self, trial: str) -> list[float]:
        """Return seconds per epoch, timed side by side with the other trials, round by round."""
        return self.timings.get(trial, [])

    def resolution(self, trial: str, metric: str) -> float:
        """Return the smallest difference that the metric can show: one example of an accuracy, one epoch.

        The test set is taken to have equally many examples of each class: runs do not tell how many it has.
        """
        label = trials_of([trial], self.configs)[0]
        part, config, quantity = metric.partition("/")[0], self.configs[label], quantity_of(metric)
        if quantity != "accuracy":
            return 1.0 if quantity == "epochs" else 1e-6
        sizes = split_sizes(config.data)
        sizes["train_eval"] = min(config.trainer.train_eval_size, sizes["train"])
        if metric.startswith(BY_CLASS):
            return len(config.data.class_names) / max(1, sizes["test"])
        part = "test" if re.fullmatch(CHANGED, part) else part
        return sum(1 / max(1, sizes[each]) for each in (("train_eval", "test") if part == "gap" else (part,)))

    def target(self, trial: str) -> tuple[int, float]:
        """Return the epochs that the trial was allowed, and the training accuracy at which it was to stop."""
        trainer = self.configs[trial].trainer
        return trainer.epochs, trainer.stop_at_accuracy or 1.0


def mean_by_seed(values: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """Return the mean of several values of each seed that has all of them."""
    seeds = set.intersection(*(set(each) for each in values))
    return {seed: fmean(each[seed] for each in values) for seed in values[0] if seed in seeds}
