"""What gives the next trial, behind one interface: a grid's list, or Optuna's sampler."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from pipeline.config.checks import ConfigError
from pipeline.tracking.leases import NoLeases
from sweeps.search.history import DUPLICATE, LABEL, LOST, REASON, History, point_key
from sweeps.sweep import Sweep, Trial

if TYPE_CHECKING:
    import optuna

# After so many proposals in a row that were tried already, a point is drawn from those not yet tried.
MOST_KNOWN = 20
MOST_POINTS = 10_000


@dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    Attributes:
        state: `complete`, `pruned` or `failed`.
        values: One per objective, means over the seeds; empty unless complete.
        reason: Why it failed.
        attrs: What Optuna remembers beside it: seeds, values by seed, run ids, signatures.
    """

    state: str
    values: list[float] = field(default_factory=list)
    reason: str = ""
    attrs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def all_attrs(self) -> dict[str, Any]:
        """Attributes of the trial in Optuna, the reason included."""
        return dict(self.attrs) | ({REASON: self.reason} if self.reason else {})


class Proposer:
    """Proposes the trials that are listed, and nothing else; remembers nothing. Base of the others.

    Attributes:
        seeds: Seeds of every trial that it proposes.
        listed: The trials that are known beforehand.
        first: Labels of those that are trained before the others.
        ended: Trials by outcome, those of earlier launches included.
    """

    # Whether equal trials share a run; listed ones have a run each, for tables and groups in MLflow.
    shares_runs = False

    def __init__(
        self,
        seeds: Sequence[int],
        listed: Sequence[Trial] = (),
        first: Collection[str] = (),
        best: Callable[[], float | None] = lambda: None,
    ) -> None:
        self.seeds, self.listed, self.first, self.best = list(seeds), listed, first, best
        self.ended = {"complete": 0, "pruned": 0, "failed": 0}

    @property
    def total(self) -> int:
        """Number of trials in all, as far as is known; 0 if it is not."""
        return len(self.listed)

    def next(self) -> Trial | None:
        """Return a trial beside the listed ones; None if there is none, or a limit is reached."""
        return None

    def prunes(self, trial: Trial) -> bool:
        """Return whether the trial may be pruned."""
        return False

    def report(self, trial: Trial, value: float, step: int) -> bool:
        """Report an intermediate value; return whether the trial is to be pruned."""
        return False

    def record(self, trial: Trial, outcome: Outcome) -> None:
        """Remember how a trial ended."""

    def interrupt(self) -> None:
        """Give up what was proposed and has not ended, for the next launch to propose again."""


@dataclass(frozen=True)
class Batch:
    """What is trained up to a look: trials, their seeds, and the labels of those that come first."""

    trials: Sequence[Trial]
    seeds: Sequence[int]
    first: Collection[str] = ()


class Grid(Proposer):
    """A sweep's listed trials, mirrored in Optuna as they end, for optuna-dashboard.

    Optuna's own samplers for grids shuffle, count failures as done, and raise on the last tell.
    """

    def __init__(
        self, sweep: Sweep, history: History, leases: NoLeases | None = None, batch: Batch | None = None
    ) -> None:
        """Propose the trials.

        Args:
            sweep: The sweep.
            history: What Optuna remembers of it.
            leases: By them one launch of the sweep at a time records; None if it is alone.
            batch: Trials and seeds; None for all trials with all seeds.
        """
        batch = batch or Batch(sweep.trials or [], sweep.seeds)
        super().__init__(batch.seeds, batch.trials, batch.first, lambda: history.best)
        self.sweep, self.history, self.leases = sweep, history, leases or NoLeases()

    def record(self, trial: Trial, outcome: Outcome) -> None:
        """Add a finished trial to the study, unless it is COMPLETE there over at least its seeds."""
        with self.leases.held(f"trials:{self.sweep.name}"):
            self.history.refresh()
            self._add(trial, outcome)

    def _add(self, trial: Trial, outcome: Outcome) -> None:
        if set(self.seeds) <= self.history.seeds.get(trial.label, set()):
            return
        from optuna.distributions import CategoricalDistribution
        from optuna.trial import TrialState, create_trial

        choices = {key: CategoricalDistribution(self.sweep.choices[key]) for key in trial.params}
        frozen = create_trial(
            state={"complete": TrialState.COMPLETE, "failed": TrialState.FAIL}[outcome.state],
            params=dict(trial.params),
            distributions=dict(choices),
            values=outcome.values or None,
            user_attrs={LABEL: trial.label, **outcome.all_attrs},
        )
        self.history.study.add_trial(frozen)
        self.history.add(frozen)
        self.history.read += 1  # nobody else has added one meanwhile


class Sampler(Proposer):
    """Optuna's sampler: asks it for points, tells it what became of them, prunes."""

    shares_runs = True

    def __init__(self, sweep: Sweep, history: History, is_stopped: Callable[[], bool] = lambda: False) -> None:
        super().__init__(sweep.seeds, best=lambda: history.best)
        self.sweep, self.history, self.study, self.is_stopped = sweep, history, history.study, is_stopped
        self.ended |= vars(history.counts)
        self.open: dict[str, optuna.Trial] = {}

    @property
    def total(self) -> int:
        """Number of trials in all; 0 if only a time limits them."""
        limit = self.sweep.limits.n_trials
        return max(limit, self.history.counts.finished) if limit else 0

    def close_abandoned(self) -> None:
        """Queue what a process left RUNNING. No other process may run this sweep."""
        for trial in self.study.get_trials(deepcopy=False, states=(_state("RUNNING"),)):
            self._queue_again(trial.number)

    def propose_again(self, lost: Iterable[int]) -> None:
        """Exclude these COMPLETE trials, whose runs are gone, and queue their points."""
        trials = self.study.get_trials(deepcopy=False)
        for number in lost:
            self.study.enqueue_trial(dict(trials[number].params), user_attrs={"retry_of": number})
        self.study.set_user_attr(LOST, sorted(self.history.lost.union(lost)))
        self.history.exclude(self.history.lost.union(lost))
        self.ended |= vars(self.history.counts)

    def next(self) -> Trial | None:
        """Return the next point that the sampler proposes, RUNNING in Optuna; None if a limit is reached."""
        sweep, tries = self.sweep, 0
        assert sweep.space is not None
        while self._may_go_on() and not self.is_stopped():
            if tries >= MOST_KNOWN and not self._enqueue_untried(tries):
                return None
            proposed = self.study.ask()
            try:
                point = sweep.space.suggest(proposed, sweep.base_value)
            except ValueError as error:  # a queued point of another space
                self._fail(proposed, REASON, str(error))
                continue
            key = point_key(point)
            if key in self.history.tried:
                tries += 1
                self._fail(proposed, DUPLICATE, self.history.tried[key])
                continue
            self.history.tried[key] = proposed.number
            label = str(proposed.number)
            self.open[label] = proposed
            try:
                return sweep.trial(label, sweep.space.overrides(point), point)
            except ConfigError as error:  # a network that does not fit the data
                self._close(label, "FAIL", {REASON: f"no such config: {str(error).splitlines()[0]}"})
        return None

    def _may_go_on(self) -> bool:
        limits, history = self.sweep.limits, self.history
        if limits.n_trials is not None and history.counts.finished + len(self.open) >= limits.n_trials:
            return False
        return limits.without_improvement is None or history.since_best < limits.without_improvement

    def _enqueue_untried(self, tries: int) -> bool:
        """Queue a random point of a countable space that was never tried; return whether there is one."""
        space = self.sweep.space
        assert space is not None
        if not space.is_countable:
            return tries < 10 * MOST_KNOWN
        points = list(islice(space.points(self.sweep.base_value), MOST_POINTS))
        untried = [point for point in points if point_key(point) not in self.history.tried]
        if untried:
            self.study.enqueue_trial(random.Random(len(self.history.tried)).choice(untried))
        return bool(untried)

    def prunes(self, trial: Trial) -> bool:
        """Return whether the trial may be pruned: while it is open."""
        return trial.label in self.open

    def report(self, trial: Trial, value: float, step: int) -> bool:
        """Report an intermediate value; return whether the pruner would stop the trial."""
        proposed = self.open.get(trial.label)
        if proposed is None or len(self.sweep.objectives) > 1 or value != value:
            return False
        with warnings.catch_warnings(action="ignore"):  # a step is reported twice after a retry
            proposed.report(value, step)
        return bool(proposed.should_prune())

    def record(self, trial: Trial, outcome: Outcome) -> None:
        """Tell Optuna how an open trial ended."""
        if trial.label in self.open:
            state = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}[outcome.state]
            self._close(trial.label, state, outcome.all_attrs, outcome.values or None)

    def interrupt(self) -> None:
        """Queue the open trials."""
        for proposed in self.open.values():
            self.history.tried.pop(self.history.key(proposed.params))
            self._queue_again(proposed.number)
        self.open.clear()

    def _close(self, label: str, state: str, attrs: Mapping[str, Any], values: list[float] | None = None) -> None:
        proposed = self.open.pop(label)
        for key, value in attrs.items():
            proposed.set_user_attr(key, value)
        self.history.add(self.study.tell(proposed, values, state=_state(state)))

    def _fail(self, proposed: optuna.Trial, attribute: str, value: str | int) -> None:
        proposed.set_user_attr(attribute, value)
        self.study.tell(proposed, state=_state("FAIL"))

    def _queue_again(self, number: int) -> None:
        """Let a RUNNING trial wait, with its point, to be asked for again; failed ones are red in optuna-dashboard."""
        storage = self.study._storage
        trial_id = storage.get_trial_id_from_study_id_trial_number(self.study._study_id, number)
        storage.set_trial_state_values(trial_id, _state("WAITING"))


def _state(name: str) -> Any:
    from optuna.trial import TrialState

    return TrialState[name]
