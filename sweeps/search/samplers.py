"""Optuna's samplers and pruners by name."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

SAMPLERS = ("tpe", "tpe_multivariate", "random", "qmc", "nsga2", "cmaes", "gp")
PACKAGES = {"cmaes": "cmaes", "gp": "torch"}  # which Optuna does not bring
PRUNERS = ("none", "median", "successive_halving", "hyperband", "patient", "wilcoxon")


def make_sampler(name: str, seed: int) -> BaseSampler:
    """Return the sampler called `name`."""
    from optuna import samplers

    with warnings.catch_warnings(action="ignore"):  # Optuna calls some of them experimental
        match name:
            case "tpe":
                return samplers.TPESampler(seed=seed)
            case "tpe_multivariate":
                return samplers.TPESampler(seed=seed, multivariate=True, group=True)
            case "qmc":
                return samplers.QMCSampler(seed=seed, scramble=True, warn_independent_sampling=False)
            case "nsga2":
                return samplers.NSGAIISampler(seed=seed)
            case "cmaes":
                return samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
            case "gp":
                return samplers.GPSampler(seed=seed, warn_independent_sampling=False)
            case _:
                return samplers.RandomSampler(seed=seed)


def make_pruner(name: str, seeds: int) -> BasePruner:
    """Return the pruner called `name`: of epochs for trials of one seed, else of seeds."""
    from optuna import pruners

    with warnings.catch_warnings(action="ignore"):  # Optuna calls Wilcoxon experimental
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
