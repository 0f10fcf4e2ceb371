"""What is tracked of a sweep, by trial and seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from pipeline.config.compose import flatten, to_dict
from pipeline.config.data import DataConfig
from pipeline.config.types import typed
from pipeline.datasets.complete import Recall
from pipeline.tracking.params import rests
from pipeline.tracking.reader import TRIAL, TrackedRun, as_text
from pipeline.tracking.tracker import Tracker
from sweeps.sweep import Sweep, Trial, base_identity

Curves = dict[str, list[float]]
Runs = Mapping[str, Mapping[int, TrackedRun]]  # by trial and seed
# Ends of the labels of trials that are trained again on fresh seeds: to choose one, and to test it.
FINALIST, CONFIRMED = " finalist", " confirmed"
# Tag of a parent run: what `convsweep` was given, as JSON.
COMMAND = "convsweep.command"
# Params that say which dataset a run was trained on; of one that is the same by these the content may have changed.
SOURCE = ("data.name", "data.loader", "data.args", "data.path", "data.url")


@dataclass(frozen=True)
class TrialResult:
    """One trial: its finished runs in the order of the seeds, and published values by source and metric.

    Attributes:
        label, tick: What the trial is called, in tables and in the chart.
        seeds, runs: One of each per finished run.
        published: Published values by source and metric.
        curves: Per run, each metric's values after epochs 1..E; may be empty.
    """

    label: str
    tick: str
    seeds: list[int]
    runs: list[TrackedRun]
    published: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    curves: list[Curves] = field(default_factory=list)

    def values(self, metric: str) -> list[float]:
        """Return the metric's last value, or with NAME@EPOCH that epoch's, of every run that has it."""
        return list(self.by_seed(metric).values())

    def by_seed(self, metric: str) -> dict[int, float]:
        """Return the same by seed."""
        name, _, epoch = metric.partition("@")
        if epoch:
            curves = self.curve(name)
            return {seed: curve[int(epoch) - 1] for seed, curve in curves.items() if len(curve) >= int(epoch)}
        return {seed: run.metrics[name] for seed, run in zip(self.seeds, self.runs, strict=True) if name in run.metrics}

    def curve(self, metric: str) -> dict[int, list[float]]:
        """Return the metric after each epoch, by seed."""
        by_seed = zip(self.seeds, self.curves, strict=False)
        return {seed: curves[metric] for seed, curves in by_seed if metric in curves}

    def published_value(self, metric: str) -> tuple[float, str] | None:
        """Return the published value of a metric and its source, the first that gives one; None without any."""
        sources = self.published.items()
        return next(((values[metric], source) for source, values in sources if metric in values), None)


@dataclass(frozen=True)
class StudyTrial:
    """A trial of a study that has ended by itself.

    Attributes:
        number, state: Optuna's number; COMPLETE, PRUNED or FAIL.
        values: One per objective; empty unless it is COMPLETE.
        params: Its point of the search space, by config key.
        seed_values: The first objective's value, by seed as text.
        seeds, run_ids: One of each per run that has finished.
        reason: Why it failed; empty unless it did.
    """

    number: int
    state: str
    values: list[float]
    params: Mapping[str, Any]
    seed_values: Mapping[str, float]
    seeds: list[int]
    run_ids: list[str]
    reason: str = ""


@dataclass(frozen=True)
class StudyResult:
    """A study's trials in order, and the best of them: one, or the Pareto front, by the first objective.

    Attributes:
        trials: As the search left them.
        best: The first is the chosen one.
        draw: Draws figures of the study into a folder, and returns a line for each that cannot be drawn.
        finalists: Those that were trained again before one was chosen, with their fresh seeds, the best first.
    """

    trials: list[StudyTrial]
    best: list[StudyTrial]
    draw: Callable[[Path], list[str]] = lambda folder: []
    finalists: list[StudyTrial] = field(default_factory=list)


def ranked(trials: Sequence[StudyTrial], sweep: Sweep) -> list[StudyTrial]:
    """Return the completed ones of a study's trials, the best first, by the first objective."""
    complete = [trial for trial in trials if trial.state == "COMPLETE"]
    return sorted(complete, key=lambda trial: (-sweep.sign * trial.values[0], trial.number))


def trial_results(sweep: Sweep, runs: Mapping[str, Mapping[int, TrackedRun]], tracker: Tracker) -> list[TrialResult]:
    """Return a result per trial of a grid, with the learning curves of its runs, which are given by trial and seed."""
    results = []
    for trial in sweep.trials or []:
        given = runs.get(trial.label, {})
        by_seed = {seed: given[seed] for seed in sweep.seeds if seed in given}
        curves = [tracker.history(run.run_id) for run in by_seed.values()]
        results.append(TrialResult(trial.label, trial.label, [*by_seed], [*by_seed.values()], curves=curves))
    return results


def means_of(results: Sequence[TrialResult], metric: str) -> dict[str, float]:
    """Return the mean of a metric's last values by trial, of those that have any."""
    return {result.label: fmean(values) for result in results if (values := result.values(metric))}


def comparable_results(results: Sequence[TrialResult], sweep: Sweep) -> list[TrialResult]:
    """Return a grid's trials by as many seeds as all of them have; one that lacks some of the first look's is left out.

    Where seeds are added for some trials alone, their means are not those of the others' seeds.
    """
    enough = min(sweep.looks[0], max((len(result.runs) for result in results), default=0))
    whole = [result for result in results if len(result.runs) >= enough and result.values(sweep.objective)]
    n = min((len(result.runs) for result in whole), default=0)
    return [replace(it, seeds=it.seeds[:n], runs=it.runs[:n], curves=it.curves[:n]) for it in whole]


def best_result(results: Sequence[TrialResult], sweep: Sweep) -> TrialResult | None:
    """Return a grid's best trial by the mean of the objective over the seeds that all have; None without any."""
    means = {it.label: sweep.sign * fmean(it.values(sweep.objective)) for it in comparable_results(results, sweep)}
    best = max(means, key=lambda label: means[label], default=None)
    return next((result for result in results if result.label == best), None)


def trial_of(sweep: Sweep, trial: StudyTrial) -> Trial:
    """Return the sweep's trial, with its config, of a trial that a study has completed."""
    assert sweep.space is not None
    return sweep.trial(str(trial.number), sweep.space.overrides(dict(trial.params)), {})


def tracked_runs(tracker: Tracker, parent: str, sweep: Sweep) -> tuple[dict[str, dict[int, TrackedRun]], int]:
    """Return the finished runs of a sweep's seeds by trial and seed, and how many others were made otherwise.

    The newest run counts where there are several. A run whose trial has another config by now, its file having changed
    since, is left out. So is one that cannot be averaged with the newest, trained with another version of training or
    libraries, on other data or in another precision; those are counted.
    """
    runs = [run for run in tracker.children(parent, sweep.name) if run.is_finished and "seed" in run.params]
    configs = {trial.label: base_identity(trial.base) for trial in sweep.trials or []}
    runs = [run for run in runs if _has_config(run, configs.get(run.tags.get(TRIAL, ""), {}))]
    alike = _made_alike(runs)
    by_trial: dict[str, dict[int, TrackedRun]] = {}
    for run in alike:  # the newest comes first
        if sweep.trials is None or int(run.params["seed"]) in sweep.seeds:
            by_trial.setdefault(run.tags.get(TRIAL, ""), {}).setdefault(int(run.params["seed"]), run)
    return by_trial, len(runs) - len(alike)


def recall_data(tracker: Tracker, parent: str, name: str) -> Recall:
    """Return what knows the data of one's own that a sweep's runs were trained on, the newest runs' where it changed.

    Args:
        tracker: The store.
        parent: Id of the sweep's parent run.
        name: The sweep's.
    """

    @cache
    def runs() -> dict[str, TrackedRun]:
        return {_source(run.params): run for run in reversed(tracker.children(parent, name)) if run.is_finished}

    @cache
    def tracked(source: str) -> DataConfig | None:
        run = runs().get(source)
        written = tracker.read_file(run.run_id, "config.yaml") if run else None
        return typed(DataConfig, yaml.safe_load(written)["data"], "data") if written else None

    def recall(data: DataConfig) -> DataConfig | None:
        return tracked(_source({key: as_text(value) for key, value in flatten({"data": to_dict(data)}).items()}))

    return recall


def _source(params: Mapping[str, str]) -> str:
    """Return which dataset a run was trained on, by its params."""
    given = {key: text for key, text in params.items() if key in SOURCE or key.startswith("data.args.")}
    return str(sorted((key, text) for key, text in given.items() if text not in map(as_text, (None, {}))))


def lost_trials(run_ids: Mapping[int, Sequence[str]], tracker: Tracker, parent: str, sweep: Sweep) -> list[int]:
    """Return the numbers of those trials of which a run was deleted in MLflow's pages, or with its database."""
    tracked = {run.run_id for run in tracker.children(parent, sweep.name) if run.is_finished}
    gone = {each for ids in run_ids.values() for each in ids if each not in tracked and tracker.find(each) is None}
    return [number for number, ids in run_ids.items() if gone.intersection(ids)]


def _has_config(run: TrackedRun, config: Mapping[str, object]) -> bool:
    """Return whether a run was trained by a config; what its params leave out rested."""
    params = run.params
    return all(params[key] == as_text(value) if key in params else rests(key, value) for key, value in config.items())


def _made_alike(runs: Sequence[TrackedRun]) -> list[TrackedRun]:
    """Return those of `runs`, newest first, that were made as the newest of them."""
    newest: dict[str, str | None] = {}
    for run in runs:
        newest = _making(run) | newest
    return [run for run in runs if _making(run).items() <= newest.items()]


def _making(run: TrackedRun) -> dict[str, str | None]:
    """Return how a run was made, beside its config."""
    making = {name: run.tags.get(f"convsweep.{name}") for name in ("training_version", "versions")}
    making[f"data {_source(run.params)}"] = run.tags.get("convsweep.data_sha256")
    if "convsweep.code_sha256" in run.tags:  # a function of the user's own, as its source was
        making[f"code {run.params.get('model.builder')}"] = run.tags["convsweep.code_sha256"]
    if run.params.get("trainer.precision") == "auto":
        making["precision"] = run.tags.get("convsweep.precision")
    return making
