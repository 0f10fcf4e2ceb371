"""Ablations: configs listed in full with published numbers, checked before anything is started."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from math import prod
from typing import Annotated, Any

from pipeline.config.checks import ConfigError, require, require_one_of
from pipeline.config.compose import compose
from pipeline.config.overrides import key_of, parse_override, value_text
from pipeline.config.rules import LABEL, one_of, whole
from pipeline.training.cost import why_missing
from sweeps.claims.config import ClaimConfig, Published, StatisticsConfig
from sweeps.claims.kinds import KINDS, check_claim, claim_metrics
from sweeps.claims.verdicts import CONTRADICTED, INCONCLUSIVE, REPRODUCED
from sweeps.config.base import complete_base
from sweeps.config.metrics import require_metric
from sweeps.search.space import Value
from sweeps.seeds import SEEDS_OR_AUTO, with_listed_seeds
from sweeps.sweep import (
    Sweep,
    SweepConfig,
    SweepName,
    Trial,
    base_identity,
    grid_objectives,
    refuse,
    refuse_varied,
    trials_of,
)


@dataclass
class TrialConfig:
    """One listed config: its overrides, what the chart calls it, and published values by source and metric."""

    overrides: list[str]
    tick: str
    published: dict[str, dict[str, float]]


@dataclass
class RemarkConfig:
    """What is odd in a document: a sentence, about one trial or all.

    `numbers` are printed for the trial, but contradict others of the document: they are shown, and not judged.
    """

    says: str
    source: str
    trial: str | None = None
    numbers: dict[str, float] = field(default_factory=dict)


@dataclass
class DiscussionConfig:
    """What the authors found, in words: on which day, and the verdicts that the words rest on.

    `verdicts` are by claim, or by published number as in `conv_64 test/loss N22`.
    """

    text: str
    date: str
    verdicts: dict[str, Annotated[str, one_of(REPRODUCED, CONTRADICTED, INCONCLUSIVE)]]

    def fits(self, verdicts: Mapping[str, str], claims: Iterable[str]) -> bool:
        """Whether it may stand beside a result with these verdicts: the authors', on each of the `claims`."""
        return self.verdicts.keys() >= set(claims) and self.verdicts.items() <= verdicts.items()


@dataclass
class TimingConfig:
    """How seconds per epoch are compared. conf/ablation.yaml explains each key."""

    rounds: Annotated[int, whole(3, 1000)]
    examples: Annotated[int, whole(1, 100_000_000)]


@dataclass
class AblationConfig:
    """The `ablation` section. conf/ablation/filter_count.yaml shows one, course_grid.yaml one with a grid.

    With `grid`, values by config key, the trials are all combinations, called as in `filters=16 epochs=5`. A part of
    such a name stands for the mean over all trials that have it.
    """

    name: SweepName
    description: str
    axis: str
    claims: dict[str, ClaimConfig]
    trials: dict[str, TrialConfig] = field(default_factory=dict)
    grid: dict[str, list[str]] = field(default_factory=dict)
    discussion: DiscussionConfig | None = None
    remarks: list[RemarkConfig] = field(default_factory=list)
    question: str = ""

    def __post_init__(self) -> None:
        """Check; raise ConfigError. Lists the trials of a grid."""
        for label in self.trials:
            LABEL.check("the name of a trial", label)
        if self.grid:
            require(
                not self.trials, "ablation.trials", [*self.trials], "{} beside ablation.grid, whose trials are its own"
            )
            self.trials = _combined(self.grid)
        require(bool(self.trials), "ablation.trials", {}, "at least one trial, or ablation.grid")
        for name, claim in self.claims.items():
            LABEL.check("the name of a claim", name)
            check_claim(claim)
            for label in claim.trials:
                if KINDS[claim.kind].is_of_one or not trials_of([label], self.trials):
                    require_one_of(f"a trial of the claim {name}", label, self.trials)
            for key in ("metric", "than_metric"):
                if metric := getattr(claim, key):
                    require_metric(f"ablation.claims.{name}.{key}", metric)
        for label, trial in self.trials.items():
            for metric in (metric for numbers in trial.published.values() for metric in numbers):
                require_metric(f"ablation.trials.{label}.published", metric)
        for remark in self.remarks:
            if remark.trial is not None or remark.numbers:
                require_one_of("the trial of a remark", remark.trial, self.trials)
            for metric in remark.numbers:
                require_metric(f"ablation.remarks, {remark.trial}", metric)

    @property
    def published(self) -> list[Published]:
        """Every published number of the trials."""
        return [
            Published(label, metric, source, value)
            for label, trial in self.trials.items()
            for source, numbers in trial.published.items()
            for metric, value in numbers.items()
        ]

    @property
    def claimed(self) -> list[str]:
        """Trials whose seeds decide a claim."""
        over_seeds = [claim for claim in self.claims.values() if not KINDS[claim.kind].is_timed]
        return trials_of([name for claim in over_seeds for name in claim.trials], self.trials)


MOST_TRIALS = 1_000  # of a grid


def _combined(grid: Mapping[str, Sequence[str]]) -> dict[str, TrialConfig]:
    """Return a trial for each combination of values, named by the last parts of the keys; the last key varies first."""
    short = [key.rpartition(".")[2] for key in grid]
    require(len({*short}) == len(short), "ablation.grid", [*grid], "keys that differ in their last parts")
    for key, values in grid.items():
        require(len({*values}) == len(values) > 1, f"ablation.grid.{key}", values, "two values or more, all different")
        require(not any(" " in value for value in values), f"ablation.grid.{key}", values, "values without spaces")
    count = prod(map(len, grid.values()))
    require(count <= MOST_TRIALS, "ablation.grid", f"{count:,} trials", f"at most {MOST_TRIALS:,} trials")
    trials = {}
    for point in product(*grid.values()):
        label = " ".join(f"{key}={value}" for key, value in zip(short, point, strict=True))
        overrides = [f"{key}={value}" for key, value in zip(grid, point, strict=True)]
        trials[label] = TrialConfig(overrides, label, {})
    return trials


@dataclass
class AblationSweepConfig(SweepConfig):
    """Everything that `convsweep ablate` needs: the base of all runs, and the listed trials."""

    seeds: Annotated[Any, SEEDS_OR_AUTO]
    ablation: AblationConfig
    timing: TimingConfig
    strict: bool


@dataclass(frozen=True)
class Ablation:
    """An ablation as launched: its section of the config, how it is judged, and the sweep that it asks for.

    `changed` names the keys that make its runs others than those of its file: published numbers are not theirs then.
    """

    config: AblationConfig
    timing: TimingConfig
    strict: bool
    sweep: Sweep
    changed: tuple[str, ...] = ()

    @property
    def timed_trials(self) -> list[Trial]:
        """The trials whose seconds per epoch a claim compares."""
        claims = self.config.claims.values()
        named = {label for claim in claims if KINDS[claim.kind].is_timed for label in claim.trials}
        return [trial for trial in self.sweep.trials or [] if trial.label in named]

    @property
    def statistics(self) -> StatisticsConfig:
        """How its claims are judged."""
        return self.sweep.config.statistics


def compose_ablation(name: str, overrides: Sequence[str]) -> Ablation:
    """Compose the ablation conf/ablation/`name`.yaml and every config in it.

    Raises:
        ConfigError: for anything wrong in the overrides or in one of the configs; nothing has been started then.
    """
    overrides = with_listed_seeds(overrides)
    refuse(overrides, seed="a sweep has seeds, as in seeds=[0,1,2]", ablation=f"the ablation is {name} already")
    launched = (f"ablation={name}", *overrides)
    config = compose(AblationSweepConfig, "ablation", launched)
    first = next(iter(config.ablation.trials.values())).overrides
    config = complete_base(config, "ablation", launched, first)
    sweep = Sweep(
        name=config.ablation.name,
        description=config.ablation.description,
        config=config,
        launched=launched,
        primary="ablation",
        objectives=grid_objectives(config),
        identity=_identity(config),
        name_key="ablation.name",
        command=("ablate", name, *overrides),
        trials=[],
    )
    trials = [_trial(label, trial, sweep) for label, trial in config.ablation.trials.items()]
    targets = {trial.label: trial.base.trainer.stop_at_accuracy for trial in trials}
    for key, claim in config.ablation.claims.items():
        if claim.kind == "stops" and targets[claim.trial or ""] is None:
            raise ConfigError(f"the claim {key}: the trial {claim.trial} has no trainer.stop_at_accuracy")
        named = [(label, metric) for label in dict.fromkeys(claim.trials) for metric in claim_metrics(claim, label)]
        _require_measured(f"the claim {key}", named, trials)
    sweep = replace(sweep, trials=trials, claimed=tuple(config.ablation.claimed))
    changed: tuple[str, ...] = ()
    if overrides:
        filed = compose(AblationSweepConfig, "ablation", [f"ablation={name}"])
        changed = _changed(sweep.identity, _identity(filed))
    if not changed:
        numbers = [(number.trial, number.metric) for number in config.ablation.published]
        _require_measured("a published number", numbers, trials)
    return Ablation(config.ablation, config.timing, config.strict, sweep, changed)


def _require_measured(what: str, named: Iterable[tuple[str, str]], trials: Sequence[Trial]) -> None:
    """Raise ConfigError where one of the named trials has no such metric, by which `what` is judged."""
    bases = {trial.label: trial.base for trial in trials}
    for name, metric in named:
        for label in trials_of([name], bases):
            if why := why_missing(metric, bases[label]):
                raise ConfigError(f"{what}: {metric} of the trial {label} is not measured: {why}")


# Keys that documents leave open, or that only evaluate.
LEFT_OPEN = (
    "trainer.precision",
    "trainer.train_eval_size",
    "trainer.gradient_norms",
    "trainer.test_shifts",
    "trainer.test_sizes",
)


def _identity(config: AblationSweepConfig) -> dict[str, Any]:
    trials = {label: trial.overrides for label, trial in config.ablation.trials.items()}
    return {"base": base_identity(config), "space": trials}


def _changed(identity: dict[str, Any], filed: dict[str, Any]) -> tuple[str, ...]:
    """Return what differs from the ablation's file: keys as KEY=VALUE, trials by their label."""
    base, space = identity["base"], identity["space"]
    keys = [f"{k}={v}" for k, v in base.items() if k not in LEFT_OPEN and filed["base"].get(k) != v]
    return (*keys, *(f"trial {label}" for label in space if filed["space"].get(label) != space[label]))


def _trial(label: str, trial: TrialConfig, sweep: Sweep) -> Trial:
    params = dict(_param(override) for override in trial.overrides)
    refuse_varied(params)
    for override in sweep.launched:
        key = key_of(override)
        if key in params:
            raise ConfigError(f"{override}: {key} is what the ablation {sweep.name} varies (trial {label})")
    try:
        return sweep.trial(label, trial.overrides, params)
    except ConfigError as error:
        raise ConfigError(f"trial {label}: {error}") from error


def _param(override: str) -> tuple[str, Value]:
    """Key and value of a trial's override, as Optuna keeps them: numbers as numbers, all else as text."""
    parsed = parse_override(override)
    value = parsed.value()
    choice = value if value is None or isinstance(value, bool | int | float) else value_text(override)
    return str(parsed.key_or_group), choice
