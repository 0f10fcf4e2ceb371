"""A sweep's results as pandas DataFrames."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from sweeps.reports.tables import METRICS
from sweeps.results import StudyTrial, TrialResult
from sweeps.sweep import Sweep

if TYPE_CHECKING:
    import pandas as pd


def runs_frame(results: Sequence[TrialResult], sweep: Sweep) -> pd.DataFrame:
    """Return a row per finished run: trial, seed, the trial's params, last value of each metric, run id."""
    import pandas as pd

    rows = [
        {"trial": result.label, "seed": seed, **_params(result, sweep), **run.metrics, "run_id": run.run_id}
        for result in results
        for seed, run in zip(result.seeds, result.runs, strict=True)
    ]
    metrics = _metrics(results)
    return pd.DataFrame(rows, columns=["trial", "seed", *sweep.varied, *metrics, "run_id"])


def summary_frame(results: Sequence[TrialResult], sweep: Sweep) -> pd.DataFrame:
    """Return a row per trial: its params, number of finished seeds, mean and standard deviation of each metric.

    The standard deviation of a single seed is missing.
    """
    import pandas as pd

    metrics, rows = _metrics(results), []
    for result in results:
        row: dict[str, Any] = {"trial": result.label, **_params(result, sweep), "seeds": len(result.runs)}
        for metric in metrics:
            values = result.values(metric)
            row[metric] = fmean(values) if values else None
            row[f"{metric} std"] = stdev(values) if len(values) > 1 else None
        rows.append(row)
    columns = [column for metric in metrics for column in (metric, f"{metric} std")]
    return pd.DataFrame(rows, columns=["trial", *sweep.varied, "seeds", *columns])


def study_frame(trials: Sequence[StudyTrial], sweep: Sweep) -> pd.DataFrame:
    """Return a row per trial that has ended: number, state, its point, value of each objective, why it failed."""
    import pandas as pd

    rows = [
        {"trial": trial.number, "state": trial.state, **trial.params}
        | dict(zip(sweep.objectives, trial.values, strict=False))
        | {"reason": trial.reason}
        for trial in trials
    ]
    return pd.DataFrame(rows, columns=["trial", "state", *sweep.varied, *sweep.objectives, "reason"])


def _params(result: TrialResult, sweep: Sweep) -> dict[str, Any]:
    return dict(next(trial.params for trial in sweep.trials or [] if trial.label == result.label))


def _metrics(results: Sequence[TrialResult]) -> list[str]:
    """Return the metrics that any run has: those of reports first, the rest by name."""
    found = {name for result in results for run in result.runs for name in run.metrics}
    return [*(name for name in METRICS if name in found), *sorted(found.difference(METRICS))]
