"""results.csv: a line per run of a grid, or per trial of a study."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from sweeps.results import StudyTrial, TrialResult
from sweeps.sweep import Sweep


def write_csv(results: Sequence[TrialResult], path: Path) -> None:
    """Write a line per run: trial, seed, run id, every metric's last value, and the published values beside them."""
    metrics = sorted({metric for result in results for run in result.runs for metric in run.metrics})
    published = sorted({metric for result in results for values in result.published.values() for metric in values})
    header = ["trial", "seed", "run_id", *metrics, *(f"published/{metric}" for metric in published), "published/source"]
    lines = []
    for result in results:
        values = [result.published_value(metric) or ("", "") for metric in published]
        sources = " ".join(dict.fromkeys(source for _, source in values if source))
        for seed, run in zip(result.seeds, result.runs, strict=True):
            measured = [run.metrics.get(metric, "") for metric in metrics]
            lines.append([result.label, seed, run.run_id, *measured, *(value for value, _ in values), sources])
    _write_lines([header, *lines], path)


def write_study_csv(trials: Sequence[StudyTrial], sweep: Sweep, path: Path) -> None:
    """Write a line per trial: number, state, values, parameters, values by seed, run ids, and why it failed."""
    seeds = [f"{sweep.objective} seed={seed}" for seed in sweep.seeds]
    header = ["trial", "state", *sweep.objectives, *sweep.varied, *seeds, "run_ids", "reason"]
    lines = [
        [trial.number, trial.state, *trial.values, *[""] * (len(sweep.objectives) - len(trial.values))]
        + [trial.params.get(key, "") for key in sweep.varied]
        + [trial.seed_values.get(str(seed), "") for seed in sweep.seeds]
        + [" ".join(trial.run_ids), trial.reason]
        for trial in trials
    ]
    _write_lines([header, *lines], path)


def _write_lines(lines: Iterable[Sequence[object]], path: Path) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([_escaped(value) for value in line] for line in lines)


def _escaped(value: object) -> object:
    """Return a value for a CSV file, with an apostrophe before text that a spreadsheet would take for a formula."""
    return f"'{value}" if isinstance(value, str) and re.match(r"[=+\-@\t\r]", value) else value
