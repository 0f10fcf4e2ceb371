"""Ablations: configs listed in full with published numbers, checked before anything is started."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from pipeline import model
from pipeline.config import ConfigError, RunConfig, compose, flatten, require, to_dict
from sweeps.study import Sweep, Trial, Value

# Sections and keys that change no number, or that a sweep varies itself.
NOT_OF_THE_BASE = (
    "seed",
    "store.",
    "ablation.",
    "seeds",
    "workers",
    "data.dir",
    "data.cache",
    "data.timeout",
    "trainer.threads",
)


@dataclass
class TrialConfig:
    """One listed config: its overrides, its tick on the axis, and published values by source and metric."""

    overrides: list[str]
    tick: str
    published: dict[str, dict[str, float]]


@dataclass
class AblationConfig:
    """The `ablation` section. conf/ablation/filter_count.yaml shows one."""

    name: str
    description: str
    axis: str
    trials: dict[str, TrialConfig]

    def __post_init__(self) -> None:
        """Check; raise ConfigError."""
        allowed = "a name of letters, digits, '_', '-' and '.', which names the sweep in MLflow and Optuna"
        ok = bool(self.name) and all(c.isalnum() or c in "_-." for c in self.name)
        require(ok and self.name not in ("train", "Default"), "ablation.name", self.name, allowed)
        require(len(self.trials) > 0, "ablation.trials", self.trials, "at least one trial")


@dataclass
class AblationSweepConfig(RunConfig):
    """Everything that `convsweep ablate` needs: the base of all runs, the listed trials, seeds and workers."""

    seeds: list[int]
    workers: int | None
    ablation: AblationConfig

    def __post_init__(self) -> None:
        """Check ranges; raise ConfigError."""
        super().__post_init__()
        distinct = len(set(self.seeds)) == len(self.seeds) and len(self.seeds) > 0
        legal = distinct and all(0 <= seed < 2**31 for seed in self.seeds)
        require(legal, "seeds", self.seeds, "a list of different whole numbers from 0, as in [0,1,2]")
        require(self.workers is None or self.workers >= 1, "workers", self.workers, "a whole number from 1, or null")


@dataclass(frozen=True)
class Ablation:
    """An ablation as launched: its section of the config, and the sweep that it asks for."""

    config: AblationConfig
    sweep: Sweep


def compose_ablation(name: str, overrides: Sequence[str]) -> Ablation:
    """Compose the ablation conf/ablation/`name`.yaml and every config in it.

    Raises:
        ConfigError: for anything wrong in the overrides or in one of the configs; nothing has been started then.
    """
    launched = [f"ablation={name}", *overrides]
    config = compose(AblationSweepConfig, "ablation", launched)
    trials = [_trial(label, trial, config, launched) for label, trial in config.ablation.trials.items()]
    regression = config.data.task == "regression"
    base = {key: value for key, value in flatten(to_dict(config)).items() if not key.startswith(NOT_OF_THE_BASE)}
    sweep = Sweep(
        name=config.ablation.name,
        trials=trials,
        seeds=config.seeds,
        workers=config.workers,
        store=config.store,
        threads=config.trainer.threads,
        objective="test/loss" if regression else "test/accuracy",
        direction="minimize" if regression else "maximize",
        identity={"base": base, "space": {trial.label: list(trial.overrides) for trial in trials}},
    )
    return Ablation(config.ablation, sweep)


def _trial(label: str, trial: TrialConfig, config: AblationSweepConfig, launched: list[str]) -> Trial:
    params = dict(_param(override) for override in trial.overrides)
    for override in launched:
        key = override.partition("=")[0].lstrip("+~")
        if key in params:
            raise ConfigError(f"{override}: {key} is what the ablation {config.ablation.name} varies (trial {label})")
    composed = compose(AblationSweepConfig, "ablation", [*launched, *trial.overrides])
    base = RunConfig(**{item.name: getattr(composed, item.name) for item in fields(RunConfig)})
    try:
        model.layers(base)
    except ConfigError as error:
        raise ConfigError(f"trial {label}: {error}") from error
    return Trial(label, tuple(trial.overrides), params, base)


def _param(override: str) -> tuple[str, Value]:
    """Key and value of a trial's override, as Optuna keeps them: numbers as numbers, all else as text."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_override(override)
    value = parsed.value()
    kept = value if value is None or isinstance(value, bool | int | float) else override.partition("=")[2]
    return str(parsed.key_or_group), kept
