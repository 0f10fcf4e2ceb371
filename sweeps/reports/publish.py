"""Publish a sweep: print its tables; write results.csv, figures, claims.json, best.yaml and the report's page.

All of it is made from what is given, written to reports/NAME/ in the store, and logged on the sweep's parent run.
Nothing is trained, timed or judged here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from math import inf
from pathlib import Path
from statistics import fmean

import yaml

from pipeline.config.compose import without_store
from pipeline.config.overrides import is_of_store
from pipeline.config.schema import RunConfig
from pipeline.system.plotting import try_to_draw
from pipeline.tracking.reader import TrackedRun
from sweeps.claims.verdicts import count_verdicts
from sweeps.config.ablation import Ablation
from sweeps.reports.chart import chart_of
from sweeps.reports.context import ReportContext
from sweeps.reports.factorial import factorial_tables, heat_maps, importance_drawings
from sweeps.reports.figures import Drawing, axis_file, result_drawings
from sweeps.reports.findings import AblationFindings, discussion, note
from sweeps.reports.headline import ablation_headline, best_of, grid_headline, study_headline
from sweeps.reports.index import publish_index, write_summary
from sweeps.reports.mlflow_notes import BEST, best_metric, note_in_mlflow, shown_of_curves, shown_of_runs
from sweeps.reports.page import Page, method, write_page
from sweeps.reports.results_csv import write_csv, write_study_csv
from sweeps.reports.study import CAPTIONS, best_card, best_trials, count_states, curves_drawing, runs_by_trial
from sweeps.reports.tables import (
    Table,
    confirmation_metrics,
    confirmation_table,
    finalists_table,
    means_table,
    results_table,
    runs_table,
    study_table,
    timing_table,
    trials_table,
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
    sweep, config, numbers, settings = context.sweep, ablation.config, findings.published, ablation.statistics
    best = best_result(results, sweep)
    of_grid = factorial_tables(results, config.grid, sweep) if config.grid else []
    _show(context, [results_table(results, settings, numbers, differences=True, best=best), *of_grid], note(ablation))
    show_findings(findings, context.console)
    drawings = [*heat_maps(results, config.grid, sweep), *importance_drawings(results, sweep)] if config.grid else []
    drawings += result_drawings(results, config.axis, sweep.name, settings.confidence)
    with context.folder() as folder:
        page = Page(
            kind="ablation",
            name=sweep.name,
            description=sweep.description,
            title=config.question or sweep.description,
            headline=ablation_headline(findings, results, sweep),
            chart=chart_of(results, sweep, config.axis, settings),
            charted=_charted(sweep, config.axis),
            findings=findings.claims,
            numbers=numbers,
            method=method(settings),
            note=note(ablation),
            discussion=discussion(ablation, findings),
            remarks=config.remarks,
            tables=[
                *of_grid,
                results_table(results, settings, numbers, config.remarks, best=best),
                *([timing_table(timings, ablation.timing.examples)] if timings else []),
                runs_table(results, sweep, context.link),
            ],
            figures=_draw_grid(context, results if config.grid else [], folder) | _draw(context, drawings, folder),
            facts=_facts(context, results),
        )
        _write_grid(context, results, folder)
        _write(page, results, folder, ablation.changed)
    note_in_mlflow(context, page, best_metric(results, sweep), shown_of_curves(results))
    _tag_verdicts(context, findings)
    publish_index(sweep.store)


def publish_grid(context: ReportContext, results: Sequence[TrialResult]) -> None:
    """Print and write the results of a grid without claims, the best config first."""
    sweep, settings = context.sweep, context.sweep.config.statistics
    results = sorted(results, key=lambda it: -sweep.sign * fmean(it.values(sweep.objective) or [-sweep.sign * inf]))
    tables = [results_table(results, settings, best=best_result(results, sweep)), means_table(results, sweep)]
    axis = ", ".join(sweep.varied) or "config"
    _show(context, tables)
    drawings = [
        *importance_drawings(results, sweep),
        *result_drawings(results, axis, sweep.name, settings.confidence),
    ]
    with context.folder() as folder:
        page = Page(
            kind="grid",
            name=sweep.name,
            description=sweep.description,
            title=f"Which config has the {best_of(sweep)}?",
            headline=grid_headline(results, sweep),
            counts=[
                (len(results), "configs"),
                (len(sweep.seeds), "seeds"),
                (sum(len(it.runs) for it in results), "runs"),
            ],
            chart=chart_of(results, sweep, axis, settings),
            charted=_charted(sweep, axis),
            tables=[*tables, runs_table(results, sweep, context.link)],
            figures=_draw_grid(context, results, folder) | _draw(context, drawings, folder),
            facts=_facts(context, results),
        )
        _write_grid(context, results, folder)
        _write(page, results, folder)
    note_in_mlflow(context, page, best_metric(results, sweep), shown_of_curves(results))
    publish_index(sweep.store)


def publish_study(context: ReportContext, study: StudyResult, confirmed: Sequence[TrackedRun]) -> None:
    """Print and write the results of a study; `confirmed` are runs of the best trial on fresh seeds, if any."""
    sweep = context.sweep
    if not study.best:
        context.say("no trial was completed", "red")
        return
    best, tables = study.best[0], [study_table(study, sweep)]
    if study.finalists:
        tables.append(finalists_table(study, sweep))
    metrics = {BEST + sweep.objective: best.values[0]}
    if confirmed:
        tables.append(confirmation_table(best, confirmed, sweep))
        metrics |= confirmation_metrics(best, confirmed, sweep)
    _show(context, tables)
    runs = runs_by_trial(context)
    with context.folder() as folder:
        write_study_csv(study.trials, sweep, folder / "results.csv")
        figures = _draw(context, curves_drawing(context, study, runs), folder)
        figures |= _drawn_by_optuna(context, study.draw, folder)
        score = f"Trial {best.number}: {sweep.objective} {best.values[0]:.6f}, mean over the seeds {best.seeds}."
        _write_best(trial_of(sweep, best).config(sweep.seeds[0]), score, sweep, folder)
        results = [TrialResult("confirmed", "", [int(run.params["seed"]) for run in confirmed], [*confirmed])]
        page = Page(
            kind="study",
            name=sweep.name,
            description=sweep.description,
            title=f"Which config has the {best_of(sweep)}?",
            headline=study_headline(study, confirmed, sweep),
            counts=count_states(study),
            chart=chart_of(best_trials(study, sweep, runs), sweep, "trial", sweep.config.statistics),
            card=best_card(study, confirmed, sweep),
            tables=[*tables, trials_table(study, sweep, runs, context.link)],
            figures=figures,
            facts=_facts(context, results),
        )
        _write(page, results, folder)
    note_in_mlflow(context, page, metrics, shown_of_runs(context.tracker, context.parent, sweep))
    publish_index(sweep.store)


def _show(context: ReportContext, tables: Sequence[Table], warning: str = "") -> None:
    if warning:
        context.say(warning, "yellow")
    context.say(f"{context.sweep.name}: {context.sweep.description}")
    for table in tables:
        show_table(table, context.console)


def _charted(sweep: Sweep, axis: str) -> str:
    """Return the file of the figure that shows what the chart does."""
    return axis_file(sweep.objective.rpartition("/")[2], axis)


def _draw(context: ReportContext, drawings: Sequence[Drawing], folder: Path) -> dict[str, str]:
    """Draw the figures into the folder and return their captions; print a line for each that cannot be drawn."""
    captions = {}
    for drawing in drawings:
        if trouble := try_to_draw(drawing.draw, folder / drawing.file):
            context.say(trouble)
        else:
            captions[drawing.file] = drawing.caption
    return captions


def _draw_grid(context: ReportContext, results: Sequence[TrialResult], folder: Path) -> dict[str, str]:
    return _drawn_by_optuna(context, partial(context.draw_grid, results, context.sweep), folder)


def _drawn_by_optuna(context: ReportContext, draw: Callable[[Path], list[str]], folder: Path) -> dict[str, str]:
    """Let Optuna draw into the folder; return as `_draw`."""
    for trouble in draw(folder):
        context.say(trouble)
    return {file: caption for file, caption in CAPTIONS.items() if (folder / file).exists()}


def _write_grid(context: ReportContext, results: Sequence[TrialResult], folder: Path) -> None:
    """Write a line per run, and the best config."""
    sweep = context.sweep
    write_csv(results, folder / "results.csv")
    if best := best_result(results, sweep):
        trial = next(trial for trial in sweep.trials or [] if trial.label == best.label)
        mean = fmean(best.values(sweep.objective))
        score = f"{best.label}: {sweep.objective} {mean:.6f}, mean over the seeds {best.seeds}."
        _write_best(trial.config(best.seeds[0]), score, sweep, folder)


def _write(page: Page, results: Sequence[TrialResult], folder: Path, changed: Sequence[str] = ()) -> None:
    """Write the page, and what the index shows of it."""
    write_page(page, folder)
    write_summary(page, changed, _made(results), folder)


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
