"""How cores are shared among workers: one each, with more threads where runs are few and their steps large."""

from __future__ import annotations

from pipeline.config.checks import ConfigError
from pipeline.config.schema import RunConfig
from pipeline.datasets.cache import source_key
from pipeline.models.layers import layers
from pipeline.training.cost import suitable_threads
from pipeline.training.identity import resolve
from sweeps.backend_config import MOST_WORKERS
from sweeps.backends.base import Resources
from sweeps.sweep import Sweep


def share_cores(sweep: Sweep, cores: int, largest: int) -> Resources:
    """Return how many workers with how many threads so many cores are for.

    Whatever of the sweep is finished already: resumed after an interruption, it computes as it would have without.

    Args:
        sweep: What is to be trained.
        cores: Those of all machines.
        largest: Most cores that one worker can have: those of the largest machine.
    """
    bases = _bases(sweep)
    most = sweep.config.most_workers or cores // max(base.trainer.threads or 1 for base in bases)
    workers = max(1, min(most, runs_at_once(sweep)))
    each = min(largest, max(1, cores // workers))
    return Resources(workers, max(_threads(base, each) for base in bases))


def runs_at_once(sweep: Sweep) -> int:
    """Return how many runs can be trained at once at most: of those that share a resume key, one at a time is."""
    if sweep.trials is None:
        return MOST_WORKERS
    keys = {resolve(base, source_key(base.data)).resume_key for base in _bases(sweep)}
    return min(MOST_WORKERS, len(keys) * sweep.looks[0])


def leaves_precision_open(sweep: Sweep) -> bool:
    """Return whether workers decide in which precision some run is trained."""
    is_auto = any(base.trainer.precision == "auto" for base in _bases(sweep))
    return is_auto or "auto" in sweep.choices.get("trainer.precision", [])


def _bases(sweep: Sweep) -> list[RunConfig]:
    return [trial.base for trial in sweep.trials or []] or [sweep.config]


def _threads(base: RunConfig, most: int) -> int:
    try:
        return suitable_threads(base.trainer, layers(base.model, base.data), most)
    except ConfigError:  # the base of a search need not be a network
        return 1
