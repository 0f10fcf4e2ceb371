"""What a sweep is: trials, seeds, limits; and the part of the config that every sweep has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Annotated, Any

from pipeline.config.checks import ConfigError, require, shown
from pipeline.config.compose import compose_run, flatten, to_dict
from pipeline.config.overrides import key_of
from pipeline.config.rules import LABEL, Allowed, number, whole
from pipeline.config.schema import RunConfig, StoreConfig
from pipeline.datasets.complete import READ, Recall, completed, current_recall
from pipeline.models import layers as model
from pipeline.tracking.params import OF_NO_NUMBER
from pipeline.training.cost import why_missing
from sweeps.backend_config import MOST_WORKERS, BackendConfig, agreed_workers
from sweeps.claims.config import StatisticsConfig
from sweeps.seeds import AUTO, SEEDS

if TYPE_CHECKING:
    from sweeps.search.space import Space, Value

# Sections and keys that change no number, or that a sweep varies itself.
NOT_OF_THE_BASE = (
    *OF_NO_NUMBER,
    "seed",
    "ablation.",
    "statistics.",
    "timing.",
    "strict",
    "study.",
    "workers",
    "retries",
    "budget",
    "backend.",
)
# Names of MLflow's and our own experiments, and of what lies beside the reports, in older stores explain's figures too.
RESERVED = ("train", "default", "explain", "index.html", "results.md")
SWEEP_NAME = Allowed(
    f"{LABEL.words}, and other than {', '.join(RESERVED)}, which are names of our own",
    lambda name: LABEL.fits(name) and name.lower() not in RESERVED,
)
SweepName = Annotated[str, SWEEP_NAME]
BUDGET = Allowed("a time as in 30min, 2h or 90s", lambda text: 0 < duration(text) < 1e9)


@dataclass
class BaseConfig(RunConfig):
    """What the configs of trials are composed from; it is not run itself."""

    def check_run(self) -> None:
        """Leave that to the trials: they may vary what does not go together here."""


@dataclass
class SweepConfig(BaseConfig):
    """A run's config and what every sweep has beside it. conf/sweep.yaml explains each key."""

    seeds: Annotated[Any, SEEDS]
    workers: Annotated[int | None, whole(1, MOST_WORKERS)]
    workers_max_memory: Annotated[float, number(above=0, unit="a number of GiB")]
    retries: Annotated[int, whole(0, 100)]
    budget: Annotated[str | None, BUDGET]
    statistics: StatisticsConfig
    backend: BackendConfig

    def __post_init__(self) -> None:
        """Check what one key cannot know of another; raise ConfigError."""
        super().__post_init__()
        agreed_workers(self.workers, self.backend)
        if isinstance(self.seeds, int):  # the first so many
            self.seeds = list(range(self.seeds))

    @property
    def most_workers(self) -> int | None:
        """Workers as `workers` or `backend.workers` says; None where neither does."""
        return agreed_workers(self.workers, self.backend)


@dataclass(frozen=True)
class Trial:
    """One point: what it is called, what it sets, and the config that this gives; one run of it per seed."""

    label: str
    overrides: tuple[str, ...]
    params: Mapping[str, Value]
    base: RunConfig

    def config(self, seed: int) -> RunConfig:
        """The config of this trial's run with `seed`."""
        return replace(self.base, seed=seed)


@dataclass(frozen=True)
class Limits:
    """When a sweep ends before it is through; None = never."""

    n_trials: int | None = None
    seconds: float | None = None
    without_improvement: int | None = None


@dataclass(frozen=True)
class Sweep:
    """What is to be run, and what makes a later launch the same sweep.

    Attributes:
        name: MLflow's experiment and Optuna's study.
        description: What it is, in a line.
        config: The base config of all runs, with seeds, workers and retries.
        launched: Overrides from which the base config was composed.
        primary: Primary config of conf/ that they were composed with.
        objectives: Metric -> `maximize` or `minimize`; a trial's value is its mean over the seeds.
        command: The arguments of `convsweep`, from which it is composed again for a report.
        identity: What must stay for a launch to continue this sweep, as JSON: `base` config and `space`.
        trials: The listed trials of a grid; None where a sampler proposes them from `space`.
        space: The search space of a sampled sweep, or of a Hydra grid.
        sampler, sampler_seed, pruner: By name; see conf/study/smoke.yaml.
        finalists, finalist_seeds: How many of the best trials are run again before one is chosen, and on which seeds.
        confirm_seeds: Fresh seeds on which the chosen config is run again, with the test set.
        claimed: Labels of the trials that get further seeds where claims are not decided.
        recall: Says of one's own data what it was when the sweep was launched; None where it is launched now.
    """

    name: str
    description: str
    config: SweepConfig
    launched: tuple[str, ...]
    primary: str
    objectives: dict[str, str]
    identity: dict[str, Any]
    name_key: str
    command: tuple[str, ...]
    trials: list[Trial] | None = None
    space: Space | None = None
    sampler: str = "random"
    sampler_seed: int = 0
    pruner: str = "none"
    limits: Limits = field(default_factory=Limits)
    finalists: int = 1
    finalist_seeds: tuple[int, ...] = ()
    confirm_seeds: tuple[int, ...] = ()
    claimed: tuple[str, ...] = ()
    recall: Recall | None = field(default_factory=current_recall)

    @property
    def seeds(self) -> list[int]:
        """Seeds of every trial; with `seeds=auto` those that it may have, in the order in which they are trained."""
        given: list[int] | str = self.config.seeds
        return given if isinstance(given, list) else list(range(self.config.statistics.looks[-1]))

    @property
    def looks(self) -> list[int]:
        """Numbers of seeds after which a launch looks at what is decided; the number of all where they are listed."""
        return self.config.statistics.looks if self.config.seeds == AUTO else [len(self.seeds)]

    @property
    def store(self) -> StoreConfig:
        """Where results are kept."""
        return self.config.store

    @property
    def objective(self) -> str:
        """The first objective's metric."""
        return next(iter(self.objectives))

    @property
    def direction(self) -> str:
        """The first objective's direction."""
        return self.objectives[self.objective]

    @property
    def sign(self) -> int:
        """1 where more of the first objective is better, -1 where less is."""
        return 1 if self.direction == "maximize" else -1

    @property
    def varied(self) -> list[str]:
        """Config keys that the trials set, groups included, in order of appearance."""
        if self.space:
            return [parameter.key for parameter in self.space.parameters]
        return list(dict.fromkeys(key for trial in self.trials or [] for key in trial.params))

    @cached_property
    def choices(self) -> dict[str, list[Value]]:
        """All values of every key that a grid varies."""
        if self.space:  # all of them, also where only the first trials are asked for
            return {parameter.key: list(parameter.values or ()) for parameter in self.space.parameters}
        choices: dict[str, list[Value]] = {key: [] for key in self.varied}
        for trial in self.trials or []:
            for key, value in trial.params.items():
                if value not in choices[key]:
                    choices[key].append(value)
        return choices

    def examples(self) -> list[RunConfig]:
        """Return the listed trials' configs; of a search, the config of its first point."""
        if self.trials is not None or self.space is None:
            return [trial.base for trial in self.trials or []]
        return [self.compose(first_overrides(self.space, self.config))]

    def base_value(self, key: str) -> Any:
        """The base config's value of a key; a group's is the option's name."""
        return value_of(self.config, key)

    def compose(self, overrides: Sequence[str]) -> RunConfig:
        """Compose the config of a run with these overrides over the base; raise ConfigError if there is none such."""
        config = compose_run(self.primary, self.launched, overrides)
        config = completed(config, recall=self.recall, afresh=False)
        if self.trials is None and config.trainer.evaluate_test and not self.config.trainer.evaluate_test:
            raise ConfigError(
                "trainer.evaluate_test=true is not allowed: trainer.evaluate_test must be false: only the confirmation "
                "may see the test set"
            )
        return config

    def trial(self, label: str, overrides: Sequence[str], params: Mapping[str, Value]) -> Trial:
        """The trial with these overrides over the base.

        Raises:
            ConfigError: if they give no config that can be run and compared.
        """
        base = self.compose(overrides)
        model.layers(base.model, base.data)
        self.require_objectives(base)
        return Trial(label, tuple(overrides), dict(params), base)

    def require_objectives(self, config: RunConfig) -> None:
        """Raise ConfigError unless a run of `config` has what trials are compared by."""
        for metric in self.objectives:
            if why := why_missing(metric, config):
                raise ConfigError(f"{metric}, by which trials are compared, is not measured: {why}")


def trials_of(names: Iterable[str], labels: Iterable[str]) -> list[str]:
    """Return the labels that names stand for: a trial's own; in a grid, as `filters=8 epochs=5`, all that have it."""
    wanted = [set(name.split()) for name in names]
    return [label for label in labels if any(words <= set(label.split()) for words in wanted)]


def value_of(config: RunConfig, key: str) -> Any:
    """Return a config's value of a key; a group's is the option's name."""
    value: Any = config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else getattr(value, part, None)
    return getattr(value, "name", value) if hasattr(value, "__dataclass_fields__") else value


def first_overrides(space: Space, config: RunConfig) -> list[str]:
    """Return the overrides of a space's first point, over this base config."""
    return space.overrides(space.first_point(partial(value_of, config)))


def base_identity(config: RunConfig) -> dict[str, Any]:
    """Every key of a base config that decides numbers, for a sweep's identity; not what is read from the data."""
    read = tuple(f"data.{name}" for name in READ) if config.data.has_arrays else ()
    return {k: v for k, v in flatten(to_dict(config)).items() if not k.startswith((*NOT_OF_THE_BASE, *read))}


def grid_objectives(config: RunConfig) -> dict[str, str]:
    """What a grid's trials are compared by: accuracy, or a regression's loss; on the test set, if evaluated."""
    part = "test" if config.trainer.evaluate_test else "val"
    can = not why_missing(f"{part}/loss", config)
    require(can, "trainer.evaluate_test", False, "true, or data.val_fraction above 0: something has to be evaluated")
    return {f"{part}/accuracy": "maximize"} if config.data.has_classes else {f"{part}/loss": "minimize"}


def refuse_varied(keys: Iterable[str]) -> None:
    """Raise ConfigError for a key that trials cannot differ in: their seeds, and where all of them are kept."""
    for key in keys:
        if key == "seed":
            raise ConfigError("a trial has no seed of its own: all have the sweep's, as in seeds=[0,1,2]")
        if key.startswith(("store", "checkpoints")):
            raise ConfigError(f"{key} cannot be varied: a sweep is kept in one store")


def refuse(overrides: Sequence[str], **keys: str) -> None:
    """Raise ConfigError for an override of one of `keys`, with the reason given for it."""
    for override in overrides:
        key = key_of(override)
        if key in keys:
            raise ConfigError(f"{shown(override)}: {keys[key]}")


def duration(text: str) -> float:
    """Seconds of a text as in 30min, 2h, 90s or 1h30min; 0 of any other."""
    units = {"h": 3600.0, "min": 60.0, "m": 60.0, "s": 1.0}
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*(h|min|m|s)", text)
    is_time = "".join(number + unit for number, unit in parts) == text.replace(" ", "")
    return sum(float(number) * units[unit] for number, unit in parts) if is_time else 0.0
