"""A tracked model, found by its run or registered name, with the config that it was trained with."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pipeline.config.checks import ConfigError
from pipeline.config.compose import compose, compose_from
from pipeline.config.overrides import is_of_store
from pipeline.config.schema import RunConfig, StoreConfig
from pipeline.config.trust import is_built_in
from pipeline.models.build import build
from pipeline.run import trained_model
from pipeline.system.messages import one_line
from pipeline.system.tensorflow import start_tensorflow
from pipeline.tracking.reader import TrackedRun
from pipeline.tracking.tracker import Tracker
from pipeline.training.identity import recall

if TYPE_CHECKING:
    import keras

ALIAS = "best"


@dataclass(frozen=True)
class SavedModel:
    """A trained model, its run and its config; `trust`: whether code that this names may be imported."""

    net: keras.Model
    run: TrackedRun
    config: RunConfig
    trust: bool = False


def open_store(overrides: Sequence[str]) -> tuple[StoreConfig, Tracker]:
    """The store that `overrides` (store.KEY=...) name, and its tracker.

    Raises:
        ConfigError: for another override, or where there is no store.
    """
    for override in overrides:
        if not is_of_store(override):
            raise ConfigError(f"{override}: this looks at what is tracked; only store.KEY=... can be given")
    store = compose(RunConfig, "train", overrides).store
    if not store.exists:
        raise ConfigError(f"there is no store in {store.place}; name another with store.root=..., or run a sweep first")
    return store, Tracker(store)


def load_model(name: str, store: StoreConfig, tracker: Tracker, trust: bool = False) -> SavedModel:
    """The model called `name`: a run's id, or its first letters, or a registered model as in filter_count@best.

    Args:
        name: Of the model.
        store, tracker: Where it is.
        trust: Whether to import the code that its config names, `model.builder` and `data.loader`.

    Raises:
        ConfigError: if there is no such run or model, none was logged with the run, or it needs code and no `trust`.
    """
    run = _find(name, tracker)
    written = tracker.read_file(run.run_id, "config.yaml")
    if written is None:
        raise ConfigError(
            f"run {run.run_id} has no config.yaml: it is a sweep's parent run, no run of "
            "convsweep, or its files were moved"
        )
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "config.yaml").write_text(written)
        config = compose_from(Path(scratch) / "config.yaml", [])
    config.store = store
    net = find_model(config, run, tracker, trust)
    if net is None:
        raise ConfigError(
            f"the model of run {run.run_id} is not stored any more. To have it again, save its artifact config.yaml "
            "(MLflow's page of the run shows it) and run `convsweep train --from config.yaml`"
        )
    return SavedModel(net, run, config, trust)


def find_model(config: RunConfig, run: TrackedRun, tracker: Tracker, trust: bool) -> keras.Model | None:
    """Return the model of a finished run: logged with it or with the run that it is a copy of, or its checkpoint's.

    Loaded in Keras's safe mode: a model with code of its own is built anew by it if `trust` allows that, else refused.

    Raises:
        ConfigError: if the logged file cannot be loaded, or the code must not be imported.
    """
    for each in tracker.with_sources(run):
        with tempfile.TemporaryDirectory() as scratch:
            if file := tracker.models.file(each.run_id, Path(scratch)):
                return _load(file, each, config, trust)
    if config.model.builder is not None and not trust and not is_built_in(config.model.builder):
        require_trust(run, f"model.builder={config.model.builder}")
    return trained_model(recall(config, run.tags), int(run.metrics.get("epochs", 0)))


def require_trust(run: TrackedRun, code: str) -> NoReturn:
    """Raise the ConfigError for a run whose config names code."""
    raise ConfigError(
        f"run {run.run_id} needs {code}, which is imported only if you trust it: change to the project that holds it, "
        "and add --trust"
    )


def _load(file: Path, run: TrackedRun, config: RunConfig, trust: bool) -> keras.Model:
    start_tensorflow(None)
    import keras

    own = file.suffix != ".keras"
    if own and not trust:
        require_trust(run, f"model.builder={config.model.builder}")
    try:
        if own:
            net = build(config.model, config.data, None)
            net.load_weights(file)
            return net
        return keras.saving.load_model(file, compile=False, safe_mode=True)
    except ConfigError:
        raise
    except Exception as error:  # damaged files fail in as many ways as they can be damaged
        raise ConfigError(f"the model of run {run.run_id} cannot be loaded: {one_line(error)}") from error


def _find(name: str, tracker: Tracker) -> TrackedRun:
    if re.fullmatch(r"[0-9a-f]{4,32}", name):
        runs = tracker.runs_beginning(name)
        if len(runs) == 1:
            return runs[0]
        if runs:
            raise ConfigError(f"{name} begins the ids of {len(runs)} runs; give more of its letters")
    model, _, alias = name.partition("@")
    if run_id := tracker.models.registered_run(model, alias or ALIAS):
        return tracker.get(run_id)
    names = tracker.models.registered_names()
    has = (
        f"registered models: {', '.join(f'{model}@{ALIAS}' for model in names)}" if names else "no model is registered"
    )
    raise ConfigError(f"there is no run or registered model {name}; {has}. `convsweep ui` shows every run's id")
