"""What Optuna remembers of a sweep: finished trials as plain data, counts, the best, and which points were tried."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from sweeps.results import StudyResult, StudyTrial, ranked
from sweeps.search.optuna_figures import draw_study
from sweeps.search.space import Params
from sweeps.sweep import Sweep

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

LABEL, REASON = "label", "reason"
DUPLICATE = "duplicate_of"
# Attribute of a study: numbers of its COMPLETE trials whose runs are gone from MLflow.
LOST = "convsweep.lost"


@dataclass
class Counts:
    """Trials by outcome."""

    complete: int = 0
    pruned: int = 0
    failed: int = 0

    @property
    def finished(self) -> int:
        """Number of trials that count towards `n_trials`."""
        return self.complete + self.pruned + self.failed


class History:
    """The finished trials of a study. Lost ones and duplicates do not count."""

    def __init__(self, study: optuna.Study, sweep: Sweep) -> None:
        self.study, self.sweep = study, sweep
        self.exclude(study.user_attrs.get(LOST, []))

    def exclude(self, lost: Iterable[int]) -> None:
        """Count all trials but those with the numbers `lost`, whose runs are gone."""
        self.lost = set(lost)
        self.counts = Counts()
        self.best: float | None = None
        self.since_best = 0
        self.tried: dict[str, int] = {}  # number of the trial by point
        self.seeds: dict[str, set[int]] = {}  # of COMPLETE trials, by label
        self.read = 0
        self.refresh()

    def refresh(self) -> None:
        """Add the trials that were created since, by other launches too."""
        trials = self.study.get_trials(deepcopy=False)
        for trial in trials[self.read :]:
            self.add(trial)
        self.read = len(trials)

    def add(self, trial: FrozenTrial) -> None:
        """Take a trial into the counts, the tried points and the best value, if it has ended by itself."""
        if not self._counts(trial):
            return
        state = trial.state.name
        self.tried.setdefault(self.key(trial.params), trial.number)
        self.counts.complete += state == "COMPLETE"
        self.counts.pruned += state == "PRUNED"
        self.counts.failed += state == "FAIL"
        self.since_best += 1
        if state == "COMPLETE":
            label = trial.user_attrs.get(LABEL, str(trial.number))
            self.seeds.setdefault(label, set()).update(trial.user_attrs.get("seeds", []))
            if self.best is None or self.sweep.sign * trial.values[0] > self.sweep.sign * self.best:
                self.best, self.since_best = trial.values[0], 0

    def _counts(self, trial: FrozenTrial) -> bool:
        if trial.number in self.lost or DUPLICATE in trial.user_attrs:
            return False
        state = trial.state.name
        return state in ("COMPLETE", "PRUNED") or (state == "FAIL" and REASON in trial.user_attrs)

    def key(self, params: Params) -> str:
        """Return what tells a point from others."""
        return point_key(self.sweep.space.point(params) if self.sweep.space else params)

    def trials(self) -> list[StudyTrial]:
        """Return the trials that have ended by themselves, in order."""
        return [self._plain(t) for t in self.study.get_trials(deepcopy=False) if self._counts(t)]

    def completed(self) -> list[StudyTrial]:
        """Return the COMPLETE trials, in order."""
        return [trial for trial in self.trials() if trial.state == "COMPLETE"]

    def best_trials(self) -> list[StudyTrial]:
        """Return the best trial, or with several objectives the Pareto front, by the first of them."""
        done = ranked(self.trials(), self.sweep)
        if len(self.sweep.objectives) == 1:
            return done[:1]
        front = {trial.number for trial in self.study.best_trials}
        return [trial for trial in done if trial.number in front]

    def run_ids(self) -> dict[int, list[str]]:
        """Return the runs of every COMPLETE trial, by its number."""
        return {trial.number: trial.run_ids for trial in self.completed()}

    def _plain(self, trial: FrozenTrial) -> StudyTrial:
        attrs: dict[str, Any] = trial.user_attrs
        return StudyTrial(
            number=trial.number,
            state=trial.state.name,
            values=list(trial.values or []),
            params=self.sweep.space.point(trial.params) if self.sweep.space else dict(trial.params),
            seed_values=attrs.get("values", {}),
            seeds=attrs.get("seeds", []),
            run_ids=attrs.get("run_ids", []),
            reason=attrs.get(REASON, ""),
        )


def study_result(history: History) -> StudyResult:
    """Return the study's trials that have ended by themselves, and the best of them."""
    draw = partial(draw_study, history.study, history.sweep)
    return StudyResult(history.trials(), history.best_trials(), draw)


def point_key(params: Params) -> str:
    """Return a point as text, equal for equal points."""
    return json.dumps(dict(params), sort_keys=True)
