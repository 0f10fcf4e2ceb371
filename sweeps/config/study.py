"""Studies and Hydra-native sweeps: a search space, objectives, a sampler; checked before anything is started."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any

import yaml

from pipeline.config.checks import ConfigError, require, require_one_of, shown
from pipeline.config.compose import compose, to_dict
from pipeline.config.groups import CONF
from pipeline.config.overrides import check_keys, parse_override, parse_overrides
from pipeline.config.rules import whole
from pipeline.config.schema import RunConfig, Seed
from pipeline.config.types import typed
from pipeline.system.hardware import resolve_precision
from pipeline.training.cost import why_missing
from pipeline.training.identity import TRAINING_VERSION, versions
from sweeps.claims.config import StatisticsConfig
from sweeps.search.grammar import parse_space, parse_sweep, space_of
from sweeps.search.samplers import PRUNERS, SAMPLERS
from sweeps.search.space import Condition, Space
from sweeps.search.storage import TRAINED_BY
from sweeps.sweep import (
    Limits,
    Sweep,
    SweepConfig,
    Trial,
    base_identity,
    duration,
    grid_objectives,
    refuse,
    refuse_varied,
    require_name,
    require_seeds,
)

ONLY_SEARCH = ("sampler", "sampler_seed", "pruner", "timeout", "stop_after_no_improvement", "confirm_seeds")
DIRECTIONS = ("maximize", "minimize")
COSTS = ("parameters", "seconds", "seconds_per_epoch")
# With fewer pairs, Wilcoxon's smallest p is above the pruner's threshold of 0.1.
WILCOXON_SEEDS = 5
MOST_LISTED, MOST_RUNS = 10_000, 30_000


@dataclass
class StudyConfig:
    """The `study` section. conf/study/smoke.yaml explains each key."""

    name: str
    description: str
    space: dict[str, Any]  # a sweep in Hydra's grammar, or {sweep, when}
    objectives: dict[str, str]
    sampler: str
    sampler_seed: Seed
    pruner: str
    n_trials: Annotated[int | None, whole(1, 1_000_000)]
    timeout: float | None
    stop_after_no_improvement: Annotated[int | None, whole(1, 1_000_000)]
    confirm_seeds: list[int]

    def __post_init__(self) -> None:
        """Check ranges; raise ConfigError."""
        require_name("study.name", self.name)
        require(len(self.space) > 0, "study.space", self.space, "at least one parameter")
        _check_objectives(self.objectives)
        require_one_of("study.sampler", self.sampler, SAMPLERS)
        require_one_of("study.pruner", self.pruner, PRUNERS)
        several = len(self.objectives) > 1
        require(not several or self.pruner == "none", "study.pruner", self.pruner, "none with several objectives")
        fits = self.timeout is None or 0 < self.timeout < 1e9
        require(fits, "study.timeout", self.timeout, "seconds above 0 and below 1e9, or null")
        require_seeds("study.confirm_seeds", self.confirm_seeds)


@dataclass
class SweeperConfig:
    """`hydra.sweeper.KEY=...` of `train -m`, as in conf/study/smoke.yaml and conf/sweep.yaml; None where not given."""

    name: str | None = None
    objectives: dict[str, str] | None = None
    sampler: str | None = None
    sampler_seed: int | None = None
    pruner: str | None = None
    n_trials: int | None = None
    timeout: float | None = None
    stop_after_no_improvement: int | None = None
    confirm_seeds: list[int] | None = None
    seeds: list[int] | None = None
    workers: int | None = None
    workers_max_memory: float | None = None
    retries: int | None = None
    budget: str | None = None


SWEEPER = "hydra.sweeper"


@dataclass
class StudySweepConfig(SweepConfig):
    """Everything that `convsweep study` needs: the base of all runs, and the search."""

    study: StudyConfig

    def __post_init__(self) -> None:
        """Check what one section cannot know of another; raise ConfigError."""
        super().__post_init__()
        _check_search(self, self.study)


def compose_study(name: str, overrides: Sequence[str]) -> tuple[StudyConfig, Sweep]:
    """Compose the study conf/study/`name`.yaml.

    Raises:
        ConfigError: for anything wrong in the overrides, the space or the base; nothing has been started then.
    """
    refuse(overrides, seed="a sweep has seeds, as in seeds=[0,1,2]", study=f"the study is {name} already")
    launched = (f"study={name}", *overrides)
    config = compose(StudySweepConfig, "study", launched)
    study = config.study
    space = parse_space(study.space)
    for override in overrides:
        _refuse_swept(override, space)
    sweep = _sampled(_sweep(config, study, space, launched, "study", "study.name"))
    sweep = replace(sweep, command=("study", name, *overrides))
    _check_first_point(sweep)
    return study, sweep


def divide_settings(words: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """The words of `train -m` without those for Hydra, and the settings that these are, `hydra.sweeper.KEY=VALUE`.

    Raises:
        ConfigError: for any other word for Hydra.
    """
    overrides = [word for word in words if not word.lstrip("+~").startswith("hydra")]
    settings = {}
    for word in words:
        if word in overrides:
            continue
        override = parse_override(word)
        section, _, key = override.key_or_group.rpartition(".")
        if section != SWEEPER or override.is_delete():
            raise ConfigError(f"{shown(word)} is not allowed: of Hydra's own keys there is hydra.sweeper.KEY=... alone")
        if override.is_sweep_override():
            raise ConfigError(f"{shown(word)} names several values: this key takes one")
        settings[key] = override.value()
    return overrides, settings


def compose_hydra_sweep(overrides: Sequence[str], settings: Mapping[str, Any]) -> tuple[StudyConfig, Sweep]:
    """The sweep of `convsweep train -m`: a grid where every swept key has a list of values, else a search.

    Args:
        overrides: As given, swept ones among them.
        settings: `hydra.sweeper`'s, of `SweeperConfig`; None where they are left to be chosen.

    Raises:
        ConfigError: for anything wrong; nothing has been started then.
    """
    asked = to_dict(typed(SweeperConfig, settings, SWEEPER))
    parse_overrides(RunConfig, overrides, swept=True)
    swept, fixed = _divided(overrides)
    if not swept:
        raise ConfigError("-m sweeps over nothing; write model.filters=16,32 or 'model.dropout=interval(0,0.5)'")
    given = {key: value for key, value in asked.items() if value is not None}
    space = space_of(parse_sweep(text) for text in _take_seeds(swept, fixed, given))
    for metric, direction in given.get("objectives", {}).items():
        require_one_of(f"{SWEEPER}.objectives.{metric}", direction, DIRECTIONS)
    if space.is_finite and (idle := [key for key in ONLY_SEARCH if key in given]):
        raise ConfigError(f"hydra.sweeper.{idle[0]} has no effect on a grid: every swept key has a list of values")
    if not space.is_finite:
        given.setdefault("objectives", {"val/accuracy": "maximize"})
        if not any(override.startswith("trainer.evaluate_test=") for override in fixed):
            fixed.append("trainer.evaluate_test=false")
    base = compose(RunConfig, "train", fixed)
    config = SweepConfig(
        **{item.name: getattr(base, item.name) for item in fields(RunConfig)},
        **{key: given.get(key, value) for key, value in _beside().items()},
    )
    require_grid(space, len(config.seeds))
    if space.is_finite and "objectives" not in given:
        given["objectives"] = grid_objectives(config)
        section = _section(swept, given, "grid", grid=True)
    else:
        section = _section(swept, given, "search", grid=space.is_finite)
        _check_search(config, section)
    sweep = _sweep(config, section, space, tuple(fixed), "train", "hydra.sweeper.name")
    command = [f"hydra.sweeper.{key}={json.dumps(value)}" for key, value in settings.items() if value is not None]
    sweep = replace(sweep, command=("train", "-m", *overrides, *command))
    if space.is_finite:
        sweep = replace(sweep, objectives=dict(given["objectives"]))
    if "name" not in given:
        told = json.dumps([sweep.identity, sweep.objectives], sort_keys=True)
        short = "-".join(p.key.rpartition(".")[2] for p in space.parameters)
        section.name = f"{short or 'seeds'}-{hashlib.sha256(told.encode()).hexdigest()[:8]}"
        sweep = replace(sweep, name=section.name)
    if space.is_finite:
        return section, replace(sweep, trials=_grid(sweep, space, section.n_trials))
    sweep = _sampled(sweep)
    _check_first_point(sweep)
    return section, sweep


def _take_seeds(swept: list[str], fixed: list[str], given: dict[str, Any]) -> list[str]:
    """The swept overrides but `seed=0,1`, which asks for two seeds of every config, not for twice as many configs."""
    told = [text for text in (*swept, *fixed) if text.partition("=")[0].lstrip("+") == "seed"]
    for text in told:
        values = parse_sweep(text).values if text in swept else (parse_override(text).value(),)
        if "seeds" in given or values is None or len(told) > 1:
            raise ConfigError(f"{shown(text)} is not allowed: give the seeds once, as in seed=0,1,2")
        given["seeds"] = typed(list[int], list(values), "seed")
    return [text for text in swept if text not in told]


def _sampled(sweep: Sweep) -> Sweep:
    """The sweep with all in its identity that a sampler must not compare across: seeds, versions, precision."""
    precision = resolve_precision(sweep.config.trainer.precision)
    trained_by = {"training_version": TRAINING_VERSION, **versions(), "precision": precision}
    return replace(sweep, identity=sweep.identity | {"seeds": sweep.seeds, TRAINED_BY: trained_by})


def _beside() -> dict[str, Any]:
    """What a Hydra-native sweep has beside its run's config: conf/sweep.yaml, but for a single seed."""
    defaults: dict[str, Any] = yaml.safe_load((CONF / "sweep.yaml").read_text())
    return defaults | {"seeds": [0], "statistics": StatisticsConfig(**defaults["statistics"])}


def _section(swept: list[str], given: dict[str, Any], name: str, grid: bool) -> StudyConfig:
    several = len(given["objectives"]) > 1 or len(given.get("seeds", [0])) > 1
    return StudyConfig(
        name=given.get("name", name),
        description=f"convsweep train -m {' '.join(swept)}",
        space={text.partition("=")[0]: text.partition("=")[2] for text in swept},
        objectives=dict(given["objectives"]) if not _is_plain(given) else {"val/accuracy": "maximize"},
        sampler=given.get("sampler", "tpe"),
        sampler_seed=given.get("sampler_seed", 0),
        pruner=given.get("pruner", "none" if several or grid else "median"),
        n_trials=given.get("n_trials", None if grid else 20),
        timeout=given.get("timeout"),
        stop_after_no_improvement=given.get("stop_after_no_improvement"),
        confirm_seeds=list(given.get("confirm_seeds", [] if grid else [100, 101, 102])),
    )


def _is_plain(given: dict[str, Any]) -> bool:
    """Whether the objectives are a grid's own, on the test set, which no sampler is given."""
    return any(metric.startswith("test/") for metric in given["objectives"])


def _divided(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """Swept and fixed overrides."""
    is_swept = [parse_override(text).is_sweep_override() for text in overrides]
    swept = [text for text, several in zip(overrides, is_swept, strict=True) if several]
    return swept, [text for text in overrides if text not in swept]


def _sweep(
    config: SweepConfig, study: StudyConfig, space: Space, launched: tuple[str, ...], primary: str, name_key: str
) -> Sweep:
    check_keys(RunConfig, [p.key for p in space.parameters])
    refuse_varied(p.key for p in space.parameters)
    for parameter in space.parameters:
        for condition in parameter.when:
            check_keys(RunConfig, [condition.key])
    budget = duration("budget", config.budget) if config.budget else None
    times = [seconds for seconds in (study.timeout, budget) if seconds is not None]
    return Sweep(
        name=study.name,
        config=config,
        launched=launched,
        primary=primary,
        objectives=dict(study.objectives),
        identity={"base": base_identity(config), "space": {p.key: _told(p) for p in space.parameters}},
        name_key=name_key,
        command=(),
        space=space,
        sampler=study.sampler,
        sampler_seed=study.sampler_seed,
        pruner=study.pruner,
        limits=Limits(study.n_trials, min(times, default=None), study.stop_after_no_improvement),
    )


def _told(parameter: Any) -> str:
    """A parameter in one line, for a sweep's identity."""
    values = parameter.values
    kind = list(values) if values is not None else [parameter.low, parameter.high, parameter.whole, parameter.log]
    when = "".join(f" when {c.key}{c.op}{c.value}" for c in parameter.when if isinstance(c, Condition))
    return f"{json.dumps(kind)}{when}"


def require_grid(space: Space, seeds: int) -> None:
    """Raise ConfigError for a grid of too many points, or of too many runs, before any is made."""
    points = space.most_points
    if space.is_finite and (points > MOST_LISTED or points * seeds > MOST_RUNS):
        limits = f"at most {MOST_LISTED:,} points and {MOST_RUNS:,} runs are allowed"
        raise ConfigError(
            f"the grid has {points:,} points of {seeds:,} seeds each, {limits}; use an interval, which is sampled"
        )


def _grid(sweep: Sweep, space: Space, most: int | None) -> list[Trial]:
    """All trials of a finite space, each composed and checked; the first `most` of them."""
    trials = []
    for point in list(space.points(sweep.base_value))[:most]:
        overrides = space.overrides(point)
        label = " ".join(f"{key.rpartition('.')[2]}={value}" for key, value in point.items()) or "base"
        try:
            trials.append(sweep.trial(label, overrides, point))
        except ConfigError as error:
            raise ConfigError(f"{' '.join(overrides)}: {error}") from error
    return trials


def _check_objectives(objectives: dict[str, str]) -> None:
    require(len(objectives) > 0, "study.objectives", objectives, "at least one, as in {val/accuracy: maximize}")
    for number, (metric, direction) in enumerate(objectives.items()):
        first = "val/accuracy or val/loss"
        if metric.startswith(("test/", "gap/", "train")):
            raise ConfigError(
                f"study.objectives: {metric} is not allowed: a sampler must not see it, it would be selected for. "
                f"Choose {first}"
            )
        legal = ["val/accuracy", "val/loss", *(COSTS if number else ())]
        require_one_of("study.objectives", metric, legal)
        require_one_of(f"study.objectives.{metric}", direction, DIRECTIONS)


def _check_search(config: SweepConfig, study: StudyConfig) -> None:
    need_val = config.data.val_fraction > 0
    require(
        need_val,
        "data.val_fraction",
        config.data.val_fraction,
        "above 0 where a sampler searches, as in data.val_fraction=0.1: it must not be judged on the test set",
    )
    regression = config.data.task == "regression" and "val/accuracy" in study.objectives
    require(not regression, "study.objectives", study.objectives, "{val/loss: minimize}: a regression has no accuracy")
    for metric in study.objectives:
        if why := why_missing(metric, config):
            raise ConfigError(f"study.objectives: {metric} is not measured: {why}")
    seeds = len(config.seeds)
    enough = study.pruner != "wilcoxon" or seeds >= WILCOXON_SEEDS
    require(enough, "study.pruner", "wilcoxon", f"another with fewer than {WILCOXON_SEEDS} seeds: it could not decide")
    tested = config.trainer.evaluate_test
    require(not tested, "trainer.evaluate_test", tested, "false: only the confirmation may see the test set")
    used = sorted(set(config.seeds) & set(study.confirm_seeds))
    require(not used, "study.confirm_seeds", study.confirm_seeds, f"fresh: {used} chose the config already")
    unlimited = study.n_trials is None and study.timeout is None and config.budget is None
    unlimited = unlimited and study.stop_after_no_improvement is None
    require(not unlimited, "study.n_trials", None, "a number, unless study.timeout, budget or the like ends the study")


def _refuse_swept(override: str, space: Space) -> None:
    key = override.partition("=")[0].lstrip("+~")
    if key in [parameter.key for parameter in space.parameters]:
        raise ConfigError(f"{override}: {key} is what the study varies; its space is in conf/study/")


def _check_first_point(sweep: Sweep) -> None:
    """Compose one point, the first value of everything, so that a wrong type in the space is found before the start."""
    assert sweep.space is not None
    point: dict[str, Any] = {}
    for parameter in sweep.space.parameters:
        if all(c.holds(lambda key: point[key] if key in point else sweep.base_value(key)) for c in parameter.when):
            low = int(parameter.low) if parameter.whole else parameter.low
            point[parameter.key] = low if parameter.values is None else parameter.values[0]
            top = int(parameter.high) if parameter.whole else parameter.high
            for value in parameter.values or (low, top):
                _check_value(sweep, parameter.key, sweep.space.overrides({parameter.key: value}))
    sweep.compose(sweep.space.overrides(point))


def _check_value(sweep: Sweep, key: str, overrides: list[str]) -> None:
    """Refuse a value that no config can have; whether a network then uses its picture up is the trial's own affair."""
    try:
        config = sweep.compose(overrides)
    except ConfigError as error:
        if f"{key}=" in str(error):
            hint = "; for whole numbers write int(interval(low,high))" if "whole number" in str(error) else ""
            raise ConfigError(f"in the space: {error}{hint}") from error
    else:
        try:
            sweep.require_objectives(config)
        except ConfigError as error:
            raise ConfigError(f"in the space: {' '.join(overrides)}: {error}") from error
