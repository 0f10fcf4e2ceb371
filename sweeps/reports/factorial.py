"""What a report shows of a grid: effects and interactions, the best config per budget, heat maps, importance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import prod
from pathlib import Path
from statistics import fmean

import numpy as np

from pipeline.system.plotting import COLOURS
from sweeps.claims.effects import effects
from sweeps.claims.words import metric_in_words
from sweeps.reports.figures import Drawing, figure_of
from sweeps.reports.tables import Cell, Row, Table, mean_and_deviation
from sweeps.results import TrialResult, means_of
from sweeps.sweep import Sweep

GAP = "gap/accuracy"
Grid = Mapping[str, Sequence[str]]  # values by config key


def factorial_tables(results: Sequence[TrialResult], grid: Grid, sweep: Sweep) -> list[Table]:
    """Return the effects and the best config per budget, as far as there are results for them."""
    tables = [_effects_table(results, grid, sweep), _budget_table(results, sweep)]
    return [table for table in tables if table.rows]


def heat_maps(results: Sequence[TrialResult], grid: Grid, sweep: Sweep) -> list[Drawing]:
    """Return a heat map of what trials are compared by, and one of the gap, where all trials have it."""
    drawings = []
    for metric, quantity in ((sweep.objective, metric_in_words(sweep.objective)), (GAP, "the gap")):
        if all(result.values(metric) for result in results):
            caption = f"{quantity} of every config: means over the seeds.".capitalize()
            draw = partial(_draw_heat_map, results, grid, metric, f"{sweep.name}: {quantity}")
            drawings.append(Drawing(f"heat_map_{metric.replace('/', '_')}.png", caption, draw))
    return drawings


def importance_drawings(results: Sequence[TrialResult], sweep: Sweep) -> list[Drawing]:
    """Return the figure of how much each parameter of a whole grid explains; none of another."""
    shares = explained(results, sweep)
    metric = metric_in_words(sweep.objective)
    caption = f"How much of the variation of {metric} between configs each parameter explains; the rest is interaction."
    return [Drawing("importance.png", caption, partial(_draw_importance, shares, sweep.name))] if shares else []


def explained(results: Sequence[TrialResult], sweep: Sweep) -> dict[str, float]:
    """Return how much of the variation between a grid's configs each parameter explains alone, as a share.

    It is the sum of squares between the means of its values over that of all configs, each a mean over its seeds: the
    main effects of an analysis of variance. What is left to 1 they explain together. Empty unless all combinations of
    two parameters or more have results, and differ.
    """
    points = {trial.label: trial.params for trial in sweep.trials or []}
    means = means_of(results, sweep.objective)
    if len(sweep.choices) < 2 or len(means) != prod(map(len, sweep.choices.values())):
        return {}
    middle = fmean(means.values())
    total = sum((mean - middle) ** 2 for mean in means.values())

    def between(key: str) -> float:
        of_values = [[m for label, m in means.items() if points[label][key] == v] for v in sweep.choices[key]]
        return sum(len(each) * (fmean(each) - middle) ** 2 for each in of_values)

    return {key: between(key) / total for key in sweep.choices} if total else {}


def _effects_table(results: Sequence[TrialResult], grid: Grid, sweep: Sweep) -> Table:
    short = {key.rpartition(".")[2]: values for key, values in grid.items()}
    measured = {metric: _by_seed(results, metric, short) for metric in dict.fromkeys((sweep.objective, GAP))}
    confidence = sweep.config.statistics.confidence
    found = effects({name: len(values) for name, values in short.items()}, measured, confidence)
    rows = [
        Row(
            [
                Cell(metric_in_words(each.metric)),
                Cell(" x ".join(f"{name} ({', '.join(short[name])})" for name in each.factors)),
                Cell(f"{each.test.mean:+.4f}"),
                Cell(f"{each.test.low:+.4f} to {each.test.high:+.4f}"),
                Cell(f"{each.p_adjusted:.2g}"),
            ]
        )
        for each in found
    ]
    caption = (
        "Of one factor: the change per step of it, averaged over all configs. Of two: the change of one's effect per "
        f"step of the other. Intervals have {confidence:.0%} confidence each; p is corrected for this table by Holm's "
        "method, not for looking more than once."
    )
    return Table("Effects", ["metric", "factor", "change", "interval", "p"], rows, caption)


def _budget_table(results: Sequence[TrialResult], sweep: Sweep) -> Table:
    """Return the configs that are better than every cheaper one."""
    rows, best = [], None
    for seconds, result in sorted(
        ((_seconds(r), r) for r in results if r.values(sweep.objective)), key=lambda it: it[0]
    ):
        value = sweep.sign * fmean(result.values(sweep.objective))
        if best is None or value > best:
            best = value
            values = [mean_and_deviation(result.values(metric)) for metric in (sweep.objective, GAP)]
            rows.append(Row([Cell(f"{seconds:,.0f} s"), Cell(result.label), *map(Cell, values)]))
    caption = (
        "Configs that are better than every cheaper one. The budget is what one network takes to train: epochs times "
        "seconds per epoch, taken while runs shared the machine. Chosen by the seeds shown, which flatters them."
    )
    return Table(
        "The best config per budget",
        ["budget", "config", metric_in_words(sweep.objective), metric_in_words(GAP)],
        rows,
        caption,
    )


def _seconds(result: TrialResult) -> float:
    return fmean(result.values("epochs")) * fmean(result.values("seconds_per_epoch"))


def _by_seed(results: Sequence[TrialResult], metric: str, grid: Grid) -> np.ndarray:
    """Return the metric with an axis for the seeds that all trials have, and one for each factor."""
    values = [result.by_seed(metric) for result in results]
    seeds = [seed for seed in values[0] if all(seed in each for each in values)]
    return np.array([[each[seed] for each in values] for seed in seeds]).reshape(-1, *map(len, grid.values()))


def _draw_heat_map(results: Sequence[TrialResult], grid: Grid, metric: str, title: str, path: Path) -> None:
    """Draw a cell per trial: the first half of the factors down, the second half across."""
    half = (len(grid) + 1) // 2
    means = np.array([fmean(result.values(metric)) for result in results])
    means = means.reshape(prod(len(values) for values in [*grid.values()][:half]), -1)
    words = [result.label.split() for result in results]
    rows = [", ".join(each[:half]) for each in words[:: means.shape[1]]]
    columns = ["\n".join(each[half:]) for each in words[: means.shape[1]]]
    with figure_of(1.1 * len(columns) + 3.2, 0.42 * len(rows) + 1.7, path, is_gridded=False) as figure:
        axes = figure.subplots()
        image = axes.imshow(means, cmap="cividis", aspect="auto")
        middle = (means.min() + means.max()) / 2
        for (row, column), mean in np.ndenumerate(means):
            colour = "black" if mean > middle else "white"
            axes.text(column, row, f"{mean:.4f}", ha="center", va="center", color=colour, fontsize="small")
        axes.set_xticks(range(len(columns)), columns, fontsize="small")
        axes.set_yticks(range(len(rows)), rows, fontsize="small")
        axes.set_title(title, fontsize="medium")
        figure.colorbar(image)


def _draw_importance(shares: Mapping[str, float], title: str, path: Path) -> None:
    """Draw a bar per parameter, the longest on top."""
    keys = sorted(shares, key=lambda key: shares[key])
    with figure_of(7.0, 0.42 * len(keys) + 1.6, path) as figure:
        axes = figure.subplots()
        bars = axes.barh(keys, [shares[key] for key in keys], color=COLOURS["test"])
        axes.bar_label(bars, [f"{shares[key]:.0%}" for key in keys], padding=3)
        axes.set(xlim=(0, 1.1), xlabel="share of the variation between configs")
        axes.set_title(title, fontsize="medium")
