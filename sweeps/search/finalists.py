"""Finalists: the best trials of a search, trained again on fresh seeds before one of them is chosen.

The best of many noisy values flatters its config; docs/explanation/performance.md shows what training some again gains.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from statistics import fmean

from pipeline.tracking.reader import TrackedRun
from sweeps.results import FINALIST, Runs, StudyResult, StudyTrial, ranked
from sweeps.sweep import Sweep


def finalists_of(study: StudyResult, sweep: Sweep) -> list[StudyTrial]:
    """Return the trials to train again, the best first; none where there is nothing to choose between."""
    candidates = study.best if len(sweep.objectives) > 1 else ranked(study.trials, sweep)
    finalists = candidates[: sweep.finalists]
    return finalists if len(finalists) > 1 and sweep.finalist_seeds else []


def with_finalists(study: StudyResult, runs: Runs, sweep: Sweep) -> StudyResult:
    """Return the study with the best finalist as its best trial, by the mean over all its seeds.

    A finalist of which a fresh seed has not finished comes after the others.
    """
    fresh = {trial.number: _fresh(runs, trial, sweep) for trial in finalists_of(study, sweep)}
    trained = [_with_runs(trial, fresh[trial.number], sweep) for trial in study.trials if trial.number in fresh]
    finalists = sorted(ranked(trained, sweep), key=lambda trial: -len(fresh[trial.number]))
    if not any(fresh.values()):
        return study
    others = [trial for trial in study.best if trial.number not in fresh]
    return replace(study, best=[*finalists, *others][: len(study.best)], finalists=finalists)


def _fresh(runs: Runs, trial: StudyTrial, sweep: Sweep) -> Mapping[int, TrackedRun]:
    tracked = runs.get(f"{trial.number}{FINALIST}", {})
    return {seed: tracked[seed] for seed in sweep.finalist_seeds if seed in tracked}


def _with_runs(trial: StudyTrial, fresh: Mapping[int, TrackedRun], sweep: Sweep) -> StudyTrial:
    """Return a trial as if it had been proposed with these seeds, too."""
    values = {**trial.seed_values, **{str(seed): run.metrics[sweep.objective] for seed, run in fresh.items()}}
    return replace(
        trial,
        values=[fmean(values.values()), *trial.values[1:]],
        seed_values=values,
        seeds=[*trial.seeds, *fresh],
        run_ids=[*trial.run_ids, *(run.run_id for run in fresh.values())],
    )
