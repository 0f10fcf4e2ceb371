"""Optuna: a sweep's study, what to try next, and what came of it. The only other module that imports optuna."""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from pipeline.config.schema import ConfigError, StoreConfig
from pipeline.system.addresses import shown
from pipeline.tracking.databases import OPTUNA, is_made, make, opened
from pipeline.tracking.learning_curves import drawn
from pipeline.tracking.retry import Patient
from sweeps.search.space import Params
from sweeps.sweep import Sweep, Trial

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

SAMPLERS = ("tpe", "random", "qmc", "nsga2")
PRUNERS = ("none", "median", "successive_halving", "hyperband", "patient", "wilcoxon")
# After so many proposals in a row that are known already, a point is drawn from those not yet tried.
MOST_KNOWN = 20
MOST_POINTS = 10_000

# For how long SQLite itself waits for a lock; then we say that it is locked, and wait on.
LOCKED_SECONDS = 2.0

IDENTITY, LABEL, REASON = "convsweep.identity", "label", "reason"
INTERRUPTED, DUPLICATE = "interrupted", "duplicate_of"
# Attribute of a study: numbers of its COMPLETE trials whose runs are gone.
LOST = "convsweep.lost"
# Part of an identity that a report need not match.
TRAINED_BY = "trained_by"


@dataclass
class Counts:
    """Trials by what became of them."""

    complete: int = 0
    pruned: int = 0
    failed: int = 0
    duplicate: int = 0

    @property
    def finished(self) -> int:
        """Trials that count towards `n_trials`."""
        return self.complete + self.pruned + self.failed


class Study:
    """A sweep in Optuna. Grids are ours: Optuna's samplers for them shuffle, count failures as done, and raise."""

    def __init__(self, sweep: Sweep, purpose: Literal["launch", "plan", "report"] = "launch") -> None:
        """Open the sweep's study, or create it where it is launched.

        Args:
            sweep: What it is a study of.
            purpose: A launch adds trials, which must be trained by the same code and libraries; the others only read,
                and a report shows what other code has trained.

        Raises:
            ConfigError: if the study exists with another identity (base, space, objectives), with the difference.
            UnopenedStoreError: if the store cannot be opened.
        """
        import optuna

        self.sweep = sweep

        def opening() -> optuna.Study:
            storage = open_storage(sweep.store)
            if purpose != "launch":
                return optuna.load_study(storage=storage, study_name=sweep.name)
            return optuna.create_study(
                storage=storage,
                study_name=sweep.name,
                directions=list(sweep.objectives.values()),
                load_if_exists=True,
            )

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = opened(sweep.store.optuna_uri, sweep.store.retry_seconds, opening)
        # All that a study and its trials read and write goes through this.
        study._storage = cast(Any, Patient(study._storage, sweep.store.retry_seconds, shown(sweep.store.optuna_uri)))
        self.study = study
        identity = json.loads(json.dumps(sweep.identity | {"objectives": list(sweep.objectives.items())}))
        known = self.study.user_attrs.get(IDENTITY)
        trials = self.study.get_trials(deepcopy=False)
        if known is None or not trials:  # a launch that began nothing binds nobody
            if purpose == "launch":
                self.study.set_user_attr(IDENTITY, identity)
        elif difference := _difference(known, identity, (TRAINED_BY,) if purpose == "report" else ()):
            raise ConfigError(
                f"the sweep {sweep.name} exists with another config:\n{difference}\n"
                f"to run this one beside it, name it: {sweep.name_key}={sweep.name}_2 "
                "(equal runs are reused, not repeated)"
            )
        # Seeded by what is there: a sampler that starts anew must not propose its first points again.
        study.sampler = _sampler(sweep.sampler, sweep.sampler_seed + len(trials))
        study.pruner = _pruner(sweep.pruner, len(sweep.seeds))
        self.is_stopped: Callable[[], bool] = lambda: False
        self.open: dict[str, optuna.Trial] = {}
        self.exclude(study.user_attrs.get(LOST, []))

    def exclude(self, lost: Iterable[int]) -> None:
        """Count all trials but those with the numbers `lost`, whose runs are gone."""
        self.lost = set(lost)
        self.counts = Counts()
        self.best: float | None = None
        self.since_best = 0
        self.known: dict[str, int] = {}
        self.complete_seeds: dict[str, list[set[int]]] = {}
        for trial in self.study.get_trials(deepcopy=False):
            self._count(trial)

    def ask_again(self, lost: Iterable[int]) -> None:
        """Exclude these COMPLETE trials for good, and queue their points."""
        trials = self.study.get_trials(deepcopy=False)
        for number in lost:
            self.study.enqueue_trial(dict(trials[number].params), user_attrs={"retry_of": number})
        self.study.set_user_attr(LOST, sorted(self.lost.union(lost)))
        self.exclude(self.lost.union(lost))

    # -- what to try next ---------------------------------------------------------------------------------------------

    @property
    def is_done(self) -> bool:
        """Whether Optuna knows all that the sweep asks for; MLflow may know less, or more."""
        if self.sweep.trials is None:
            n_trials = self.sweep.limits.n_trials
            return n_trials is not None and self.counts.finished >= n_trials
        return all(self._has_seeds(trial) for trial in self.sweep.trials)

    def _has_seeds(self, trial: Trial) -> bool:
        """Whether a grid's trial is COMPLETE over at least the sweep's seeds."""
        return any(set(self.sweep.seeds) <= done for done in self.complete_seeds.get(trial.label, []))

    def close_abandoned(self) -> None:
        """Fail what a process left RUNNING, to be asked again. Call it only where no other process runs this sweep."""
        for trial in self.study.get_trials(deepcopy=False, states=(_state("RUNNING"),)):
            self._interrupt(trial.number, trial.params, trial.user_attrs)

    def begin(self, trial: Trial) -> None:
        """Make a grid's trial RUNNING in Optuna, unless it is, or is COMPLETE over at least the sweep's seeds."""
        if trial.label in self.open or self._has_seeds(trial):
            return
        self.study.enqueue_trial(dict(trial.params), user_attrs={LABEL: trial.label})
        asked = self.study.ask()
        while asked.user_attrs.get(LABEL) != trial.label:
            # Left waiting by a launch that was cut off between enqueueing and asking.
            self._tell_failed(asked)
            asked = self.study.ask()
        self.open[trial.label] = asked
        for key in trial.params:
            asked.suggest_categorical(key, self.sweep.choices[key])

    def next(self) -> Trial | None:
        """The next point that the sampler proposes, RUNNING in Optuna from now on; None where a limit is reached."""
        sweep, tries = self.sweep, 0
        assert sweep.space is not None
        while self._may_go_on() and not self.is_stopped():
            if tries >= MOST_KNOWN and not self._enqueue_untried(tries):
                return None
            asked = self.study.ask()
            try:
                point = sweep.space.suggest(asked, sweep.base_value)
            except ValueError as error:  # a queued point of another space
                self._fail(asked, str(error))
                continue
            key = _point_key(point)
            if key in self.known:
                tries += 1
                asked.set_user_attr(DUPLICATE, self.known[key])
                self._tell_failed(asked)
                self.counts.duplicate += 1
                continue
            self.known[key] = asked.number
            label = str(asked.number)
            self.open[label] = asked
            try:
                return sweep.trial(label, sweep.space.overrides(point), point)
            except ConfigError as error:  # such as a network that uses its picture up
                self.fail(label, f"no such config: {str(error).splitlines()[0]}")
        return None

    def _may_go_on(self) -> bool:
        limits = self.sweep.limits
        if limits.n_trials is not None and self.counts.finished + len(self.open) >= limits.n_trials:
            return False
        patience = limits.without_improvement
        return patience is None or self.since_best < patience

    def _enqueue_untried(self, tries: int) -> bool:
        """Queue a random point of a countable space that was never tried; False where none is left or found."""
        space = self.sweep.space
        assert space is not None
        if not space.is_countable:
            return tries < 10 * MOST_KNOWN
        points = list(islice(space.points(self.sweep.base_value), MOST_POINTS))
        untried = [point for point in points if _point_key(point) not in self.known]
        if untried:
            self.study.enqueue_trial(random.Random(len(self.known)).choice(untried))
        return bool(untried)

    # -- what came of it ----------------------------------------------------------------------------------------------

    def report(self, label: str, value: float, step: int) -> bool:
        """Report an intermediate value; whether the pruner would stop the trial."""
        asked = self.open[label]
        if len(self.sweep.objectives) > 1 or value != value:
            return False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # told twice at one step, as after a retry
            asked.report(value, step)
        return bool(asked.should_prune())

    def complete(self, label: str, values: list[float], attrs: Mapping[str, Any]) -> None:
        """Tell the trial's values (one per objective), with what its runs were."""
        self._close(label, attrs, values)

    def prune(self, label: str, attrs: Mapping[str, Any]) -> None:
        """Tell that the pruner stopped the trial."""
        self._close(label, attrs, None, "PRUNED")

    def fail(self, label: str, reason: str) -> None:
        """Tell that the trial failed for its own reason; it is not tried again."""
        self._close(label, {REASON: reason}, None, "FAIL")

    def interrupt_open(self) -> None:
        """Tell that the open trials were cut off; the next launch asks them again."""
        for label in list(self.open):
            asked = self.open.pop(label)
            self._interrupt(asked.number, asked.params, asked.user_attrs)

    def _close(self, label: str, attrs: Mapping[str, Any], values: list[float] | None, state: str = "COMPLETE") -> None:
        asked = self.open.pop(label)
        for key, value in attrs.items():
            asked.set_user_attr(key, value)
        self._count(self.study.tell(asked, values, state=_state(state)))

    def _fail(self, asked: optuna.Trial, reason: str) -> None:
        asked.set_user_attr(REASON, reason)
        self._tell_failed(asked)

    def _tell_failed(self, asked: optuna.Trial) -> None:
        self.study.tell(asked, state=_state("FAIL"))

    def _interrupt(self, number: int, params: Params, attrs: Mapping[str, Any]) -> None:
        storage = self.study._storage
        trial_id = storage.get_trial_id_from_study_id_trial_number(self.study._study_id, number)
        storage.set_trial_user_attr(trial_id, INTERRUPTED, True)
        self.study.tell(number, state=_state("FAIL"))
        if self.sweep.trials is None and params and DUPLICATE not in attrs:
            self.known.pop(self._key(params), None)
            self.study.enqueue_trial(dict(params), user_attrs={"retry_of": number})

    def _key(self, params: Params) -> str:
        """What tells a point from others."""
        return _point_key(self.sweep.space.point(params) if self.sweep.space else params)

    def _count(self, trial: FrozenTrial) -> None:
        """Take a finished trial into the counts, the known points and the best value."""
        counts, state = self.counts, trial.state.name
        if trial.number in self.lost:
            return
        if DUPLICATE in trial.user_attrs:
            counts.duplicate += 1
            return
        if state not in ("COMPLETE", "PRUNED", "FAIL") or INTERRUPTED in trial.user_attrs:
            return
        if state == "FAIL" and REASON not in trial.user_attrs:
            return
        self.known.setdefault(self._key(trial.params), trial.number)
        counts.complete += state == "COMPLETE"
        counts.pruned += state == "PRUNED"
        counts.failed += state == "FAIL"
        self.since_best += 1
        if state == "COMPLETE":
            label = trial.user_attrs.get(LABEL, str(trial.number))
            self.complete_seeds.setdefault(label, []).append(set(trial.user_attrs.get("seeds", [])))
            value = trial.values[0]
            if self.best is None or self.sweep.sign * value > self.sweep.sign * self.best:
                self.best, self.since_best = value, 0

    # -- results ------------------------------------------------------------------------------------------------------

    def completed(self) -> list[FrozenTrial]:
        """COMPLETE trials, in order."""
        done = self.study.get_trials(deepcopy=False, states=(_state("COMPLETE"),))
        return [trial for trial in done if trial.number not in self.lost]

    def run_ids(self) -> dict[int, list[str]]:
        """The runs of every COMPLETE trial, by its number."""
        return {trial.number: trial.user_attrs.get("run_ids", []) for trial in self.completed()}

    def trials(self) -> list[FrozenTrial]:
        """Trials that have ended by themselves, in order: without duplicates and what was cut off."""
        ended = self.study.get_trials(deepcopy=False, states=tuple(map(_state, ("COMPLETE", "PRUNED", "FAIL"))))
        return [t for t in ended if not {DUPLICATE, INTERRUPTED} & set(t.user_attrs) and t.number not in self.lost]

    def best_trials(self) -> list[FrozenTrial]:
        """The best trial, or the Pareto front where there are several objectives, by the first of them."""
        done = self.completed()
        if not done:
            return []
        if len(self.sweep.objectives) > 1:
            done = [trial for trial in self.study.best_trials if trial.number not in self.lost]
            return sorted(done, key=lambda t: (-self.sweep.sign * t.values[0], t.number))
        return [max(done, key=lambda t: (self.sweep.sign * t.values[0], -t.number))]

    def draw(self, folder: Path) -> list[str]:
        """Draw Optuna's figures of the study into `folder`; a line for each that cannot be drawn, with the reason."""
        import matplotlib as mpl

        mpl.use("Agg")
        from optuna.visualization import matplotlib as optuna_figures

        several = len(self.sweep.objectives) > 1
        width = max(7.0, 2.4 * len(self.sweep.varied))
        target = (lambda t: t.values[0]) if several else None
        named = {"target": target, "target_name": self.sweep.objective}
        figures: dict[str, Callable[[], Any]] = {
            "history": lambda: optuna_figures.plot_optimization_history(self.study, **named),
            "importance": lambda: optuna_figures.plot_param_importances(self.study, **named),
            "slice": lambda: optuna_figures.plot_slice(self.study, **named),
            "parallel_coordinate": lambda: optuna_figures.plot_parallel_coordinate(self.study, **named),
        }
        if several:
            figures["pareto_front"] = lambda: optuna_figures.plot_pareto_front(
                self.study, target_names=list(self.sweep.objectives)
            )
        drawings = {name: partial(_draw, figure, width) for name, figure in figures.items()}
        return [why for name, draw in drawings.items() if (why := drawn(draw, folder / f"{name}.png"))]


def is_known(sweep: Sweep) -> bool:
    """Whether the store has a study of the sweep's name; nothing is made.

    Raises:
        UnopenedStoreError: if the store cannot be opened.
    """
    url = sweep.store.optuna_uri

    def opening() -> bool:
        if not is_made(url, OPTUNA):
            return False
        import optuna

        return sweep.name in optuna.get_all_study_names(open_storage(sweep.store))

    return opened(url, sweep.store.retry_seconds, opening)


def open_storage(store: StoreConfig) -> optuna.storages.BaseStorage:
    """Optuna's storage, made where it is not there."""
    make(store.optuna_uri, OPTUNA, _build, store.folder)

    from optuna.storages import RDBStorage

    locked = {"connect_args": {"timeout": min(LOCKED_SECONDS, store.retry_seconds)}}
    is_sqlite = store.optuna_uri.startswith("sqlite")
    return RDBStorage(store.optuna_uri, engine_kwargs=locked if is_sqlite else {}, skip_table_creation=True)


def _build(url: str) -> None:
    """Make Optuna's tables in the empty database at `url`."""
    from optuna.storages import RDBStorage

    storage = RDBStorage(url)
    storage.remove_session()
    storage.engine.dispose()


def _draw(figure: Callable[[], Any], width: float, path: Path) -> None:
    """Draw one of Optuna's figures."""
    from matplotlib import pyplot

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna calls its matplotlib figures experimental
            axes = figure()
        first = axes.flat[0] if hasattr(axes, "flat") else axes
        first.figure.set_size_inches(width, 4.5)
        for narrow in axes.flat if hasattr(axes, "flat") else ():
            narrow.tick_params(axis="x", which="both", labelsize="x-small", rotation=60)
        first.figure.savefig(path, dpi=110, bbox_inches="tight")
    finally:
        pyplot.close("all")


def _sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    from optuna import samplers

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # QMC is experimental, says Optuna
        match name:
            case "tpe":
                return samplers.TPESampler(seed=seed)
            case "qmc":
                return samplers.QMCSampler(seed=seed, scramble=True, warn_independent_sampling=False)
            case "nsga2":
                return samplers.NSGAIISampler(seed=seed)
            case _:
                return samplers.RandomSampler(seed=seed)


def _pruner(name: str, seeds: int) -> optuna.pruners.BasePruner:
    from optuna import pruners

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Wilcoxon is experimental, says Optuna
        match name:
            case "median":
                return pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=1 if seeds == 1 else 0)
            case "successive_halving":
                return pruners.SuccessiveHalvingPruner()
            case "hyperband":
                return pruners.HyperbandPruner()
            case "patient":
                return pruners.PatientPruner(pruners.MedianPruner(), patience=1)
            case "wilcoxon":
                return pruners.WilcoxonPruner(p_threshold=0.1, n_startup_steps=min(3, seeds - 1))
            case _:
                return pruners.NopPruner()


def _state(name: str) -> Any:
    from optuna.trial import TrialState

    return TrialState[name]


def _point_key(params: Params) -> str:
    return json.dumps(dict(params), sort_keys=True)


def _difference(known: dict[str, Any], asked: dict[str, Any], without: tuple[str, ...]) -> str:
    """What differs between a sweep as it was and as it is asked for, a line each, `without` these parts."""
    lines = []
    for part in {**known, **asked}:
        before, now = known.get(part), asked.get(part)
        if part in without:
            continue
        before = before if isinstance(before, dict) else {part: before}
        now = now if isinstance(now, dict) else {part: now}
        for key in sorted({*before, *now}):
            if before.get(key) != now.get(key):
                lines.append(f"  {key}: {before.get(key, 'not there')} -> {now.get(key, 'not there')}")
    return "\n".join(lines)
