"""A study copied from a store to another, its trials naming the copies of their runs."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import TYPE_CHECKING

from pipeline.config.checks import ConfigError
from pipeline.config.schema import StoreConfig
from pipeline.system.messages import shown_address
from pipeline.tracking.databases import OPTUNA, is_made, opened
from sweeps.search.storage import open_storage

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

# Attribute of a copied study: the number of trials copied; with fewer, that was cut off, and with more, it went on.
TRIALS = "convsweep.copied_trials"
RUN_IDS = "run_ids"
# What optuna-dashboard notes.
NOTES = "dashboard:"


def study_names(store: StoreConfig) -> list[str]:
    """Return the names of the studies in the store, none where it has no database of them; create nothing.

    Raises:
        UnopenedStoreError: if it cannot be opened.
    """
    import optuna

    def names() -> list[str]:
        return list(optuna.get_all_study_names(open_storage(store))) if is_made(store.optuna_uri, OPTUNA) else []

    return opened(store.optuna_uri, store.retry_seconds, names)


def copy_study(name: str, source: StoreConfig, target: StoreConfig, run_ids: Mapping[str, str]) -> int:
    """Copy a study, anew if it has more trials by now, unless that was done; return how many trials were copied.

    Args:
        name: Of the study, in both stores.
        source, target: The stores.
        run_ids: Ids of the copied runs, by those that they had.

    Raises:
        ConfigError: if the target has another study of the name, or has added to its copy what the source has not.
        UnopenedStoreError: if a store cannot be opened.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    before = optuna.load_study(study_name=name, storage=open_storage(source))
    trials, storage = before.get_trials(deepcopy=False), open_storage(target)
    if name in optuna.get_all_study_names(storage):
        there = optuna.load_study(study_name=name, storage=storage)
        known, copied = there.get_trials(deepcopy=False), there.user_attrs.get(TRIALS, 0)
        if copied == len(trials) <= len(known):
            return 0
        pairs = zip(trials, known, strict=False)
        if len(known) > copied or any(new.state.is_finished() and new.state != old.state for old, new in pairs):
            raise ConfigError(
                f"the study {name} has trials of its own in {shown_address(target.optuna_uri)}: those of "
                f"{source.folder} cannot be put among them. Its runs are copied, and an equal run is reused"
            )
        optuna.delete_study(study_name=name, storage=storage)  # a copy that was cut off, or of fewer trials
    after = optuna.create_study(storage=storage, study_name=name, directions=before.directions)
    for key, value in (before.user_attrs | {TRIALS: len(trials)}).items():
        after.set_user_attr(key, value)
    for key, value in before._storage.get_study_system_attrs(before._study_id).items():
        if not key.startswith(NOTES):  # they name trials by ids that are others here
            storage.set_study_system_attr(after._study_id, key, value)
    after.add_trials([_renamed(trial, run_ids) for trial in trials])
    return len(trials)


def _renamed(trial: FrozenTrial, run_ids: Mapping[str, str]) -> FrozenTrial:
    """Return the trial with its runs' new ids."""
    copy = deepcopy(trial)
    if RUN_IDS in copy.user_attrs:
        copy.user_attrs[RUN_IDS] = [run_ids.get(each, each) for each in copy.user_attrs[RUN_IDS]]
    return copy
