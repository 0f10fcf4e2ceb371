"""What a sweep came to, on MLflow's pages: notes on its experiment and parent run, metrics to compare sweeps by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from pipeline.tracking.tracker import Tracker
from sweeps.claims.verdicts import CONTRADICTED, INCONCLUSIVE, REPRODUCED, Finding, count_verdicts
from sweeps.reports.context import ReportContext
from sweeps.reports.page import Page, render
from sweeps.results import TrialResult, best_result, comparable_results
from sweeps.sweep import Sweep
from sweeps.views import Shown, links, save_notes, save_sweep_views

BEST = "best/"


def note_in_mlflow(context: ReportContext, page: Page, metrics: Mapping[str, float], shown: Shown) -> None:
    """Note the page's verdicts and tables, log the metrics on the parent run, and fit the views to what is `shown`."""
    sweep, tracker, parent = context.sweep, context.tracker, context.parent
    save_sweep_views(sweep, tracker, parent, shown)
    verdicts = [
        f"{what}: {count_verdicts(finding.verdict for finding in findings)}"
        for what, findings in (("claims", page.findings), ("published numbers", page.numbers))
        if findings
    ]
    came = "; ".join([*(f"{name} {value:.4f}" for name, value in metrics.items() if name.startswith(BEST)), *verdicts])
    # MLflow shows the first paragraph, and the rest by a click.
    short = f"{came} · {links(sweep, tracker, parent, has_report=True)}\n\n{sweep.description}"
    save_notes(sweep, tracker, parent, short, render("note.md.j2", page=page, short=short))
    tracker.log_epoch(parent, 0, {**metrics, **_verdict_metrics([*page.findings, *page.numbers])})


def _verdict_metrics(findings: Sequence[Finding]) -> dict[str, float]:
    verdicts = [finding.verdict for finding in findings]
    kinds = (REPRODUCED, CONTRADICTED, INCONCLUSIVE)
    return {f"verdicts/{kind.lower()}": verdicts.count(kind) for kind in kinds} if findings else {}


def best_metric(results: Sequence[TrialResult], sweep: Sweep) -> dict[str, float]:
    """Return the objective of a grid's best trial, mean over the seeds that all have, as a metric of the parent run."""
    best = best_result(comparable_results(results, sweep), sweep)
    return {BEST + sweep.objective: fmean(best.values(sweep.objective))} if best else {}


def shown_of_curves(results: Sequence[TrialResult]) -> Shown:
    """Return what axes have to show of a metric: the later half of all curves, where configs differ."""

    def shown(metric: str) -> list[float]:
        curves = [curve for result in results for curve in result.curve(metric).values()]
        return [value for curve in curves for value in curve[len(curve) // 2 :]]

    return shown


def shown_of_runs(tracker: Tracker, parent: str, sweep: Sweep) -> Shown:
    """Return the same of a search, which may have thousands of runs: the last values of those that are finished."""
    runs = [run for run in tracker.children(parent, sweep.name) if run.is_finished]
    return lambda metric: [run.metrics[metric] for run in runs if metric in run.metrics]
