"""`convsweep report`: a sweep's tables, figures and page again from what is tracked. Trains nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.console import Console

from pipeline.config.schema import ConfigError, StoreConfig, config_groups, did_you_mean, is_of_store
from pipeline.inference.load import open_store
from pipeline.tracking.tracker import TrackedRun, Tracker
from sweeps.config.ablation import compose_ablation
from sweeps.config.study import StudyConfig, compose_hydra_sweep, compose_study
from sweeps.execution.engine import CONFIRMED
from sweeps.launch import COMMAND, grid_rows
from sweeps.reports.publish import Publication, publish_ablation, publish_grid, publish_index, publish_study
from sweeps.results import lost_trials, tracked_runs
from sweeps.search.optuna_study import Study, is_known
from sweeps.sweep import Sweep


def rebuild(name: str, overrides: Sequence[str], console: Console) -> None:
    """Rebuild the report of the sweep `name`; `overrides` say where the store is.

    Raises:
        ConfigError: if there is no store or no such sweep in it.
    """
    store, tracker = open_store(overrides)
    _rebuild(name, store, tracker, overrides, console)


def rebuild_all(overrides: Sequence[str], console: Console) -> None:
    """Rebuild the reports of all ablations in the store, and the index over them. Raises as `rebuild`."""
    store, tracker = open_store(overrides)
    parents = {name: tracker.find_sweep(name) for name in tracker.sweeps()}
    ablations = [name for name, parent in parents.items() if parent and _command(name, parent)[:1] == ["ablate"]]
    if not ablations:
        raise ConfigError(f"{store.folder} holds no ablation; make one: convsweep ablate demo")
    for name in ablations:
        _rebuild(name, store, tracker, overrides, console)
    console.print(f"index: {publish_index(store)}", soft_wrap=True, highlight=False)


def _rebuild(name: str, store: StoreConfig, tracker: Tracker, overrides: Sequence[str], console: Console) -> None:
    parent = tracker.find_sweep(name)
    if parent is None:
        known = [sweep for sweep in tracker.sweeps() if tracker.find_sweep(sweep)]
        has = f"There are: {', '.join(known)}" if known else "There is none"
        if tracker.is_deleted(name):
            has = "It was deleted in MLflow's pages; restore it there, or launch it again, which restores it too"
        raise ConfigError(f"{store.folder} holds no sweep {name}{did_you_mean(name, known)}. {has}")
    kind, *words = _command(name, parent)
    words = [word for word in words if not is_of_store(word)] + list(overrides)  # older stores tagged those too
    if kind == "ablate":
        ablation = compose_ablation(words[0], words[1:])
        to = Publication(ablation.sweep, ablation.config.description, tracker, parent.run_id, console)
        publish_ablation(to, ablation, _alike_runs(to), measure=False)
        return
    section, sweep = compose_study(words[0], words[1:]) if kind == "study" else _hydra_sweep(words)
    to = Publication(sweep, section.description, tracker, parent.run_id, console)
    runs = _alike_runs(to)
    if sweep.trials is not None:
        publish_grid(to, grid_rows(sweep, runs, tracker), sweep.config.statistics)
    else:
        confirmed = [run for label, by_seed in runs.items() if label.endswith(CONFIRMED) for run in by_seed.values()]
        if not is_known(sweep):
            raise ConfigError(f"Optuna's storage has no study {name}: launch it again, which trains nothing twice")
        study = Study(sweep, "report")
        study.exclude([*study.lost, *lost_trials(study.run_ids(), tracker, parent.run_id, sweep)])
        publish_study(to, study, lambda point, best: _of_trial(confirmed, f"{best.number}{CONFIRMED}"))


def _alike_runs(to: Publication) -> dict[str, dict[int, TrackedRun]]:
    """The sweep's runs that may be averaged; say so where others are left out."""
    runs, others = tracked_runs(to.tracker, to.parent, to.sweep)
    if others:
        to.console.print(
            f"{others} older runs are left out: they were trained by other code, library versions, data or precision "
            "than the newest, and cannot be averaged with them",
            style="yellow",
            soft_wrap=True,
        )
    return runs


def _of_trial(runs: list[TrackedRun], label: str) -> list[TrackedRun]:
    return [run for run in runs if run.tags["convsweep.trial"] == label]


def _command(name: str, parent: TrackedRun) -> list[str]:
    """What launched a sweep: as tagged; a sweep from before there was a tag is known by its name."""
    if COMMAND in parent.tags:
        told: list[str] = json.loads(parent.tags[COMMAND])
        return told
    for group, command in (("ablation", "ablate"), ("study", "study")):
        if name in config_groups()[group]:
            return [command, name]
    raise ConfigError(f"the sweep {name} does not say how it was launched; launch it again, which trains nothing twice")


def _hydra_sweep(words: Sequence[str]) -> tuple[StudyConfig, Sweep]:
    """The sweep of `train -m` words, with hydra.sweeper.KEY=JSON as a launch writes them."""
    settings = [word.partition("=") for word in words if word.startswith("hydra.sweeper.")]
    overrides = [word for word in words if word != "-m" and not word.startswith("hydra.sweeper.")]
    return compose_hydra_sweep(overrides, {key.rpartition(".")[2]: json.loads(value) for key, _, value in settings})
