"""A sweep's tables, which sweeps.reports.terminal and the templates render."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev

from pipeline.tracking.reader import TrackedRun
from sweeps.claims.config import StatisticsConfig
from sweeps.claims.statistics import interval_of
from sweeps.claims.verdicts import CONTRADICTED, INCONCLUSIVE, REPRODUCED, Finding
from sweeps.claims.words import COUNTS, metric_in_words
from sweeps.config.ablation import RemarkConfig
from sweeps.results import StudyResult, StudyTrial, TrialResult, ranked
from sweeps.sweep import Sweep

METRICS = [f"{part}/{quantity}" for part in ("train", "val", "test") for quantity in ("loss", "accuracy")]
METRICS += ["gap/accuracy", "epochs", "prediction"]
# Distinct without colour, too.
MARKS = {REPRODUCED: "\u2713", CONTRADICTED: "\u2717", INCONCLUSIVE: "?"}
MOST_TRIALS = 10
# Gives the address of a run's page.
Link = Callable[[TrackedRun], str]


@dataclass(frozen=True)
class Cell:
    """One cell: its text, small print beneath it, and the address of its link."""

    text: str
    beneath: str = ""
    link: str = ""


@dataclass(frozen=True)
class Row:
    """One row; `faint` rows belong to the row above, and the `best` one stands out."""

    cells: list[Cell]
    faint: bool = False
    best: bool = False


@dataclass(frozen=True)
class Table:
    """A table, for the terminal and for pages.

    Only pages show `beneath`, which says what the small print is, and `remarks`, to which the rows' marks refer.
    """

    title: str
    columns: list[str]
    rows: list[Row]
    caption: str = ""
    beneath: str = ""
    remarks: Sequence[RemarkConfig] = ()

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
    best: TrialResult | None = None,
) -> Table:
    """Return measured values beside published ones: a row per trial, and one per source of published values.

    `numbers` are the findings whose verdicts are marked; [1] is the first of `remarks`. With `differences`, a row
    beneath the published values has measured minus published ones. The row of the `best` trial stands out.
    """
    is_same_epochs = len({epochs for result in results for epochs in result.values("epochs")}) <= 1
    metrics = [metric for metric in _measured(results) if metric != "epochs" or not is_same_epochs]
    marks = {finding.question.name: f" {MARKS[finding.verdict]}" for finding in numbers}
    rows = []
    for result in results:
        parameters = f"{result.values('parameters')[0]:,.0f}" if result.runs else "-"
        cells = [Cell(result.label), Cell(f"n={len(result.runs)}"), Cell(parameters)]
        is_best = best is not None and result.label == best.label
        rows.append(
            Row([*cells, *(_mean(metric, result.values(metric), settings) for metric in metrics)], best=is_best)
        )
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
        "accuracy on training minus test images, dropout off."
    )
    if any(result.published for result in results):
        legend = ", ".join(f"{mark} {verdict}" for verdict, mark in MARKS.items())
        caption += f" Published: one run each, seed unknown{f'; {legend}.' if numbers else ', not judged.'}"
    beneath = f"In brackets: {settings.confidence:.0%} interval of the mean."
    columns = ["config", "seeds", "parameters", *map(metric_in_words, metrics)]
    return Table("Results", columns, rows, caption, beneath, remarks)


def runs_table(results: Sequence[TrialResult], sweep: Sweep, link: Link) -> Table:
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
    return Table("Runs", ["config", "seed", *map(metric_in_words, metrics), "run"], rows, caption)


def timing_table(timings: Mapping[str, list[float]], examples: int) -> Table:
    """Return how fast trials were that were timed side by side."""
    rows = [
        _row(
            label,
            str(len(seconds)),
            *([f"{median(seconds):.3f}", f"{examples / median(seconds):,.0f}"] if seconds else "--"),
        )
        for label, seconds in timings.items()
    ]
    caption = (
        f"Epochs of {examples:,} training examples, one config after the other with equal threads, several rounds: "
        "what claims about speed rest on. The first epoch, which also traces the model, is not counted."
    )
    return Table("Timed side by side", ["config", "rounds", "median seconds", "examples per second"], rows, caption)


def study_table(study: StudyResult, sweep: Sweep) -> Table:
    """Return the best trials with their values and parameters; the Pareto front if there are several objectives."""
    is_front = len(sweep.objectives) > 1
    rows = []
    for trial in study.best if is_front else ranked(study.trials, sweep)[:MOST_TRIALS]:
        values = [f"{value:.4f}" if abs(value) < 100 else f"{value:,.0f}" for value in trial.values]
        if len(sweep.seeds) > 1:
            values[0] = mean_and_deviation([*trial.seed_values.values()])
        is_best = trial.number == study.best[0].number
        rows.append(_row(str(trial.number), *values, *_point(trial, sweep), best=is_best))
    states = Counter(trial.state.lower() for trial in study.trials)
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    title = f"{'The Pareto front' if is_front else 'The best trials'} of {counts}"
    return Table(title, ["trial", *map(metric_in_words, sweep.objectives), *_short(sweep)], rows)


def trials_table(study: StudyResult, sweep: Sweep, runs: Mapping[str, Sequence[TrackedRun]], link: Link) -> Table:
    """Return every trial with how it ended, and links to its `runs`, given by trial."""
    rows = []
    for trial in study.trials:
        cells = [Cell(str(trial.number)), Cell(trial.state.lower(), trial.reason)]
        cells += [Cell(_number(value)) for value in trial.values] or [Cell("")] * len(sweep.objectives)
        cells += [Cell(text) for text in _point(trial, sweep)]
        own = runs.get(str(trial.number), [])
        cells.append(Cell(own[0].run_id[:8], link=link(own[0])) if own else Cell(""))
        rows.append(Row(cells))
    columns = ["trial", "ended", *map(metric_in_words, sweep.objectives), *_short(sweep), "run"]
    return Table("All trials", columns, rows, f"The links open in MLflow's pages while convsweep ui {sweep.name} runs.")


def means_table(results: Sequence[TrialResult], sweep: Sweep) -> Table:
    """Return the objective's mean over all configs that share a value, of every parameter that a grid varies."""
    rows = []
    for key, choices in sweep.choices.items():
        for choice in choices:
            labels = {trial.label for trial in sweep.trials or [] if trial.params.get(key) == choice}
            values = [
                fmean(it.values(sweep.objective)) for it in results if it.label in labels and it.values(sweep.objective)
            ]
            rows.append(_row(key, _shown(choice), f"{fmean(values):.4f}" if values else "-", str(len(values))))
    columns = ["parameter", "value", f"mean {metric_in_words(sweep.objective)}", "configs"]
    return Table("Mean by parameter", columns, rows, "Over all configs with that value, whatever else they have.")


def finalists_table(study: StudyResult, sweep: Sweep) -> Table:
    """Return what the finalists gave on all their seeds, the chosen one first."""
    found = {trial.number: trial.values[0] for trial in study.trials if trial.values}
    rows = [
        _row(
            str(trial.number),
            f"{found[trial.number]:.4f}",
            mean_and_deviation([*trial.seed_values.values()]),
            str(len(trial.seeds)),
            *_point(trial, sweep),
            best=trial.number == study.best[0].number,
        )
        for trial in study.finalists
    ]
    objective = metric_in_words(sweep.objective)
    caption = "The best trials, trained again on fresh seeds; the best by the mean over all its seeds is chosen."
    return Table("Finalists", ["trial", f"{objective} as found", "mean", "seeds", *_short(sweep)], rows, caption)


def confirmation_table(best: StudyTrial, runs: Sequence[TrackedRun], sweep: Sweep) -> Table:
    """Return what the best trial's config gave on fresh seeds."""
    metrics = confirmation_metrics(best, runs, sweep)
    names = [name.partition("/")[2] for name in metrics if "/" in name]
    values = {name: [run.metrics[name] for run in runs] for name in names}
    caption = (
        f"{metric_in_words(sweep.objective)} was {best.values[0]:.4f} when trial {best.number} was chosen as the best, "
        f"and is {fmean(values[sweep.objective]):.4f} here: a selection bias of {metrics['selection_bias']:+.4f}."
    )
    rows = [_row(metric_in_words(name), mean_and_deviation(values[name]), str(len(runs))) for name in names]
    return Table("The best config on fresh seeds", ["metric", "mean", "seeds"], rows, caption)


def confirmation_metrics(best: StudyTrial, runs: Sequence[TrackedRun], sweep: Sweep) -> dict[str, float]:
    """Return the means over fresh seeds, and by how much the best trial's value exceeded them: the selection bias."""
    measured = {name for run in runs for name in run.metrics}
    names = sorted(name for name in METRICS if name in measured and name.startswith(("test/", "val/")))
    means = {f"confirm/{name}": fmean(run.metrics[name] for run in runs) for name in names}
    return means | {"selection_bias": sweep.sign * (best.values[0] - means[f"confirm/{sweep.objective}"])}


def mean_and_deviation(values: Sequence[float], decimals: int = 4) -> str:
    """Return mean and sample standard deviation (n - 1) as text; the mean alone for one value, a dash for none."""
    if not values:
        return "-"
    spread = f" ± {stdev(values):.{decimals}f}" if len(values) > 1 else ""
    return f"{fmean(values):.{decimals}f}{spread}"


def _measured(results: Sequence[TrialResult]) -> list[str]:
    return [metric for metric in METRICS if any(result.values(metric) for result in results)]


def _short(sweep: Sweep) -> list[str]:
    """Return the names of what a sweep varies, without their sections."""
    return [key.rpartition(".")[2] for key in sweep.varied]


def point_in_words(trial: StudyTrial, sweep: Sweep) -> str:
    """Return what a trial sets, as in `filters 8, dropout 0.1`."""
    pairs = zip(_short(sweep), _point(trial, sweep), strict=True)
    return ", ".join(f"{name} {value}" for name, value in pairs if value)


def _point(trial: StudyTrial, sweep: Sweep) -> list[str]:
    return [_shown(trial.params.get(key, "")) for key in sweep.varied]


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _row(*texts: str, best: bool = False) -> Row:
    return Row([Cell(text) for text in texts], best=best)


def _faint(title: str, shown: Mapping[str, str], metrics: Sequence[str]) -> list[Row]:
    """Return a row of figures that are not measured, without seeds and parameters; none without figures."""
    texts = [shown.get(metric, "") for metric in metrics]
    return [Row([Cell(text) for text in (title, "", "", *texts)], faint=True)] if any(texts) else []


def _mean(metric: str, values: Sequence[float], settings: StatisticsConfig) -> Cell:
    """Return mean, deviation and interval; a count that all seeds share stands alone."""
    if metric in COUNTS and len({*values}) == 1:
        return Cell(_number(values[0]))
    decimals = 1 if metric in COUNTS else 4
    ends = interval_of(values, settings.confidence)
    beneath = f"[{ends[0]:.{decimals}f}, {ends[1]:.{decimals}f}]" if ends else ""
    return Cell(mean_and_deviation(values, decimals), beneath)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}" if value % 1 or abs(value) < 1 else f"{value:,.0f}"
