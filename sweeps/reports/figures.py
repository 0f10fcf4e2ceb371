"""A sweep's figures: one style, told apart without colour, legible in print. Seeds as dots, means with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.tracking.learning_curves import COLOURS, MARKERS, new_figure
from sweeps.claims.config import StatisticsConfig
from sweeps.claims.statistics import interval_of, turn
from sweeps.claims.verdicts import CONTRADICTED, INCONCLUSIVE, REPRODUCED, Finding
from sweeps.results import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 130
MOST_LEVEL_TICKS = 10
MOST_CURVES = 24
ACROSS = 4
# Okabe and Ito's again.
VERDICTS = {REPRODUCED: ("#009E73", "o"), CONTRADICTED: ("#D55E00", "X"), INCONCLUSIVE: ("#767676", "s")}
NEUTRAL = "#444444"


def draw_axis(
    rows: Sequence[Row], metric: str, axis: str, title: str, path: Path, settings: StatisticsConfig | None = None
) -> None:
    """Draw `metric` of training and test against the axis: seeds, means with intervals, published values."""
    figure = _figure(min(24.0, max(7.0, 1.15 * len(rows))), 4.4)
    axes = figure.subplots()
    for part, shift in (("train", -0.09), ("val", 0.0), ("test", 0.09)):
        name, colour = f"{part}/{metric}", COLOURS[part]
        places = [(at + shift, row.values(name)) for at, row in enumerate(rows) if row.values(name)]
        dots = [(at, value) for at, values in places for value in values]
        marks = [(at + shift, told[0]) for at, row in enumerate(rows) if (told := row.published_value(name))]
        if dots:
            axes.plot(*_columns(dots), MARKERS[part], color=colour, markersize=4, label=f"{part}, one dot per seed")
            _draw_means(axes, [at + 0.07 for at, _ in places], [values for _, values in places], colour, settings)
            _draw_lines(axes, rows, name, shift, colour)
        if marks:
            label = f"{part}, published"
            axes.plot(*_columns(marks), "D", color=colour, markerfacecolor="none", markersize=9, label=label)
    level = len(rows) <= MOST_LEVEL_TICKS
    axes.set_xticks(range(len(rows)), [row.tick for row in rows], rotation=0 if level else 90)
    axes.set(xlabel=axis, ylabel=metric)
    axes.set_title(f"{title}\n{_seeds_told(rows)}{_bars_told(settings)}", fontsize="medium")
    axes.legend(fontsize="small")
    _save(figure, path)


def draw_learning_curves(rows: Sequence[Row], title: str, path: Path) -> None:
    """Draw accuracy and loss per epoch of every trial: a thin line per seed, a thick one for the mean.

    A dotted line marks the epoch with the lowest mean test loss, where that is not the last: the onset of overfitting.
    """
    rows = [row for row in rows if row.curves][:MOST_CURVES]
    metrics = [m for m in ("accuracy", "loss") if any(row.curve(f"train/{m}") for row in rows)]
    across, blocks = min(ACROSS, len(rows)), -(-len(rows) // ACROSS)
    figure = _figure(2.9 * across + 0.6, 2.3 * len(metrics) * blocks + 0.6)
    grid = figure.subplots(len(metrics) * blocks, across, squeeze=False)
    for place, row in enumerate(rows):
        block, column = divmod(place, across)
        for number, metric in enumerate(metrics):
            axes = grid[block * len(metrics) + number][column]
            for part in COLOURS:
                _draw_curves(axes, list(row.curve(f"{part}/{metric}").values()), part)
            _mark_onset(axes, list(row.curve("test/loss").values()), legend=metric == "accuracy")
            axes.set_title(row.label if number == 0 else "", fontsize="medium")
            axes.set(xlabel="epoch" if number == len(metrics) - 1 else "", ylabel=metric if column == 0 else "")
    for axes in grid.flat:
        axes.set_visible(bool(axes.lines))
    grid[0][0].legend(fontsize="small")
    figure.suptitle(title)
    _save(figure, path)


def draw_gap(rows: Sequence[Row], axis: str, title: str, path: Path, settings: StatisticsConfig) -> None:
    """Draw the gap between training and test accuracy of every trial: seeds as dots, means with intervals."""
    shown = [row for row in rows if row.values("gap/accuracy")]
    figure = _figure(7.0, 0.42 * len(shown) + 1.6)
    axes = figure.subplots()
    for at, row in enumerate(shown):
        values = row.values("gap/accuracy")
        axes.plot(values, [at] * len(values), "o", color=COLOURS["train"], markersize=4)
        _draw_mean(axes, fmean(values), at + 0.2, values, settings)
    axes.axvline(0, color=NEUTRAL, linewidth=0.8)
    axes.set_yticks(range(len(shown)), [row.tick.replace("\n", " ") for row in shown])
    axes.invert_yaxis()
    axes.set(xlabel="training accuracy minus test accuracy, dropout off", ylabel=axis)
    axes.set_title(f"{title}: overfitting, {_seeds_told(shown)}{_bars_told(settings)}", fontsize="medium")
    _save(figure, path)


def draw_cost(rows: Sequence[Row], timings: Mapping[str, list[float]], title: str, path: Path) -> None:
    """Draw what each trial costs: seconds per epoch as run, seconds per epoch timed in turn, parameters."""
    shown = [row for row in rows if row.runs]
    names = [row.tick.replace("\n", " ") for row in shown]
    figure = _figure(10.0, 0.42 * len(shown) + 1.6)
    panels = figure.subplots(1, 3 if timings else 2, sharey=True)
    as_run = [row.values("seconds_per_epoch") for row in shown]
    _draw_dots(panels[0], as_run, "seconds per epoch, as run:\nruns share the machine")
    if timings:
        timed = [timings.get(row.label, []) for row in shown]
        _draw_dots(panels[1], timed, "seconds per timed epoch:\none at a time, in turn")
    parameters = [row.values("parameters")[:1] for row in shown]
    _draw_dots(panels[-1], parameters, "parameters")
    panels[0].set_yticks(range(len(shown)), names)
    panels[0].invert_yaxis()
    figure.suptitle(f"{title}: cost")
    _save(figure, path)


def draw_published(findings: Sequence[Finding], published: Sequence[float], title: str, path: Path) -> None:
    """Draw every published number against ours, in half prediction intervals: within -1 and 1 it is reproduced."""
    shown = [(f, value) for f, value in zip(findings, published, strict=True) if f.outcome]
    figure = _figure(7.0, 0.24 * len(shown) + 1.7)
    axes = figure.subplots()
    axes.axvspan(-1, 1, color="#009E73", alpha=0.12)
    axes.axvline(0, color=NEUTRAL, linewidth=0.8)
    seen = set()
    for at, (finding, value) in enumerate(shown):
        assert finding.outcome is not None
        half = finding.outcome.high - finding.outcome.estimate
        colour, marker = VERDICTS[finding.verdict]
        label = None if finding.verdict in seen else finding.verdict
        seen.add(finding.verdict)
        axes.plot((value - finding.outcome.estimate) / half, at, marker, color=colour, markersize=6, label=label)
    axes.set_yticks(range(len(shown)), [finding.question.name for finding, _ in shown], fontsize="small")
    axes.invert_yaxis()
    axes.set(xlabel="published minus ours; the band is the interval for one further run")
    axes.set_title(f"{title}: published numbers", fontsize="medium")
    axes.legend(fontsize="small")
    _save(figure, path)


def _figure(width: float, height: float) -> Figure:
    return new_figure(width, height, layout="constrained")


def _save(figure: Figure, path: Path) -> None:
    for axes in figure.axes:
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=DPI)


def _draw_means(
    axes: Axes, places: list[float], values: list[list[float]], colour: str, settings: StatisticsConfig | None
) -> None:
    means = [fmean(v) for v in values]
    for at, mean, told in zip(places, means, values, strict=True):
        if settings and (ends := interval_of(told, settings.confidence)):
            axes.errorbar(at, mean, _error(mean, ends), color=colour, capsize=3, linewidth=1.1)


def _error(mean: float, ends: tuple[float, float]) -> list[list[float]]:
    """Lengths of an error bar; not below 0, where equal values leave a rounding."""
    return [[max(0.0, mean - ends[0])], [max(0.0, ends[1] - mean)]]


def _draw_mean(axes: Axes, mean: float, at: float, values: list[float], settings: StatisticsConfig) -> None:
    ends = interval_of(values, settings.confidence)
    error: Any = _error(mean, ends) if ends else None
    axes.errorbar(mean, at, xerr=error, fmt="|", color=NEUTRAL, capsize=3, markersize=9)


def _draw_dots(axes: Axes, values: Sequence[Sequence[float]], label: str) -> None:
    for at, told in enumerate(values):
        axes.plot(told, [at] * len(told), "o", color=COLOURS["train"], markersize=4)
    flat = [value for told in values for value in told]
    if flat and max(flat) > 20 * min(flat):
        axes.set_xscale("log")
    else:
        axes.set_xlim(left=0)
    axes.set_xlabel(label, fontsize="small")


def _draw_curves(axes: Axes, curves: list[list[float]], part: str) -> None:
    if not curves:
        return
    for curve in curves:
        axes.plot(range(1, len(curve) + 1), curve, color=COLOURS[part], linewidth=0.6, alpha=0.5)
    shortest = min(map(len, curves))  # runs may have stopped at different epochs
    mean = np.mean([curve[:shortest] for curve in curves], axis=0)
    marker = MARKERS[part] if shortest <= 25 else ""
    axes.plot(range(1, shortest + 1), mean, color=COLOURS[part], marker=marker, markersize=3.5, label=part)
    axes.locator_params(axis="x", integer=True)


def _mark_onset(axes: Axes, losses: list[list[float]], legend: bool) -> None:
    if not losses:
        return
    shortest = min(map(len, losses))
    epoch = turn([curve[:shortest] for curve in losses])
    if epoch < shortest:
        label = "test loss turns" if legend else None
        axes.axvline(epoch, color=NEUTRAL, linestyle=":", linewidth=1.2, label=label)


def _draw_lines(axes: Axes, rows: Sequence[Row], metric: str, shift: float, colour: str) -> None:
    """Join the means of neighbours on a scale; between names, a line would mean nothing."""
    for at, (first, second) in enumerate(pairwise(rows)):
        values = [row.values(metric) for row in (first, second)]
        if all(row.tick.replace(".", "", 1).isdigit() for row in (first, second)) and all(values):
            axes.plot([at + shift, at + 1 + shift], [fmean(v) for v in values], color=colour, linewidth=1.1, alpha=0.7)


def _seeds_told(rows: Sequence[Row]) -> str:
    counts = sorted({len(row.runs) for row in rows})
    return f"n = {' to '.join(map(str, [counts[0], *counts[1:][-1:]]))} seeds" if counts else "no seeds"


def _bars_told(settings: StatisticsConfig | None) -> str:
    return f"; bars: {settings.confidence:.0%} intervals of the mean" if settings else ""


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]
