"""`convsweep train -m`: a grid where every swept key has a list of values, else a search."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import islice
from typing import Any

from pipeline.config.checks import ConfigError, shown
from pipeline.config.compose import compose, to_dict
from pipeline.config.files import compose_files
from pipeline.config.overrides import apply_overrides, key_of, parse_override, parse_overrides
from pipeline.config.schema import RunConfig
from pipeline.config.types import hints_of, typed
from sweeps.backend_config import HasBackend, divide_backend
from sweeps.config.base import complete_base
from sweeps.config.study import Direction, StudyConfig, check_search, search, space_identity
from sweeps.search.grammar import parse_sweep, space_of
from sweeps.search.space import Space
from sweeps.sweep import (
    SWEEP_NAME,
    BaseConfig,
    Sweep,
    SweepConfig,
    Trial,
    first_overrides,
    grid_objectives,
)

SWEEPER = "hydra.sweeper"
ONLY_SEARCH = (
    *("sampler", "sampler_seed", "pruner", "timeout", "stop_after_no_improvement"),
    *("finalists", "finalist_seeds", "confirm_seeds"),
)
MOST_LISTED, MOST_RUNS = 10_000, 30_000


@dataclass
class SweeperConfig:
    """`hydra.sweeper.KEY=...`, as in conf/study/smoke.yaml and conf/sweep.yaml; None if it is not given."""

    name: str | None = None
    objectives: dict[str, Direction] | None = None
    sampler: str | None = None
    sampler_seed: int | None = None
    pruner: str | None = None
    n_trials: int | None = None
    timeout: float | None = None
    stop_after_no_improvement: int | None = None
    finalists: int | None = None
    finalist_seeds: list[int] | None = None
    confirm_seeds: list[int] | None = None
    seeds: list[int] | None = None
    workers: int | None = None
    workers_max_memory: float | None = None
    retries: int | None = None
    budget: str | None = None


def divide_settings(words: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Return the words of `train -m` without those for Hydra, and the settings that these are.

    Raises:
        ConfigError: for any word for Hydra but `hydra.sweeper.KEY=VALUE`.
    """
    overrides = [word for word in words if not key_of(word).startswith("hydra")]
    settings = {}
    for word in words:
        if word in overrides:
            continue
        override = parse_override(re.sub(r'"([^"]*)":', r"\1:", word))  # JSON's keys, which a launch tags, are quoted
        section, _, key = override.key_or_group.rpartition(".")
        if section != SWEEPER or override.is_delete():
            raise ConfigError(
                f"{shown(word)} is not allowed: of Hydra's own keys only hydra.sweeper.KEY=... can be set"
            )
        if override.is_sweep_override():
            raise ConfigError(f"{shown(word)} names several values: this key takes one")
        settings[key] = override.value()
    return overrides, settings


def compose_multirun(overrides: Sequence[str], settings: Mapping[str, Any]) -> Sweep:
    """Return the sweep of `convsweep train -m`.

    Args:
        overrides: As given, swept ones among them.
        settings: `hydra.sweeper`'s, of `SweeperConfig`.

    Raises:
        ConfigError: for anything wrong; nothing has been started then.
    """
    given = {key: value for key, value in to_dict(typed(SweeperConfig, settings, SWEEPER)).items() if value is not None}
    of_runs, of_backend = divide_backend(overrides)
    given["backend"] = _backend(of_backend)
    parsed = parse_overrides(RunConfig, of_runs, swept=True)
    swept = [text for text, override in zip(of_runs, parsed, strict=True) if override.is_sweep_override()]
    if not swept:
        raise ConfigError("-m sweeps over nothing; write model.filters=16,32 or 'model.dropout=interval(0,0.5)'")
    fixed = [text for text in of_runs if text not in swept]
    space = space_of(parse_sweep(text) for text in _take_seeds(swept, fixed, given))
    command = [f"{SWEEPER}.{key}={json.dumps(value)}" for key, value in settings.items() if value is not None]
    description = f"convsweep train -m {' '.join(swept)}"
    build = _grid if space.is_finite else _search
    return build(space, fixed, given, description, ("train", "-m", *overrides, *command))


def _backend(overrides: Sequence[str]) -> dict[str, Any]:
    """Return the section `backend` with its overrides, unchecked; raise ConfigError for an unknown key or option."""
    parsed = parse_overrides(HasBackend, overrides)
    chosen = [override for override in parsed if override.key_or_group == "backend"]
    choices = tuple(f"backend={override.value()}" for override in chosen)
    tree = {"backend": dict(compose_files("sweep", choices).tree["backend"])}
    apply_overrides([override for override in parsed if override not in chosen], tree, HasBackend)
    return tree["backend"]


def _take_seeds(swept: list[str], fixed: list[str], given: dict[str, Any]) -> list[str]:
    """Move `seed=0,1`, which asks for two seeds of every config, to the settings; return the other swept overrides."""
    seeds = [text for text in (*swept, *fixed) if key_of(text) == "seed"]
    for text in seeds:
        values = parse_sweep(text).values if text in swept else (parse_override(text).value(),)
        if "seeds" in given or values is None or len(seeds) > 1:
            raise ConfigError(f"{shown(text)} is not allowed: give the seeds once, as in seed=0,1,2")
        given["seeds"] = typed(list[int], list(values), "seed")
    return [text for text in swept if text not in seeds]


def _search(space: Space, fixed: list[str], given: dict[str, Any], description: str, command: tuple[str, ...]) -> Sweep:
    """Return the sweep that samples the space, judged on a validation split."""
    if "trainer.evaluate_test" not in map(key_of, fixed):
        fixed.append("trainer.evaluate_test=false")
    config = _config(space, fixed, given)
    several = len(given.get("objectives", [0])) > 1 or len(config.seeds) > 1
    defaults: dict[str, Any] = {"objectives": {"val/accuracy": "maximize"}, "pruner": "none" if several else "median"}
    defaults |= {"n_trials": 20, "finalists": 3, "finalist_seeds": [50, 51], "confirm_seeds": [100, 101, 102]}
    study = _study(given, description, defaults)
    check_search(config, study)
    study.name = given.get("name") or _name(space, config, study.objectives)
    return search(config, study, space, tuple(fixed), "train", f"{SWEEPER}.name", command)


def _grid(space: Space, fixed: list[str], given: dict[str, Any], description: str, command: tuple[str, ...]) -> Sweep:
    """Return the sweep of all points, each composed and checked; of the first `n_trials` if that is given."""
    if idle := [key for key in ONLY_SEARCH if key in given]:
        raise ConfigError(f"{SWEEPER}.{idle[0]} has no effect on a grid: every swept key has a list of values")
    config = _config(space, fixed, given)
    size, seeds = space.most_points, len(config.seeds)
    if size > MOST_LISTED or size * seeds > MOST_RUNS:
        limits = f"at most {MOST_LISTED:,} points and {MOST_RUNS:,} runs are allowed"
        raise ConfigError(
            f"the grid has {size:,} points of {seeds:,} seeds each, {limits}; use an interval, which is sampled"
        )
    if "objectives" in given:
        check_search(config, _study(given, description, {"pruner": "none", "n_trials": MOST_LISTED}))
    objectives = dict(given.get("objectives") or grid_objectives(config))
    sweep = Sweep(
        name=given.get("name") or _name(space, config, objectives),
        description=description,
        config=config,
        launched=tuple(fixed),
        primary="train",
        objectives=objectives,
        identity=space_identity(config, space),
        name_key=f"{SWEEPER}.name",
        command=command,
        trials=[],
        space=space,
    )
    SWEEP_NAME.check(sweep.name_key, sweep.name)
    points = islice(space.points(sweep.base_value), given.get("n_trials"))
    return replace(sweep, trials=[_trial(sweep, space, point) for point in points])


def _trial(sweep: Sweep, space: Space, point: dict[str, Any]) -> Trial:
    overrides = space.overrides(point)
    label = " ".join(f"{key.rpartition('.')[2]}={value}" for key, value in point.items()) or "base"
    try:
        return sweep.trial(label, overrides, point)
    except ConfigError as error:
        raise ConfigError(f"{' '.join(overrides)}: {error}") from error


def _config(space: Space, fixed: list[str], given: Mapping[str, Any]) -> SweepConfig:
    """Return the base config, with the settings and what conf/sweep.yaml has beside it, but for a single seed."""
    base = compose(BaseConfig, "train", fixed)
    base = complete_base(base, "train", fixed, first_overrides(space, base))
    hints, beside = hints_of(SweepConfig), compose_files("sweep").tree | {"seeds": [0]}
    settings = {key: typed(hints[key], given.get(key, value), key) for key, value in beside.items()}
    return SweepConfig(**vars(base), **settings)


def _study(given: Mapping[str, Any], description: str, defaults: Mapping[str, Any]) -> StudyConfig:
    """Return the settings as a study's section, checked."""
    names = [item.name for item in fields(StudyConfig)]
    section: dict[str, Any] = dict.fromkeys(names)
    section |= {"name": "search", "sampler": "tpe", "sampler_seed": 0}
    section |= {"finalists": 1, "finalist_seeds": [], "confirm_seeds": [], **defaults}
    section |= {name: given[name] for name in names if name in given}
    section |= {"description": description, "space": {"command": description}}
    return typed(StudyConfig, section, "study")  # type: ignore[no-any-return]


def _name(space: Space, config: SweepConfig, objectives: Mapping[str, str]) -> str:
    """Return a name of what is varied, and a hash of what makes a later launch the same sweep."""
    content = json.dumps([space_identity(config, space), objectives], sort_keys=True)
    short = "-".join(parameter.key.rpartition(".")[2] for parameter in space.parameters)
    return f"{short or 'seeds'}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"
