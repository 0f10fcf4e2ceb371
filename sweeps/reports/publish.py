"""Publish a sweep: print its tables; write results.csv, figures, claims.json, best.yaml and the report's page.

All of it is made from what is given, written to reports/NAME/ in the store, and logged on the sweep's parent run.
Nothing is trained, timed or judged here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from pipeline.config.compose import without_store
from pipeline.config.overrides import is_of_store
from pipeline.config.schema import RunConfig, StoreConfig
from pipeline.system.plotting import try_to_draw
from pipeline.tracking.locks import locked
from pipeline.tracking.reader import TrackedRun
from sweeps.claims.verdicts import count_verdicts
from sweeps.config.ablation import Ablation
from sweeps.reports.context import LOCK, REPORTS, ReportContext
from sweeps.reports.factorial import factorial_tables, heat_maps
from sweeps.reports.figures import Drawing, ablation_drawings, result_drawings
from sweeps.reports.findings import AblationFindings, discussion, note
from sweeps.reports.mlflow_notes import BEST, best_metric, note_in_mlflow, shown_of_curves, shown_of_runs
from sweeps.reports.page import Page, index_entry, method, render_index, write_page
from sweeps.reports.tables import (
    Table,
    confirmation_metrics,
    confirmation_table,
    results_table,
    runs_table,
    study_table,
    timing_table,
    write_csv,
    write_study_csv,
)
from sweeps.reports.terminal import show_findings, show_table
from sweeps.results import StudyResult, TrialResult, best_result, trial_of
from sweeps.sweep import Sweep


def publish_ablation(
    context: ReportContext,
    ablation: Ablation,
    results: Sequence[TrialResult],
    timings: Mapping[str, list[float]],
    findings: AblationFindings,
) -> None:
    """Print and write the results and findings of an ablation, and tag its parent run with the verdicts.

    `timings` are seconds per epoch, round by round, of trials that were timed side by side.
    """
    sweep, config, numbers = context.sweep, ablation.config, findings.published
    confidence = ablation.statistics.confidence
    of_grid = factorial_tables(results, config.grid, sweep) if config.grid else []
    _show(context, [results_table(results, ablation.statistics, numbers, differences=True), *of_grid], note(ablation))
    show_findings(findings, context.console)
    drawings = heat_maps(results, config.grid, sweep) if config.grid else []
    drawings += result_drawings(results, config.axis, sweep.name, confidence)
    drawings += ablation_drawings(results, timings, numbers, [it.value for it in config.published], sweep.name)
    with context.folder() as folder:
        page = Page(
            name=sweep.name,
            description=context.sweep.description,
            findings=findings.claims,
            numbers=numbers,
            method=method(ablation.statistics),
            note=note(ablation),
            discussion=discussion(ablation, findings),
            remarks=config.remarks,
            tables=[
                *of_grid,
                results_table(results, ablation.statistics, numbers, config.remarks),
                *([timing_table(timings, ablation.timing.examples)] if timings else []),
                runs_table(results, sweep, context.link),
            ],
            figures=_draw(context, drawings, folder),
            facts=_facts(context, results),
        )
        (folder / "claims.json").write_text(json.dumps(index_entry(page, ablation.changed, _made(results)), indent=2))
        _write(context, page, results, folder)
    note_in_mlflow(context, page, best_metric(best_result(results, sweep), sweep), shown_of_curves(results))
    _tag_verdicts(context, findings)
    publish_index(sweep.store)


def publish_grid(context: ReportContext, results: Sequence[TrialResult]) -> None:
    """Print and write the results of a grid without claims."""
    sweep = context.sweep
    table = results_table(results, sweep.config.statistics)
    _show(context, [table])
    axis, confidence = ", ".join(sweep.varied) or "config", sweep.config.statistics.confidence
    drawings = result_drawings(results, axis, sweep.name, confidence)
    with context.folder() as folder:
        tables = [table, runs_table(results, sweep, context.link)]
        figures, facts = _draw(context, drawings, folder), _facts(context, results)
        page = Page(sweep.name, context.sweep.description, tables=tables, figures=figures, facts=facts)
        _write(context, page, results, folder)
    note_in_mlflow(context, page, best_metric(best_result(results, sweep), sweep), shown_of_curves(results))


def publish_study(context: ReportContext, study: StudyResult, confirmed: Sequence[TrackedRun]) -> None:
    """Print and write the results of a study; `confirmed` are runs of the best trial on fresh seeds, if any."""
    sweep = context.sweep
    if not study.best:
        context.say("no trial was completed", "red")
        return
    best, tables = study.best[0], [study_table(study, sweep)]
    metrics = {BEST + sweep.objective: best.values[0]}
    if confirmed:
        tables.append(confirmation_table(best, confirmed, sweep))
        metrics |= confirmation_metrics(best, confirmed, sweep)
    _show(context, tables)
    with context.folder() as folder:
        write_study_csv(study.trials, sweep, folder / "results.csv")
        for trouble in study.draw(folder):
            context.say(trouble)
        figures = {path.name: path.stem.replace("_", " ") for path in sorted(folder.glob("*.png"))}
        score = f"Trial {best.number}: {sweep.objective} {best.values[0]:.6f}, mean over the seeds {sweep.seeds}."
        _write_best(trial_of(sweep, best).config(sweep.seeds[0]), score, sweep, folder)
        seeds = [int(run.params["seed"]) for run in confirmed]
        facts = _facts(context, [TrialResult("confirmed", "", seeds, [*confirmed])])
        page = Page(sweep.name, context.sweep.description, tables=tables, figures=figures, facts=facts)
        write_page(page, folder)
    note_in_mlflow(context, page, metrics, shown_of_runs(context.tracker, context.parent, sweep))


def publish_index(store: StoreConfig) -> Path | None:
    """Write reports/index.html and reports/results.md over all ablations with a report; None without any."""
    folder = store.folder / REPORTS
    pages = [page for path in sorted(folder.glob("[!.]*/claims.json")) if (page := _read_claims(path))]
    if not pages:
        return None
    with locked(store, LOCK):
        for name, text in render_index(pages, f"Written on {_today()}.").items():
            fresh = folder / f".{name}"
            fresh.write_text(text)
            fresh.replace(folder / name)
    return folder / "index.html"


def _read_claims(path: Path) -> dict[str, Any]:
    """Return a sweep's claims.json; empty if no index can be made from it, until its own report is made again."""
    from jinja2 import TemplateError

    try:
        page: dict[str, Any] = json.loads(path.read_text())
        render_index([page], "")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, TemplateError):
        return {}
    return page


def _show(context: ReportContext, tables: Sequence[Table], warning: str = "") -> None:
    if warning:
        context.say(warning, "yellow")
    context.say(f"{context.sweep.name}: {context.sweep.description}")
    for table in tables:
        show_table(table, context.console)


def _draw(context: ReportContext, drawings: Sequence[Drawing], folder: Path) -> dict[str, str]:
    """Draw the figures into the folder and return their captions; print a line for each that cannot be try_to_draw."""
    captions = {}
    for drawing in drawings:
        if trouble := try_to_draw(drawing.draw, folder / drawing.file):
            context.say(trouble)
        else:
            captions[drawing.file] = drawing.caption
    return captions


def _write(context: ReportContext, page: Page, results: Sequence[TrialResult], folder: Path) -> None:
    """Write what every grid has beside its figures."""
    sweep = context.sweep
    write_csv(results, folder / "results.csv")
    if best := best_result(results, sweep):
        trial = next(trial for trial in sweep.trials or [] if trial.label == best.label)
        mean = fmean(best.values(sweep.objective))
        score = f"{best.label}: {sweep.objective} {mean:.6f}, mean over the seeds {best.seeds}."
        _write_best(trial.config(best.seeds[0]), score, sweep, folder)
    write_page(page, folder)


def _write_best(config: RunConfig, score: str, sweep: Sweep, folder: Path) -> None:
    """Write the best config, as `convsweep train --from best.yaml` reads it."""
    purpose = f"The best config of the sweep {sweep.name}; to train it again: convsweep train --from best.yaml"
    text = yaml.safe_dump(without_store(config), sort_keys=False)
    (folder / "best.yaml").write_text(f"# {purpose}\n# {score}\n{text}")


def _tag_verdicts(context: ReportContext, findings: AblationFindings) -> None:
    tags = {f"convsweep.verdict.{finding.question.name}": finding.verdict for finding in findings.claims}
    tags["convsweep.verdict"] = count_verdicts(finding.verdict for finding in findings.all) or "none"
    context.tracker.replace_tags(context.parent, "convsweep.verdict", tags)


def _facts(context: ReportContext, results: Sequence[TrialResult]) -> list[tuple[str, str]]:
    """Return data, versions, machine and command."""
    runs = [run for result in results for run in result.runs]
    data = {f"{run.params['data.name']}, SHA-256 {run.tags['convsweep.data_sha256']}" for run in runs if run.params}
    facts = {
        "command": "convsweep " + " ".join(word for word in context.sweep.command if not is_of_store(word)),
        "written": f"{_today()} by convsweep {version('convsweep')}",
        "runs": f"{len(runs)}, seeds {_seeds(results)}",
        "data": "; ".join(sorted(data)),
        "versions": _tags(runs, "versions"),
        "precision": _tags(runs, "precision"),
        "machine": f"{_tags(runs, 'processor')}; threads per run: {_tags(runs, 'threads')}",
        "training version": _tags(runs, "training_version"),
    }
    return [(name, value) for name, value in facts.items() if value]


def _seeds(results: Sequence[TrialResult]) -> str:
    """Return the seeds of all trials; where some have more than others, the most that one has and the fewest."""
    every = sorted({seed for result in results for seed in result.seeds})
    fewest = min((len(result.seeds) for result in results), default=0)
    return f"{every}" if fewest == len(every) else f"{every}, of which each config has {fewest} at least"


def _tags(runs: Sequence[TrackedRun], name: str, separator: str = "; ") -> str:
    """Return the different values of a tag of ours."""
    return separator.join(sorted({run.tags[f"convsweep.{name}"] for run in runs if f"convsweep.{name}" in run.tags}))


def _made(results: Sequence[TrialResult]) -> str:
    """Return when and on what it was measured, in one sentence."""
    runs = [run for result in results for run in result.runs]
    day = datetime.fromtimestamp(max((run.ended for run in runs), default=0.0), UTC).date().isoformat()
    return f"Last run finished on {day}; {_tags(runs, 'processor', ', ')}, {_tags(runs, 'precision', ', ')}."


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
