"""Hydra's `-m` on convsweep's engine. Kept tiny: Hydra executes plugin modules whenever it looks for plugins.

No `from __future__ import annotations`: Hydra executes this without a place in sys.modules, where dataclasses look.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig


@dataclass
class SweeperConf:
    """`hydra.sweeper.KEY=...`; each key as in conf/study/smoke.yaml and conf/sweep.yaml; null = chosen by the sweep."""

    _target_: str = "hydra_plugins.convsweep_sweeper.ConvsweepSweeper"
    name: str | None = None
    objectives: Any = None
    sampler: str | None = None
    sampler_seed: int | None = None
    pruner: str | None = None
    n_trials: int | None = None
    timeout: float | None = None
    stop_after_no_improvement: int | None = None
    confirm_seeds: Any = None
    seeds: Any = None
    workers: int | None = None
    workers_max_runs: int | None = None
    workers_max_memory: float | None = None
    retries: int | None = None
    most_deaths: int | None = None
    budget: str | None = None


class ConvsweepSweeper(Sweeper):
    """Hands the swept overrides to `sweeps.search`; neither Hydra's launcher nor its job folders are used."""

    def __init__(self, **settings: Any) -> None:
        """Keep `hydra.sweeper`'s settings."""
        self.settings = settings
        self.task: Callable[[list[str], dict[str, Any]], Any] | None = None

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        """Keep the task: it takes (overrides, settings)."""
        self.task = task_function

    def sweep(self, arguments: list[str]) -> Any:
        """Run the sweep; what the task returns."""
        from omegaconf import OmegaConf

        plain = {k: OmegaConf.to_object(v) if OmegaConf.is_config(v) else v for k, v in self.settings.items()}
        assert self.task is not None
        return self.task(arguments, plain)


ConfigStore.instance().store(group="hydra/sweeper", name="convsweep", node=SweeperConf, provider="convsweep")
