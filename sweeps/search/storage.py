"""Optuna's storage and a sweep's study in it: opened, or created, and checked against what the sweep was before."""

from __future__ import annotations

import json
import warnings
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, cast

from pipeline.config.checks import ConfigError
from pipeline.config.schema import RunConfig, StoreConfig
from pipeline.config.types import defaults_of
from pipeline.system.messages import shown_address
from pipeline.tracking.databases import OPTUNA, engine_arguments, is_made, make, opened
from pipeline.tracking.retry import Retrying
from sweeps.search.samplers import make_pruner, make_sampler
from sweeps.sweep import Sweep

if TYPE_CHECKING:
    import optuna

IDENTITY = "convsweep.identity"
# Part of an identity that a report need not match.
TRAINED_BY = "trained_by"

Purpose = Literal["launch", "plan", "report"]


def open_study(sweep: Sweep, purpose: Purpose = "launch") -> optuna.Study:
    """Open the sweep's study, or create it where the sweep is launched.

    Args:
        sweep: What it is a study of.
        purpose: A launch adds trials, which must be trained by the same code and libraries; the others only read, and
            a report shows what other code has trained.

    Raises:
        ConfigError: if the study exists with another identity (base, space, objectives), with the difference.
        UnopenedStoreError: if the store cannot be opened.
    """
    import optuna

    def opening() -> optuna.Study:
        storage = open_storage(sweep.store)
        if purpose != "launch":
            return optuna.load_study(storage=storage, study_name=sweep.name)
        return optuna.create_study(
            storage=storage,
            study_name=sweep.name,
            directions=list(sweep.objectives.values()),
            load_if_exists=True,
        )

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = opened(sweep.store.optuna_uri, sweep.store.retry_seconds, opening)
    # All that a study and its trials read and write goes through this.
    study._storage = cast(
        Any, Retrying(study._storage, sweep.store.retry_seconds, shown_address(sweep.store.optuna_uri))
    )
    trials = study.get_trials(deepcopy=False)
    _check_identity(study, sweep, purpose, is_empty=not trials)
    # Offset the seed by the number of trials, so that a resumed sampler does not repeat its first points.
    study.sampler = make_sampler(sweep.sampler, sweep.sampler_seed + len(trials))
    study.pruner = make_pruner(sweep.pruner, len(sweep.seeds))
    return study


def _check_identity(study: optuna.Study, sweep: Sweep, purpose: Purpose, is_empty: bool) -> None:
    identity = json.loads(json.dumps(sweep.identity | {"objectives": list(sweep.objectives.items())}))
    before, without = _identity(study), (TRAINED_BY,) if purpose == "report" else ()
    if before is None or is_empty:  # a study without trials may change its identity
        if purpose == "launch":
            study._storage.set_study_system_attr(study._study_id, IDENTITY, identity)
            _name_metrics(study, sweep)
    elif difference := _difference(_completed(before, identity), identity, without):
        raise ConfigError(
            f"the sweep {sweep.name} exists with another config:\n{difference}\n"
            f"to run this one beside it, name it: {sweep.name_key}={sweep.name}_2 "
            "(equal runs are reused, not repeated)"
        )


def _identity(study: optuna.Study) -> dict[str, Any] | None:
    """Return the identity of a study; None if it has none yet.

    It is a system attribute, as optuna-dashboard shows the others. Stores from before December 2026 have it there.
    """
    hidden = study._storage.get_study_system_attrs(study._study_id)
    return cast("dict[str, Any] | None", hidden.get(IDENTITY) or study.user_attrs.get(IDENTITY))


def _name_metrics(study: optuna.Study, sweep: Sweep) -> None:
    """Name the study's values, which would be "Objective 0" in figures and in optuna-dashboard."""
    with warnings.catch_warnings(action="ignore"):  # Optuna calls this experimental
        study.set_metric_names(list(sweep.objectives))


def _completed(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Return the identity from before with those keys of its base that configs had not yet."""
    added = {key: value for key, value in defaults_of(RunConfig).items() if key in now["base"]}
    return {**before, "base": added | before["base"]}


def _difference(before: Mapping[str, Any], now: Mapping[str, Any], without: tuple[str, ...]) -> str:
    """Return what differs between two identities, a line each, `without` these parts."""
    lines = []
    for part in {**before, **now}.keys() - set(without):
        old, new = (each.get(part) for each in (before, now))
        old, new = (each if isinstance(each, dict) else {part: each} for each in (old, new))
        for key in sorted({*old, *new}):
            if old.get(key) != new.get(key):
                lines.append(f"  {key}: {old.get(key, 'not there')} -> {new.get(key, 'not there')}")
    return "\n".join(sorted(lines))


def has_study(sweep: Sweep) -> bool:
    """Return whether the store has a study of the sweep's name; create nothing.

    Raises:
        UnopenedStoreError: if the store cannot be opened.
    """
    url = sweep.store.optuna_uri

    def opening() -> bool:
        if not is_made(url, OPTUNA):
            return False
        import optuna

        return sweep.name in optuna.get_all_study_names(open_storage(sweep.store))

    return opened(url, sweep.store.retry_seconds, opening)


def open_storage(store: StoreConfig) -> optuna.storages.BaseStorage:
    """Return Optuna's storage; create its database if there is none."""
    make(store.optuna_uri, OPTUNA, _build, store.folder)

    from optuna.storages import RDBStorage

    settings = engine_arguments(store.optuna_uri, store.retry_seconds)
    storage = RDBStorage(store.optuna_uri, engine_kwargs=settings, skip_table_creation=True)
    weakref.finalize(storage, storage.engine.dispose)  # which closes its connections, as Optuna does not
    return storage


def _build(url: str) -> None:
    """Create Optuna's tables in the empty database at `url`."""
    from optuna.storages import RDBStorage

    storage = RDBStorage(url)
    storage.remove_session()
    storage.engine.dispose()
