"""What comes of a sweep: tables in the terminal; results.csv, figures, claims.json, best.yaml and the report's page.

All of it is made from what is tracked, written to reports/NAME/ in the store, and logged on the sweep's parent run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

import psutil
import yaml
from rich.console import Console

from pipeline.config.schema import RunConfig, StoreConfig, is_of_store, to_dict, without_store
from pipeline.tracking.learning_curves import drawn
from pipeline.tracking.locks import locked
from pipeline.tracking.retry import StoreError
from pipeline.tracking.tracker import TrackedRun, Tracker, run_path
from sweeps.claims.config import StatisticsConfig
from sweeps.claims.statistics import interval_of
from sweeps.claims.verdicts import REPRODUCED, Finding, count_verdicts
from sweeps.config.ablation import Ablation, RemarkConfig
from sweeps.reports.figures import draw_axis, draw_cost, draw_gap, draw_learning_curves, draw_published
from sweeps.reports.findings import AblationFindings, discussion, note
from sweeps.reports.page import MARKS, Cell, Line, Page, PageFigure, PageTable, method_told, render_index, write_page
from sweeps.reports.tables import (
    findings_table,
    study_columns,
    study_lines,
    study_table,
    tables,
    write_csv,
    write_study_csv,
)
from sweeps.results import Row, StudyResult, StudyTrial
from sweeps.sweep import Sweep, Trial

METRICS = ("train/loss", "train/accuracy", "val/loss", "val/accuracy", "test/loss", "test/accuracy", "gap/accuracy")
ONE_NUMBER = ("epochs", "prediction")
# Held while files under reports/ are replaced: several processes may report on one store. No sweep can be called so.
LOCK = ".reports"


@dataclass(frozen=True)
class Publication:
    """Whose results are published, and where."""

    sweep: Sweep
    description: str
    tracker: Tracker
    parent: str
    console: Console

    def link(self, run: TrackedRun) -> str:
        """Address of a run's page while `convsweep ui` serves it."""
        return f"http://127.0.0.1:{self.sweep.store.ui_port}{run_path(run)}"

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """An empty folder for the sweep's files; once all are there it replaces the one before, and is logged.

        Raises:
            StoreError: if the files cannot be written, as on a full disk.
        """
        place = reports(self.sweep.store) / self.sweep.name
        folder = place.with_name(f".{self.sweep.name}.{os.getpid()}")
        try:
            _remove_leftovers(place)
            folder.mkdir(parents=True)
            yield folder
            self.tracker.log_files(self.parent, sorted(folder.iterdir()))
            with locked(self.sweep.store, LOCK):
                shutil.rmtree(place, ignore_errors=True)
                folder.rename(place)
        except OSError as error:
            raise StoreError(
                f"the report {place} is not written: {error.strerror or error}. All that was trained is tracked: "
                f"convsweep report {self.sweep.name} writes it"
            ) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)  # only there where something went wrong
        self.console.print(f"report: {place / 'report.html'}", soft_wrap=True, highlight=False, markup=False)


def reports(store: StoreConfig) -> Path:
    """The folder of all reports of a store: one folder per sweep, and the index over them."""
    return store.folder / "reports"


def _remove_leftovers(place: Path) -> None:
    """Remove what processes that are gone have left of reports they did not finish."""
    for folder in place.parent.glob(f".{place.name}.*"):
        pid = folder.suffix.removeprefix(".")
        if pid.isdigit() and (int(pid) == os.getpid() or not psutil.pid_exists(int(pid))):
            shutil.rmtree(folder, ignore_errors=True)


def publish_ablation(
    to: Publication,
    ablation: Ablation,
    rows: Sequence[Row],
    timings: Mapping[str, list[float]],
    findings: AblationFindings,
) -> None:
    """Print and write the results and findings of an ablation, and tag its parent run with the verdicts.

    Args:
        to: Whose results.
        ablation: The ablation as launched.
        rows: Its trials with their runs.
        timings: Seconds per epoch, round by round, of trials that were timed side by side.
        findings: What the runs say about claims and published numbers.
    """
    warning = note(ablation)
    if warning:
        to.console.print(warning, style="yellow", soft_wrap=True)
    _print_rows(to, rows)
    _print_findings(to.console, findings.claims, findings.published)
    with to.folder() as folder:
        page = Page(
            to.sweep.name,
            to.description,
            findings.claims,
            findings.published,
            method_told(ablation.statistics),
            warning,
            discussion(ablation, rows, findings),
            ablation.config.remarks,
            [
                _results_table(rows, ablation.statistics, findings.published, ablation.config.remarks),
                *([_timing_table(timings, ablation.timing.examples)] if timings else []),
                _runs_table(to, rows),
            ],
            _draw_ablation(to, ablation, rows, timings, findings.published, folder),
            _facts(to, rows),
        )
        (folder / "claims.json").write_text(json.dumps(_claims(page, ablation, rows), indent=2))
        _write(to, page, rows, folder)
    verdicts = {f"convsweep.verdict.{finding.question.name}": finding.verdict for finding in findings.claims}
    summary = count_verdicts(finding.verdict for finding in findings.all)
    to.tracker.replace_tags(to.parent, "convsweep.verdict", verdicts | {"convsweep.verdict": summary or "none"})
    publish_index(to.sweep.store)


def _draw_ablation(
    to: Publication,
    ablation: Ablation,
    rows: Sequence[Row],
    timings: Mapping[str, list[float]],
    numbers: Sequence[Finding],
    folder: Path,
) -> list[PageFigure]:
    figures = _draw_rows(to, rows, ablation.config.axis, folder, ablation.statistics)
    caption = "What each config costs: a dot per seed, or per round of timing."
    figures += _figure(to, partial(draw_cost, rows, timings, to.sweep.name), folder / "cost.png", caption)
    if any(finding.outcome for finding in numbers):
        values = [published.value for published in ablation.config.published]
        draw = partial(draw_published, numbers, values, to.sweep.name)
        caption = "Published numbers against ours: within the band they are plausible for one further run of ours."
        figures += _figure(to, draw, folder / "published.png", caption)
    return figures


def _claims(page: Page, ablation: Ablation, rows: Sequence[Row]) -> dict[str, object]:
    """Return what claims.json holds: all that the index over the ablations shows."""
    return {
        "name": page.name,
        "description": page.description,
        "discussion": to_dict(page.discussion) if page.discussion else None,
        "remarks": [to_dict(remark) for remark in page.remarks],
        "changed": list(ablation.changed),
        "method": page.method,
        "made": _made(rows),
        "findings": [finding.as_dict() for finding in page.findings],
        "numbers": [finding.as_dict() for finding in page.numbers],
    }


def publish_grid(to: Publication, rows: Sequence[Row], settings: StatisticsConfig) -> None:
    """Print and write the results of a grid without claims."""
    _print_rows(to, rows)
    with to.folder() as folder:
        figures = _draw_rows(to, rows, ", ".join(to.sweep.varied) or "config", folder, settings)
        tables = [_results_table(rows, settings, []), _runs_table(to, rows)]
        page = Page(to.sweep.name, to.description, tables=tables, figures=figures, facts=_facts(to, rows))
        _write(to, page, rows, folder)


def publish_study(to: Publication, study: StudyResult, confirmed: Sequence[TrackedRun]) -> None:
    """Print and write the results of a study.

    Args:
        to: Whose results.
        study: Its trials.
        confirmed: Runs of the best trial on fresh seeds; empty if there are none.
    """
    sweep, console = to.sweep, to.console
    if not study.best:
        console.print("no trial was completed", style="red")
        return
    best = study.best[0]
    console.print(study_table(f"{sweep.name}: {to.description}", study, sweep))
    tables = [_study_table(study, sweep)]
    if confirmed:
        tables.append(_tell_confirmed(to, best, confirmed))
    with to.folder() as folder:
        write_study_csv(study.trials, sweep, folder / "results.csv")
        for trouble in study.draw(folder):
            console.print(trouble, highlight=False, soft_wrap=True)
        figures = [PageFigure(path, path.stem.replace("_", " ")) for path in sorted(folder.glob("*.png"))]
        told = f"Trial {best.number}: {sweep.objective} {best.values[0]:.6f}, mean over the seeds {sweep.seeds}."
        _write_best(point_of(sweep, best).config(sweep.seeds[0]), told, folder / "best.yaml", sweep)
        facts = _facts(to, [Row("confirmed", "", [int(run.params["seed"]) for run in confirmed], list(confirmed), {})])
        write_page(Page(sweep.name, to.description, tables=tables, figures=figures, facts=facts), folder)


def publish_index(store: StoreConfig) -> Path | None:
    """Write reports/index.html and reports/results.md over all ablations with a report; None without any."""
    folder = reports(store)
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
    """A sweep's claims.json; empty where no index can be made from it: its own report mends it."""
    from jinja2 import TemplateError

    try:
        page: dict[str, Any] = json.loads(path.read_text())
        render_index([page], "")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, TemplateError):
        return {}
    return page


def best_row(rows: Sequence[Row], sweep: Sweep) -> Row | None:
    """A grid's best trial: by the mean of the objective, among trials with a finished run for every seed."""
    most = max((len(row.runs) for row in rows), default=0)
    whole = [row for row in rows if len(row.runs) == most and row.values(sweep.objective)]
    return max(whole, key=lambda row: sweep.sign * fmean(row.values(sweep.objective)), default=None)


def point_of(sweep: Sweep, trial: StudyTrial) -> Trial:
    """Return the sweep's trial, with its config, of a trial that a study has completed."""
    assert sweep.space is not None
    return sweep.trial(str(trial.number), sweep.space.overrides(dict(trial.params)), {})


def _write(to: Publication, page: Page, rows: Sequence[Row], folder: Path) -> None:
    """Write what every grid has."""
    write_csv(rows, folder / "results.csv")
    if best := best_row(rows, to.sweep):
        trial = next(trial for trial in to.sweep.trials or [] if trial.label == best.label)
        mean = fmean(best.values(to.sweep.objective))
        told = f"{best.label}: {to.sweep.objective} {mean:.6f}, mean over the seeds {best.seeds}."
        _write_best(trial.config(best.seeds[0]), told, folder / "best.yaml", to.sweep)
    write_page(page, folder)


def _print_rows(to: Publication, rows: Sequence[Row]) -> None:
    for part in tables(f"{to.sweep.name}: {to.description}", rows, to.console.width):
        to.console.print(part)


def _print_findings(console: Console, findings: list[Finding], numbers: list[Finding]) -> None:
    if findings:
        console.print(findings_table(findings, "claims"))
    if numbers:
        counts = count_verdicts(finding.verdict for finding in numbers)
        console.print(f"published numbers: {counts}", highlight=False)
        if others := [finding for finding in numbers if finding.verdict != REPRODUCED]:
            console.print(findings_table(others, "published numbers that are not reproduced"))


def _draw_rows(
    to: Publication, rows: Sequence[Row], axis: str, folder: Path, settings: StatisticsConfig
) -> list[PageFigure]:
    """The figures that every grid has, where there is something to draw."""
    figures: list[PageFigure] = []
    title, name = to.sweep.name, re.sub(r"\W+", "_", axis).strip("_")
    for metric in ("accuracy", "loss"):
        if any(row.values(f"{part}/{metric}") for row in rows for part in ("train", "val", "test")):
            draw = partial(draw_axis, rows, metric, axis, title, settings=settings)
            caption = f"{metric} by {axis}: a dot per seed, bars are intervals of the mean."
            figures += _figure(to, draw, folder / f"{metric}_by_{name}.png", caption)
    if any(row.curves for row in rows):
        caption = "Learning curves: thin lines are seeds; dotted, the epoch from which on mean test loss rises."
        figures += _figure(to, partial(draw_learning_curves, rows, title), folder / "learning_curves.png", caption)
    if any(row.values("gap/accuracy") for row in rows):
        caption = "Overfitting: how much better the model is on its training set."
        draw = partial(draw_gap, rows, axis, title, settings=settings)
        figures += _figure(to, draw, folder / "gap.png", caption)
    return figures


def _figure(to: Publication, draw: Callable[[Path], object], path: Path, caption: str) -> list[PageFigure]:
    """The figure, drawn into the file `path`; none where it cannot be drawn, and a line that says why."""
    if trouble := drawn(draw, path):
        to.console.print(trouble, highlight=False, soft_wrap=True)
        return []
    return [PageFigure(path, caption)]


def _results_table(
    rows: Sequence[Row],
    settings: StatisticsConfig,
    numbers: Sequence[Finding],
    remarks: Sequence[RemarkConfig] = (),
) -> PageTable:
    """Measured beside published, a row per config and per source; [1] is the first of the remarks."""
    metrics = [m for m in (*METRICS, *ONE_NUMBER) if any(row.values(m) for row in rows) and not _is_constant(m, rows)]
    verdicts = {finding.question.name: finding.verdict for finding in numbers}
    lines = []
    for row in rows:
        parameters = f"{row.values('parameters')[0]:,.0f}" if row.runs else "-"
        speed = _with_interval(row.values("seconds_per_epoch"), settings, 2)
        measured = [_with_interval(row.values(metric), settings) for metric in metrics]
        lines.append(Line([Cell(row.label), Cell(f"n={len(row.runs)}"), Cell(parameters), speed, *measured]))
        for source, told in row.published.items():
            marks = [
                (told.get(metric), MARKS.get(verdicts.get(f"{row.label} {metric} {source}", ""), ""))
                for metric in metrics
            ]
            cells = [f"{value:.4f} {mark}".strip() if value is not None else "" for value, mark in marks]
            if any(cells):
                about = "".join(
                    f" [{place}]"
                    for place, remark in enumerate(remarks, start=1)
                    if (remark.trial, remark.source) == (row.label, source) and not remark.numbers
                )
                lines.append(_faint(f"published ({source}){about}", cells))
        for place, remark in enumerate(remarks, start=1):
            if remark.trial == row.label and remark.numbers:
                cells = [_plain(remark.numbers.get(metric)) for metric in metrics]
                lines.append(_faint(f"not judged ({remark.source}) [{place}]", cells))
    caption = (
        f"Mean ± standard deviation over the seeds [{settings.confidence:.0%} interval of the mean]. Training figures "
        "are running averages over the last epoch; gap is accuracy on training minus test pictures, dropout off. "
        "Seconds per epoch were taken while runs shared the machine."
    )
    if any(row.published for row in rows):
        caption += " Published: one run each, seed unknown"
        caption += (
            f"; {', '.join(f'{mark} {verdict}' for verdict, mark in MARKS.items())}." if numbers else ", not judged."
        )
    return PageTable("Results", ["config", "seeds", "parameters", "s/epoch", *metrics], lines, caption)


def _faint(title: str, cells: Sequence[str]) -> Line:
    """A row of figures that are not measured; no seeds, parameters or seconds."""
    return Line([Cell(text) for text in [title, "", "", "", *cells]], faint=True)


def _runs_table(to: Publication, rows: Sequence[Row]) -> PageTable:
    """Every run, with the MLflow run that its numbers come from."""
    metrics = [m for m in (*METRICS, *ONE_NUMBER) if any(row.values(m) for row in rows)]
    lines = [
        Line(
            [
                Cell(row.label),
                Cell(str(seed)),
                *(Cell(_plain(run.metrics.get(metric))) for metric in metrics),
                Cell(run.run_id[:8], link=to.link(run)),
            ]
        )
        for row in rows
        for seed, run in zip(row.seeds, row.runs, strict=True)
    ]
    caption = f"The links open in MLflow's pages while convsweep ui {to.sweep.name} runs."
    return PageTable("Runs", ["config", "seed", *metrics, "run"], lines, caption)


def _timing_table(timings: Mapping[str, list[float]], examples: int) -> PageTable:
    lines = [
        Line([Cell(label), Cell(str(len(seconds))), Cell(f"{median(seconds):.3f}" if seconds else "-")])
        for label, seconds in timings.items()
    ]
    caption = (
        f"Epochs of {examples:,} training examples, one config after the other with equal threads, several rounds: "
        "what the claims about speed rest on. The first epoch, which also traces the model, is not counted."
    )
    return PageTable("Timed side by side", ["config", "rounds", "median seconds"], lines, caption)


def _study_table(study: StudyResult, sweep: Sweep) -> PageTable:
    lines = [Line([Cell(text) for text in line]) for line in study_lines(study, sweep)]
    return PageTable("The best trials", study_columns(sweep), lines)


def _tell_confirmed(to: Publication, best: StudyTrial, runs: Sequence[TrackedRun]) -> PageTable:
    """Print, log and tabulate what the best config gave on fresh seeds, and by how much its choice flattered it."""
    sweep, lines, told = to.sweep, [], {}
    for metric in sorted({name for run in runs for name in run.metrics if name.startswith(("test/", "val/"))}):
        values = [run.metrics[metric] for run in runs]
        told[f"confirm/{metric}"] = fmean(values)
        shown = _mean_and_deviation(values)
        to.console.print(f"  confirmed {metric:14} {shown} (n={len(values)})", highlight=False)
        lines.append(Line([Cell(metric), Cell(shown), Cell(str(len(values)))]))
    bias = sweep.sign * (best.values[0] - told[f"confirm/{sweep.objective}"])
    told["selection_bias"] = bias
    sentence = (
        f"{sweep.objective} was {best.values[0]:.4f} when trial {best.number} was chosen: its choice flattered it by "
        f"{bias:+.4f}"
    )
    to.console.print(f"  {sentence}", highlight=False)
    to.tracker.log_epoch(to.parent, 0, told)
    return PageTable("The best config on fresh seeds", ["metric", "mean", "seeds"], lines, sentence + ".")


def _write_best(config: RunConfig, told: str, path: Path, sweep: Sweep) -> None:
    """The best config, as `convsweep train --from best.yaml` reads it; `told` says how good it was."""
    head = (
        f"# The best config of the sweep {sweep.name}; to train it again: convsweep train --from best.yaml\n# {told}\n"
    )
    path.write_text(head + yaml.safe_dump(without_store(config), sort_keys=False))


def _facts(to: Publication, rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Data, versions, machine and command."""
    runs = [run for row in rows for run in row.runs]

    def tags(name: str) -> str:
        return "; ".join(sorted({run.tags[f"convsweep.{name}"] for run in runs if f"convsweep.{name}" in run.tags}))

    data = sorted(
        {f"{run.params['data.name']}, SHA-256 {run.tags['convsweep.data_sha256']}" for run in runs if run.params}
    )
    facts = [
        ("command", "convsweep " + " ".join(word for word in to.sweep.command if not is_of_store(word))),
        ("written", f"{_today()} by convsweep {version('convsweep')}"),
        ("runs", f"{len(runs)}, seeds {sorted({seed for row in rows for seed in row.seeds})}"),
        ("data", "; ".join(data)),
        ("versions", tags("versions")),
        ("precision", tags("precision")),
        ("machine", f"{tags('processor')}; threads per run: {tags('threads')}"),
        ("training version", tags("training_version")),
    ]
    return [(name, value) for name, value in facts if value]


def _made(rows: Sequence[Row]) -> str:
    """When and on what it was measured, in one sentence."""
    runs = [run for row in rows for run in row.runs]
    machines = sorted({run.tags.get("convsweep.processor", "unknown") for run in runs})
    precisions = sorted({run.tags.get("convsweep.precision", "unknown") for run in runs})
    last = max((run.ended for run in runs), default=0.0)
    day = datetime.fromtimestamp(last, UTC).date().isoformat()
    return f"Last run finished on {day}; {', '.join(machines)}, {', '.join(precisions)}."


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def _is_constant(metric: str, rows: Sequence[Row]) -> bool:
    """Whether epochs need no column: every run trained as many."""
    return metric == "epochs" and len({value for row in rows for value in row.values(metric)}) <= 1


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}" if value % 1 or abs(value) < 1 else f"{value:,.0f}"


def _mean_and_deviation(values: Sequence[float], digits: int = 4) -> str:
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{fmean(values):.{digits}f}{spread}"


def _with_interval(values: Sequence[float], settings: StatisticsConfig, digits: int = 4) -> Cell:
    if not values:
        return Cell("-")
    ends = interval_of(values, settings.confidence)
    return Cell(_mean_and_deviation(values, digits), f"[{ends[0]:.{digits}f}, {ends[1]:.{digits}f}]" if ends else "")
