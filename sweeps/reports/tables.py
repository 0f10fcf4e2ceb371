"""What a sweep gave, in the terminal and as results.csv: tables of results and of verdicts."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev

from rich.table import Table
from rich.text import Text

from sweeps.claims.verdicts import CONTRADICTED, INCONCLUSIVE, REPRODUCED, Finding, count_verdicts
from sweeps.results import Row, StudyResult, StudyTrial
from sweeps.sweep import Sweep

MOST_SHOWN = 10
PARTS = ("train", "val", "test")
FACTS = {"parameters": "parameters", "seconds_per_epoch": "s/epoch"}
WIDE = 122  # columns of a terminal that hold the whole table


def mean_and_deviation(values: Sequence[float], digits: int = 4) -> str:
    """Mean and sample standard deviation (n - 1) as text; the mean alone for one value, a dash for none."""
    if not values:
        return "-"
    mean = _short(f"{fmean(values):.{digits}f}")
    return f"{mean} ± {_short(f'{stdev(values):.{digits}f}')}" if len(values) > 1 else mean


def tables(title: str, rows: Sequence[Row], width: int) -> list[Table]:
    """Per trial: parameters, seconds per epoch, losses and accuracies measured, published, and their difference.

    One table where the terminal is wide enough, else one per part (train, val, test).
    """
    metrics = [m for part in PARTS for m in (f"{part}/loss", f"{part}/accuracy") if any(row.values(m) for row in rows)]
    if width >= WIDE:
        return [_table(title, rows, metrics, FACTS, _caption(rows))]
    parts = [[m for m in metrics if m.startswith(part)] for part in PARTS]
    parts = [part for part in parts if part]
    return [
        _table(title if number == 0 else "", rows, part, {}, _caption(rows) if number == len(parts) - 1 else "")
        for number, part in enumerate(parts)
    ]


def _table(title: str, rows: Sequence[Row], metrics: list[str], facts: dict[str, str], caption: str) -> Table:
    out = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    out.add_column("config", no_wrap=True)
    for name in facts.values():
        out.add_column(name, justify="right", no_wrap=True)
    out.add_column("", no_wrap=True)
    for metric in metrics:
        out.add_column(metric.replace("/", " "), justify="right", no_wrap=True)
    for row in rows:
        told = [_fact(row, name) for name in facts]
        measured = [mean_and_deviation(row.values(metric)) for metric in metrics]
        out.add_row(row.label, *told, f"measured (n={len(row.runs)})", *measured, end_section=not row.published)
        if any(row.published_value(metric) for metric in metrics):
            sources = dict.fromkeys(p[1] for metric in metrics if (p := row.published_value(metric)))
            blank = [""] * len(told)
            published = [_published(row, metric) for metric in metrics]
            out.add_row("", *blank, f"published ({', '.join(sources)})", *published)
            out.add_row("", *blank, "difference", *[_difference(row, metric) for metric in metrics], end_section=True)
    return out


def _fact(row: Row, name: str) -> str:
    if name == "parameters":
        return f"{row.values(name)[0]:,.0f}" if row.runs else "-"
    return mean_and_deviation(row.values(name), 2)


def cell(value: object) -> object:
    """A value for a CSV file: text that a spreadsheet would take for a formula gets an apostrophe before it."""
    return f"'{value}" if isinstance(value, str) and re.match(r"[=+\-@\t\r]", value) else value


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """One line per run: trial, seed, run id, every metric's last value, and the published values beside them."""
    metrics = sorted({metric for row in rows for run in row.runs for metric in run.metrics})
    published = sorted({metric for row in rows for told in row.published.values() for metric in told})
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["trial", "seed", "run_id", *metrics, *(f"published/{m}" for m in published), "published/source"])
        for row in rows:
            told = {metric: row.published_value(metric) for metric in published}
            sources = " ".join(dict.fromkeys(value[1] for value in told.values() if value))
            for seed, run in zip(row.seeds, row.runs, strict=True):
                values = [run.metrics.get(metric, "") for metric in metrics]
                beside = [value[0] if value else "" for value in told.values()]
                out.writerow(map(cell, [row.label, seed, run.run_id, *values, *beside, sources]))


STYLES = {REPRODUCED: "green", CONTRADICTED: "red", INCONCLUSIVE: "yellow"}


def findings_table(findings: Sequence[Finding], title: str) -> Table:
    """Verdict, claim and reason, a claim per row."""
    out = Table(
        title=f"{title}: {count_verdicts(finding.verdict for finding in findings)}",
        title_justify="left",
        show_lines=True,
    )
    out.add_column("verdict", no_wrap=True)
    for name in ("claim", "what our seeds say"):
        out.add_column(name)
    for finding in findings:
        source = f" ({', '.join(finding.question.source)})" if finding.question.source else ""
        verdict = Text(finding.verdict, STYLES[finding.verdict])
        out.add_row(verdict, finding.question.says + source, finding.sentence)
    return out


def study_table(title: str, study: StudyResult, sweep: Sweep) -> Table:
    """The best trials of a study: their values and parameters; the Pareto front where it has several objectives."""
    states = Counter(trial.state for trial in study.trials)
    told = ", ".join(f"{count} {name.lower()}" for name, count in sorted(states.items()))
    which = "the Pareto front" if len(sweep.objectives) > 1 else "the best trials"
    out = Table(title=f"{title}\n{which} of {told}", title_justify="left")
    for name in study_columns(sweep):
        out.add_column(name, justify="right")
    for line in study_lines(study, sweep):
        out.add_row(*line)
    return out


def study_columns(sweep: Sweep) -> list[str]:
    """Columns of a study's table."""
    return ["trial", *sweep.objectives, *(key.rpartition(".")[2] for key in sweep.varied)]


def study_lines(study: StudyResult, sweep: Sweep) -> list[list[str]]:
    """Lines of a study's table, as text."""
    complete = [trial for trial in study.trials if trial.state == "COMPLETE"]
    several = len(sweep.objectives) > 1
    ranked = sorted(complete, key=lambda t: (-sweep.sign * t.values[0], t.number))[:MOST_SHOWN]
    lines = []
    for trial in study.best if several else ranked:
        values = [f"{value:.4f}" if abs(value) < 100 else f"{value:,.0f}" for value in trial.values]
        if len(sweep.seeds) > 1:
            values[0] = mean_and_deviation(list(trial.seed_values.values()))
        params = [_shown(trial.params.get(key, "")) for key in sweep.varied]
        lines.append([str(trial.number), *values, *params])
    return lines


def write_study_csv(trials: Sequence[StudyTrial], sweep: Sweep, path: Path) -> None:
    """One line per trial: number, state, values, parameters, values by seed, run ids, and why it failed."""
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        seeds = [f"{sweep.objective} seed={seed}" for seed in sweep.seeds]
        out.writerow(["trial", "state", *sweep.objectives, *sweep.varied, *seeds, "run_ids", "reason"])
        for trial in trials:
            values: list[object] = [*trial.values] or [""] * len(sweep.objectives)
            params = [trial.params.get(key, "") for key in sweep.varied]
            per_seed = [trial.seed_values.get(str(seed), "") for seed in sweep.seeds]
            beside = [" ".join(trial.run_ids), trial.reason]
            out.writerow(map(cell, [trial.number, trial.state, *values, *params, *per_seed, *beside]))


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _published(row: Row, metric: str) -> str:
    told = row.published_value(metric)
    return _short(f"{told[0]:.4f}") if told else ""


def _difference(row: Row, metric: str) -> str:
    told, values = row.published_value(metric), row.values(metric)
    return _short(f"{fmean(values) - told[0]:+.4f}") if told and values else ""


def _short(number: str) -> str:
    """Without the zero before the point, as the course prints."""
    return number.replace("0.", ".", 1) if number.lstrip("+-").startswith("0.") else number


def _caption(rows: Sequence[Row]) -> str:
    several = any(len(row.runs) > 1 for row in rows)
    spread = "mean ± standard deviation over the seeds; " if several else ""
    published = "; published: one run each, seed unknown" if any(row.published for row in rows) else ""
    return f"{spread}training figures are running averages over the last epoch{published}"
