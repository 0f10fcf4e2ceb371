"""A sweep's tables, which sweeps.reports.terminal and the templates render; and results.csv."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median, stdev

from pipeline.tracking.reader import TrackedRun
from sweeps.claims.config import StatisticsConfig
from sweeps.claims.statistics import interval_of
from sweeps.claims.verdicts import CONTRADICTED, INCONCLUSIVE, REPRODUCED, Finding
from sweeps.config.ablation import RemarkConfig
from sweeps.results import StudyResult, StudyTrial, TrialResult
from sweeps.sweep import Sweep

METRICS = [f"{part}/{quantity}" for part in ("train", "val", "test") for quantity in ("loss", "accuracy")]
METRICS += ["gap/accuracy", "epochs", "prediction"]
# Told apart without colour too.
MARKS = {REPRODUCED: "\u2713", CONTRADICTED: "\u2717", INCONCLUSIVE: "?"}
MOST_TRIALS = 10


@dataclass(frozen=True)
class Cell:
    """One cell: its text, small print beneath it, and the address of its link."""

    text: str
    beneath: str = ""
    link: str = ""


@dataclass(frozen=True)
class Row:
    """One row; `faint` rows belong to the row above."""

    cells: list[Cell]
    faint: bool = False


@dataclass(frozen=True)
class Table:
    """A table, for the terminal and for pages; `beneath` says what the small print is, which only pages show."""

    title: str
    columns: list[str]
    rows: list[Row]
    caption: str = ""
    beneath: str = ""

    @property
    def notes(self) -> str:
        """Return what stands below the table on a page."""
        return f"{self.caption} {self.beneath}".strip()


def results_table(
    results: Sequence[TrialResult],
    settings: StatisticsConfig,
    numbers: Sequence[Finding] = (),
    remarks: Sequence[RemarkConfig] = (),
    differences: bool = False,
) -> Table:
    """Return measured values beside published ones: a row per trial, and one per source of published values.

    `numbers` are the findings whose verdicts are marked; [1] is the first of `remarks`. With `differences`, a row
    beneath the published values has measured minus published ones.
    """
    is_same_epochs = len({epochs for result in results for epochs in result.values("epochs")}) <= 1
    metrics = [metric for metric in _measured(results) if metric != "epochs" or not is_same_epochs]
    marks = {finding.question.name: f" {MARKS[finding.verdict]}" for finding in numbers}
    rows = []
    for result in results:
        parameters = f"{result.values('parameters')[0]:,.0f}" if result.runs else "-"
        cells = [Cell(result.label), Cell(f"n={len(result.runs)}"), Cell(parameters)]
        cells.append(_mean(result.values("seconds_per_epoch"), settings, 2))
        rows.append(Row([*cells, *(_mean(result.values(metric), settings) for metric in metrics)]))
        about = [(place, remark) for place, remark in enumerate(remarks, start=1) if remark.trial == result.label]
        for source, published in result.published.items():
            places = "".join(f" [{place}]" for place, it in about if it.source == source and not it.numbers)
            shown = {
                metric: f"{value:.4f}{marks.get(f'{result.label} {metric} {source}', '')}"
                for metric, value in published.items()
            }
            rows += _faint(f"published ({source}){places}", shown, metrics)
            if differences:
                means = {metric: fmean(values) for metric in published if (values := result.values(metric))}
                shown = {metric: f"{mean - published[metric]:+.4f}" for metric, mean in means.items()}
                rows += _faint("difference", shown, metrics)
        for place, remark in about:
            shown = {metric: _number(value) for metric, value in remark.numbers.items()}
            rows += _faint(f"not judged ({remark.source}) [{place}]", shown, metrics)
    caption = (
        "Mean ± standard deviation over the seeds. Training figures are running averages over the last epoch; gap is "
        "accuracy on training minus test images, dropout off. Seconds per epoch were taken while runs shared the "
        "machine."
    )
    if any(result.published for result in results):
        legend = ", ".join(f"{mark} {verdict}" for verdict, mark in MARKS.items())
        caption += f" Published: one run each, seed unknown{f'; {legend}.' if numbers else ', not judged.'}"
    beneath = f"In brackets: {settings.confidence:.0%} interval of the mean."
    return Table("Results", ["config", "seeds", "parameters", "s/epoch", *metrics], rows, caption, beneath)


def runs_table(results: Sequence[TrialResult], sweep: Sweep, link: Callable[[TrackedRun], str]) -> Table:
    """Return every run's last values, with a link to the run that they come from."""
    metrics = _measured(results)
    rows = [
        Row(
            [Cell(result.label), Cell(str(seed))]
            + [Cell(_number(run.metrics.get(metric))) for metric in metrics]
            + [Cell(run.run_id[:8], link=link(run))]
        )
        for result in results
        for seed, run in zip(result.seeds, result.runs, strict=True)
    ]
    caption = f"The links open in MLflow's pages while convsweep ui {sweep.name} runs."
    return Table("Runs", ["config", "seed", *metrics, "run"], rows, caption)


def timing_table(timings: Mapping[str, list[float]], examples: int) -> Table:
    """Return the median seconds per epoch of trials that were timed side by side."""
    rows = [
        _row(label, str(len(seconds)), f"{median(seconds):.3f}" if seconds else "-")
        for label, seconds in timings.items()
    ]
    caption = (
        f"Epochs of {examples:,} training examples, one config after the other with equal threads, several rounds: "
        "what the claims about speed rest on. The first epoch, which also traces the model, is not counted."
    )
    return Table("Timed side by side", ["config", "rounds", "median seconds"], rows, caption)


def study_table(study: StudyResult, sweep: Sweep) -> Table:
    """Return the best trials with their values and parameters; the Pareto front if there are several objectives."""
    complete = [trial for trial in study.trials if trial.state == "COMPLETE"]
    best = sorted(complete, key=lambda trial: (-sweep.sign * trial.values[0], trial.number))[:MOST_TRIALS]
    is_front = len(sweep.objectives) > 1
    rows = []
    for trial in study.best if is_front else best:
        values = [f"{value:.4f}" if abs(value) < 100 else f"{value:,.0f}" for value in trial.values]
        if len(sweep.seeds) > 1:
            values[0] = mean_and_deviation([*trial.seed_values.values()])
        params = [trial.params.get(key, "") for key in sweep.varied]
        shown = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in params]
        rows.append(_row(str(trial.number), *values, *shown))
    states = Counter(trial.state.lower() for trial in study.trials)
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    title = f"{'The Pareto front' if is_front else 'The best trials'} of {counts}"
    return Table(title, ["trial", *sweep.objectives, *(key.rpartition(".")[2] for key in sweep.varied)], rows)


def confirmation_table(best: StudyTrial, runs: Sequence[TrackedRun], sweep: Sweep) -> Table:
    """Return what the best trial's config gave on fresh seeds."""
    metrics = confirmation_metrics(best, runs, sweep)
    names = [name.partition("/")[2] for name in metrics if "/" in name]
    values = {name: [run.metrics[name] for run in runs] for name in names}
    caption = (
        f"{sweep.objective} was {best.values[0]:.4f} when trial {best.number} was chosen as the best, and is "
        f"{fmean(values[sweep.objective]):.4f} here: a selection bias of {metrics['selection_bias']:+.4f}."
    )
    rows = [_row(name, mean_and_deviation(values[name]), str(len(runs))) for name in names]
    return Table("The best config on fresh seeds", ["metric", "mean", "seeds"], rows, caption)


def confirmation_metrics(best: StudyTrial, runs: Sequence[TrackedRun], sweep: Sweep) -> dict[str, float]:
    """Return the means over fresh seeds, and by how much the best trial's value exceeded them: the selection bias."""
    measured = {name for run in runs for name in run.metrics}
    names = sorted(name for name in METRICS if name in measured and name.startswith(("test/", "val/")))
    means = {f"confirm/{name}": fmean(run.metrics[name] for run in runs) for name in names}
    return means | {"selection_bias": sweep.sign * (best.values[0] - means[f"confirm/{sweep.objective}"])}


def mean_and_deviation(values: Sequence[float], digits: int = 4) -> str:
    """Return mean and sample standard deviation (n - 1) as text; the mean alone for one value, a dash for none."""
    if not values:
        return "-"
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{fmean(values):.{digits}f}{spread}"


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


def _measured(results: Sequence[TrialResult]) -> list[str]:
    return [metric for metric in METRICS if any(result.values(metric) for result in results)]


def _row(*texts: str) -> Row:
    return Row([Cell(text) for text in texts])


def _faint(title: str, shown: Mapping[str, str], metrics: Sequence[str]) -> list[Row]:
    """Return a row of figures that are not measured, without seeds, parameters and seconds; none without figures."""
    texts = [shown.get(metric, "") for metric in metrics]
    return [Row([Cell(text) for text in (title, "", "", "", *texts)], faint=True)] if any(texts) else []


def _mean(values: Sequence[float], settings: StatisticsConfig, digits: int = 4) -> Cell:
    ends = interval_of(values, settings.confidence)
    beneath = f"[{ends[0]:.{digits}f}, {ends[1]:.{digits}f}]" if ends else ""
    return Cell(mean_and_deviation(values, digits), beneath)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}" if value % 1 or abs(value) < 1 else f"{value:,.0f}"
