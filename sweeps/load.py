"""Load what is tracked of a sweep. Train nothing, print nothing, write nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.config.checks import ConfigError, did_you_mean
from pipeline.config.groups import config_folders, config_groups
from pipeline.config.overrides import is_of_store, parse_override
from pipeline.datasets.complete import recalled
from pipeline.inference.load import open_store
from sweeps.commands import GROUPS
from sweeps.config.ablation import Ablation, compose_ablation
from sweeps.config.multirun import compose_multirun, divide_settings
from sweeps.config.study import compose_study
from sweeps.execution.epoch_timing import tracked_timings
from sweeps.reports.findings import judge_ablation
from sweeps.results import COMMAND, CONFIRMED, Runs, TrialResult, lost_trials, recall_data, tracked_runs, trial_results
from sweeps.search.finalists import with_finalists
from sweeps.search.history import History, study_result
from sweeps.search.storage import has_study, open_study
from sweeps.sweep_result import AblationResult, GridResult, StudySweepResult, SweepResult

if TYPE_CHECKING:
    from pipeline.tracking.reader import TrackedRun
    from pipeline.tracking.tracker import Tracker


def load_results(name: str, overrides: Sequence[str] = ()) -> SweepResult:
    """Return what is tracked of the sweep `name`, by trial and seed.

    Args:
        name: The sweep's name, which is its experiment's in MLflow.
        overrides: Say where the store is, as in store.root=mlruns.

    Raises:
        ConfigError: if there is no store or no such sweep in it.
    """
    store, tracker = open_store(overrides)
    parent = tracker.find_sweep(name)
    if parent is None:
        names = tracker.sweeps()
        hint = f"There are: {', '.join(names)}" if names else "There is none"
        if tracker.is_deleted(name):
            hint = "It was deleted in MLflow's pages; restore it there, or launch it again, which restores it too"
        raise ConfigError(f"{store.place} holds no sweep {name}{did_you_mean(name, names)}. {hint}")
    kind, *words = command_of(name, parent)
    _require_files(name, kind, words)
    words = [word for word in words if not is_of_store(word)] + list(overrides)  # older stores tagged those too
    with recalled(recall_data(tracker, parent.run_id, name)):
        return _loaded(name, kind, words, tracker, parent)


def _loaded(name: str, kind: str, words: list[str], tracker: Tracker, parent: TrackedRun) -> SweepResult:
    if kind == "ablate":
        ablation = compose_ablation(words[0], words[1:])
        sweep = ablation.sweep
        runs, left_out = tracked_runs(tracker, parent.run_id, sweep)
        seconds = tracked_timings(ablation.timed_trials, tracker, parent.run_id)
        results = ablation_results(ablation, runs, tracker)
        findings = judge_ablation(ablation, results, seconds)
        return AblationResult(sweep, tracker, parent.run_id, left_out, [], "", results, ablation, seconds, findings)
    sweep = compose_study(words[0], words[1:]) if kind == "study" else compose_multirun(*divide_settings(words[1:]))
    runs, left_out = tracked_runs(tracker, parent.run_id, sweep)
    failures: list[str] = []
    common = (sweep, tracker, parent.run_id, left_out, failures, "")
    if sweep.trials is not None:
        return GridResult(*common, trial_results(sweep, runs, tracker))
    if not has_study(sweep):
        raise ConfigError(f"Optuna's storage has no study {name}: launch it again, which trains nothing twice")
    history = History(open_study(sweep, "report"), sweep)
    history.exclude([*history.lost, *lost_trials(history.run_ids(), tracker, parent.run_id, sweep)])
    result = with_finalists(study_result(history), runs, sweep)
    confirmed = runs.get(f"{result.best[0].number}{CONFIRMED}", {}) if result.best else {}
    return StudySweepResult(*common, result, list(confirmed.values()))


def ablation_results(ablation: Ablation, runs: Runs, tracker: Tracker) -> list[TrialResult]:
    """Return an ablation's trials with their runs, and ticks and published numbers of its file."""
    filed = ablation.config.trials
    return [
        replace(result, tick=filed[result.label].tick, published=filed[result.label].published)
        for result in trial_results(ablation.sweep, runs, tracker)
    ]


def command_of(name: str, parent: TrackedRun) -> list[str]:
    """Return the words that launched a sweep: as tagged, or by its name if it is older than the tag.

    Raises:
        ConfigError: if neither says how it was launched.
    """
    if COMMAND in parent.tags:
        words: list[str] = json.loads(parent.tags[COMMAND])
        return words
    for command, group in GROUPS.items():
        if name in config_groups()[group]:
            return [command, name]
    raise ConfigError(f"the sweep {name} does not say how it was launched; launch it again, which trains nothing twice")


def _require_files(name: str, kind: str, words: Sequence[str]) -> None:
    """Raise ConfigError unless all options of groups are there that the launch of a sweep has chosen."""
    group = GROUPS.get(kind)
    chosen = {f"{group}={words[0]}"} if group else set[str]()
    groups = config_groups()
    for word in words:
        override = parse_override(word) if word.partition("=")[0] in groups else None
        if override:
            values = getattr(override.value(), "list", [override.value()])  # of a choice; other sweeps name no options
            chosen |= {f"{override.key_or_group}={value}" for value in values if isinstance(value, str)}
    for choice in sorted(chosen):
        group, _, option = choice.partition("=")
        if option not in groups[group]:
            missing = f"{' or '.join(map(str, config_folders()))} has no {group}/{option}.yaml"
            todo = "run this in the folder that you launched it from, or name its config folder with --config-dir DIR"
            raise ConfigError(f"the sweep {name} was launched with {choice}, and {missing}: {todo}")
