"""Ablations: configs listed in full with published numbers, checked before anything is started."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.config import ConfigError, compose, require
from sweeps.space import Value
from sweeps.sweep import Sweep, SweepConfig, Trial, base_identity, grid_objectives, refuse, require_name


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
        require_name("ablation.name", self.name)
        require(len(self.trials) > 0, "ablation.trials", self.trials, "at least one trial")


@dataclass
class AblationSweepConfig(SweepConfig):
    """Everything that `convsweep ablate` needs: the base of all runs, and the listed trials."""

    ablation: AblationConfig


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
    refuse(overrides, seed="a sweep has seeds, as in seeds=[0,1,2]", ablation=f"the ablation is {name} already")
    launched = (f"ablation={name}", *overrides)
    config = compose(AblationSweepConfig, "ablation", launched)
    sweep = Sweep(
        name=config.ablation.name,
        config=config,
        launched=launched,
        primary="ablation",
        schema=AblationSweepConfig,
        objectives=grid_objectives(config),
        identity={
            "base": base_identity(config),
            "space": {label: trial.overrides for label, trial in config.ablation.trials.items()},
        },
        name_key="ablation.name",
        trials=[],
    )
    trials = [_trial(label, trial, sweep) for label, trial in config.ablation.trials.items()]
    return Ablation(config.ablation, replace(sweep, trials=trials))


def _trial(label: str, trial: TrialConfig, sweep: Sweep) -> Trial:
    params = dict(_param(override) for override in trial.overrides)
    for override in sweep.launched:
        key = override.partition("=")[0].lstrip("+~")
        if key in params:
            raise ConfigError(f"{override}: {key} is what the ablation {sweep.name} varies (trial {label})")
    try:
        return sweep.trial(label, trial.overrides, params)
    except ConfigError as error:
        raise ConfigError(f"trial {label}: {error}") from error


def _param(override: str) -> tuple[str, Value]:
    """Key and value of a trial's override, as Optuna keeps them: numbers as numbers, all else as text."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_override(override)
    value = parsed.value()
    kept = value if value is None or isinstance(value, bool | int | float) else override.partition("=")[2]
    return str(parsed.key_or_group), kept
