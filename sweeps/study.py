"""Optuna: a sweep's study, its trials, and their states. The only other module that imports optuna (with space.py)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipeline.config import ConfigError, RunConfig, StoreConfig

if TYPE_CHECKING:
    import optuna

Value = str | int | float | bool | None


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
class Sweep:
    """What is to be run: trials times seeds; and what makes a later launch the same sweep.

    Attributes:
        name: MLflow's experiment and Optuna's study.
        objective: Metric by which trials are compared; a trial's value is its mean over the seeds.
        direction: `maximize` or `minimize`.
        identity: What must stay for a launch to continue this sweep, as JSON: `base` config and `space`.
    """

    name: str
    trials: list[Trial]
    seeds: list[int]
    workers: int | None
    store: StoreConfig
    threads: int | None
    objective: str
    direction: str
    identity: dict[str, Any]

    @property
    def varied(self) -> list[str]:
        """Config keys that the trials set, groups included, in order of appearance."""
        return list(dict.fromkeys(key for trial in self.trials for key in trial.params))

    @property
    def choices(self) -> dict[str, list[Value]]:
        """All values of every varied key."""
        found: dict[str, list[Value]] = {key: [] for key in self.varied}
        for trial in self.trials:
            for key, value in trial.params.items():
                if value not in found[key]:
                    found[key].append(value)
        return found


class Study:
    """A grid of trials in Optuna. Optuna's own grid samplers shuffle, count failures as done and raise at the end."""

    def __init__(self, sweep: Sweep) -> None:
        """Open the sweep's study, or create it.

        Raises:
            ConfigError: if the study exists with another identity (base config, space, direction), with the difference.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = optuna.create_study(
            storage=storage_url(sweep.store),
            study_name=sweep.name,
            direction=sweep.direction,
            load_if_exists=True,
            sampler=optuna.samplers.RandomSampler(seed=0),
            pruner=optuna.pruners.NopPruner(),
        )
        self.sweep = sweep
        identity = json.loads(json.dumps(sweep.identity | {"direction": sweep.direction}))
        known = self.study.user_attrs.get("convsweep.identity")
        if known is None:
            self.study.set_user_attr("convsweep.identity", identity)
        elif known != identity:
            raise ConfigError(_difference(sweep.name, known, identity))

    def close_abandoned(self) -> None:
        """Tell FAIL for the trials that a process left RUNNING. Call it only where no other process runs this sweep."""
        for trial in self.study.get_trials(deepcopy=False, states=(_states().RUNNING,)):
            self.study.tell(trial.number, state=_states().FAIL)

    def is_complete(self, trial: Trial) -> bool:
        """Whether a COMPLETE trial has this point's value over at least the sweep's seeds."""
        return any(
            set(self.sweep.seeds) <= set(done.user_attrs.get("seeds", []))
            for done in self.study.get_trials(deepcopy=False, states=(_states().COMPLETE,))
            if done.user_attrs.get("label") == trial.label
        )

    def ask(self, trial: Trial) -> optuna.Trial:
        """A RUNNING Optuna trial for this point."""
        choices = self.sweep.choices
        waiting = self.study.get_trials(deepcopy=False, states=(_states().WAITING,))
        if not any(known.user_attrs.get("label") == trial.label for known in waiting):
            self.study.enqueue_trial(dict(trial.params), user_attrs={"label": trial.label})
        while True:
            asked = self.study.ask()
            if asked.user_attrs.get("label") == trial.label:
                for name in trial.params:
                    asked.suggest_categorical(name, choices[name])
                return asked
            self.study.tell(asked, state=_states().FAIL)  # left waiting by a launch that was cut off

    def complete(self, asked: optuna.Trial, value: float, attrs: dict[str, Any]) -> None:
        """Tell the trial's value, with what its runs were."""
        for key, told in attrs.items():
            asked.set_user_attr(key, told)
        self.study.tell(asked, value)

    def fail(self, asked: optuna.Trial, reason: str) -> None:
        """Tell that the trial failed, and why."""
        asked.set_user_attr("reason", reason)
        self.study.tell(asked, state=_states().FAIL)


def storage_url(store: StoreConfig) -> str:
    """Optuna's storage: as configured, or SQLite in the store's folder; never MLflow's database."""
    return store.optuna_url or f"sqlite:///{store.folder / 'optuna.db'}"


def _states() -> Any:
    from optuna.trial import TrialState

    return TrialState


def _difference(name: str, known: dict[str, Any], asked: dict[str, Any]) -> str:
    """What differs between the sweep as it was and as it is asked for, and what to do."""
    lines = []
    for part in known:
        before, now = known[part], asked.get(part)
        if not isinstance(before, dict) or not isinstance(now, dict):
            before, now = {part: before}, {part: now}
        for key in sorted({*before, *now}):
            if before.get(key) != now.get(key):
                lines.append(f"  {key}: {before.get(key, 'not there')} -> {now.get(key, 'not there')}")
    return (
        f"the sweep {name} exists with another config:\n" + "\n".join(lines) + "\n"
        f"to run this one beside it, name it: ablation.name={name}_2 (equal runs are reused, not trained again)"
    )
