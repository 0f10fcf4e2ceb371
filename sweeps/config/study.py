"""Studies: a search space, objectives, a sampler; checked before anything is started."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Annotated, Any

from pipeline.config.checks import ConfigError, require, require_one_of
from pipeline.config.compose import compose
from pipeline.config.overrides import check_keys
from pipeline.config.rules import Allowed, number, one_of, whole
from pipeline.config.schema import RunConfig, Seed
from pipeline.system.hardware import resolve_precision
from pipeline.training.cost import why_missing
from pipeline.training.identity import TRAINING_VERSION, versions
from sweeps.config.base import complete_base
from sweeps.search.grammar import parse_space
from sweeps.search.samplers import PACKAGES, PRUNERS, SAMPLERS
from sweeps.search.space import Parameter, Space
from sweeps.search.storage import TRAINED_BY
from sweeps.seeds import seeds_from, with_listed_seeds
from sweeps.sweep import (
    Limits,
    Sweep,
    SweepConfig,
    SweepName,
    base_identity,
    first_overrides,
    refuse,
    refuse_varied,
)

Direction = Annotated[str, one_of("maximize", "minimize")]
Objectives = Annotated[dict[str, Direction], Allowed("at least one, as in {val/accuracy: maximize}", bool)]
COSTS = ("parameters", "seconds", "seconds_per_epoch")
# With fewer pairs, Wilcoxon's smallest p is above the pruner's threshold of 0.1.
WILCOXON_SEEDS = 5


@dataclass
class StudyConfig:
    """The `study` section. conf/study/smoke.yaml explains each key."""

    name: SweepName
    description: str
    # Values are a sweep in Hydra's grammar, or {sweep, when}.
    space: Annotated[dict[str, Any], Allowed("at least one parameter", bool)]
    objectives: Objectives
    sampler: Annotated[str, one_of(*SAMPLERS)]
    sampler_seed: Seed
    pruner: Annotated[str, one_of(*PRUNERS)]
    n_trials: Annotated[int | None, whole(1, 1_000_000)]
    timeout: Annotated[float | None, number(above=0, below=1e9, unit="a number of seconds")]
    stop_after_no_improvement: Annotated[int | None, whole(1, 1_000_000)]
    finalists: Annotated[int, whole(1, 1000)]
    finalist_seeds: Annotated[list[int], seeds_from(0)]
    confirm_seeds: Annotated[list[int], seeds_from(0)]

    def __post_init__(self) -> None:
        """Check what spans several values; raise ConfigError."""
        _check_objectives(self.objectives)
        several = len(self.objectives) > 1
        require(not several or self.pruner == "none", "study.pruner", self.pruner, "none with several objectives")


@dataclass
class StudySweepConfig(SweepConfig):
    """Everything that `convsweep study` needs: the base of all runs, and the search."""

    study: StudyConfig

    def __post_init__(self) -> None:
        """Check what one section cannot know of another; raise ConfigError."""
        super().__post_init__()
        if self.data.is_complete:
            check_search(self, self.study)


def compose_study(name: str, overrides: Sequence[str]) -> Sweep:
    """Compose the study conf/study/`name`.yaml.

    Raises:
        ConfigError: for anything wrong in the overrides, the space or the base; nothing has been started then.
    """
    overrides = with_listed_seeds(overrides)
    refuse(overrides, seed="a sweep has seeds, as in seeds=[0,1,2]", study=f"the study is {name} already")
    launched = (f"study={name}", *overrides)
    config = compose(StudySweepConfig, "study", launched)
    space = parse_space(config.study.space)
    config = complete_base(config, "study", launched, first_overrides(space, config))
    varied = "is what the study varies; its space is in conf/study/"
    refuse(overrides, **{parameter.key: f"{parameter.key} {varied}" for parameter in space.parameters})
    command = ("study", name, *overrides)
    return search(config, config.study, space, launched, "study", "study.name", command)


def search(
    config: SweepConfig,
    study: StudyConfig,
    space: Space,
    launched: tuple[str, ...],
    primary: str,
    name_key: str,
    command: tuple[str, ...],
) -> Sweep:
    """Return the sweep that samples `space`; the other arguments are as in `Sweep`.

    Raises:
        ConfigError: for a space that no config fits.
    """
    precision = resolve_precision(config.trainer.precision)
    # What a sampler must not compare across: seeds, versions, precision, content of one's own data.
    trained_by = {"training_version": TRAINING_VERSION, **versions(), "precision": precision}
    trained_by |= {"data": config.data.sha256} if config.data.has_arrays else {}
    sweep = Sweep(
        name=study.name,
        description=study.description,
        config=config,
        launched=launched,
        primary=primary,
        objectives=dict(study.objectives),
        identity=space_identity(config, space) | {"seeds": config.seeds, TRAINED_BY: trained_by},
        name_key=name_key,
        command=command,
        space=space,
        sampler=study.sampler,
        sampler_seed=study.sampler_seed,
        pruner=study.pruner,
        limits=Limits(study.n_trials, study.timeout, study.stop_after_no_improvement),
        finalists=study.finalists,
        finalist_seeds=tuple(study.finalist_seeds),
        confirm_seeds=tuple(study.confirm_seeds),
    )
    _check_points(sweep, space)
    return sweep


def trained_with(sweep: Sweep, precision: str | None) -> Sweep:
    """Return a sweep whose identity says what trainer.precision=auto means where it is trained, if that is known."""
    if precision is None or TRAINED_BY not in sweep.identity or sweep.config.trainer.precision != "auto":
        return sweep
    trained_by = sweep.identity[TRAINED_BY] | {"precision": precision}
    return replace(sweep, identity=sweep.identity | {TRAINED_BY: trained_by})


def space_identity(config: SweepConfig, space: Space) -> dict[str, Any]:
    """Return base and space as a sweep's identity has them.

    Raises:
        ConfigError: if the space varies what is no key of a run, or what trials cannot differ in.
    """
    check_keys(RunConfig, [parameter.key for parameter in space.parameters])
    check_keys(RunConfig, [condition.key for parameter in space.parameters for condition in parameter.when])
    refuse_varied(parameter.key for parameter in space.parameters)
    return {"base": base_identity(config), "space": {p.key: _in_a_line(p) for p in space.parameters}}


def _in_a_line(parameter: Parameter) -> str:
    values = parameter.values
    kind = list(values) if values is not None else [parameter.low, parameter.high, parameter.whole, parameter.log]
    return json.dumps(kind) + "".join(f" when {c.key}{c.op}{c.value}" for c in parameter.when)


def _check_objectives(objectives: dict[str, str]) -> None:
    for place, metric in enumerate(objectives):
        first = "val/accuracy or val/loss"
        if metric.startswith(("test/", "gap/", "train")):
            raise ConfigError(
                f"study.objectives: {metric} is not allowed: a sampler must not see it, it would be selected for. "
                f"Choose {first}"
            )
        legal = ["val/accuracy", "val/loss", *(COSTS if place else ())]
        require_one_of("study.objectives", metric, legal)


def check_search(config: SweepConfig, study: StudyConfig) -> None:
    """Raise ConfigError for what a search cannot be judged by, or would never end."""
    need_val = config.data.val_fraction > 0
    require(
        need_val,
        "data.val_fraction",
        config.data.val_fraction,
        "above 0 where a sampler searches, as in data.val_fraction=0.1: it must not be judged on the test set",
    )
    fits = config.data.has_classes or "val/accuracy" not in study.objectives
    require(fits, "study.objectives", study.objectives, "{val/loss: minimize}: a regression has no accuracy")
    for metric in study.objectives:
        if why := why_missing(metric, config):
            raise ConfigError(f"study.objectives: {metric} is not measured: {why}")
    package = PACKAGES.get(study.sampler)
    if package and find_spec(package) is None:
        raise ConfigError(
            f"study.sampler={study.sampler} needs {package}, which is not installed: pip install {package}"
        )
    is_front = len(study.objectives) > 1
    require(not (is_front and study.sampler == "cmaes"), "study.sampler", "cmaes", "another for several objectives")
    enough = study.pruner != "wilcoxon" or len(config.seeds) >= WILCOXON_SEEDS
    require(enough, "study.pruner", "wilcoxon", f"another with fewer than {WILCOXON_SEEDS} seeds: it could not decide")
    tested = config.trainer.evaluate_test
    require(not tested, "trainer.evaluate_test", tested, "false: only the confirmation may see the test set")
    used = set(config.seeds)
    for key, seeds in (("finalist_seeds", study.finalist_seeds), ("confirm_seeds", study.confirm_seeds)):
        again = sorted(used & set(seeds))
        require(not again, f"study.{key}", seeds, f"fresh: {again} chose the config already")
        used |= set(seeds)
    unlimited = study.n_trials is None and study.timeout is None and config.budget is None
    unlimited = unlimited and study.stop_after_no_improvement is None
    require(not unlimited, "study.n_trials", None, "a number, unless study.timeout, budget or the like ends the study")


def _check_points(sweep: Sweep, space: Space) -> None:
    """Compose the ends of every dimension, and one point, so that a wrong type is found before the start."""
    point: dict[str, Any] = {}
    for parameter in space.parameters:
        if parameter.exists(point, sweep.base_value):
            point[parameter.key] = parameter.ends[0]
            for value in parameter.ends:
                _check_value(sweep, parameter.key, space.overrides(point | {parameter.key: value}))
    sweep.compose(space.overrides(point))


def _check_value(sweep: Sweep, key: str, overrides: list[str]) -> None:
    """Refuse a value that no config can have; whether a network then fits its data is checked per trial."""
    try:
        sweep.require_objectives(sweep.compose(overrides))
    except ConfigError as error:
        if "is not measured" in str(error):
            raise ConfigError(f"in the space: {' '.join(overrides)}: {error}") from error
        if str(error).startswith(f"{key}="):
            hint = "; for whole numbers write int(interval(low,high))" if "whole number" in str(error) else ""
            raise ConfigError(f"in the space: {error}{hint}") from error
