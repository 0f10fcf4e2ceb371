"""A sweep's figures: one style, readable without colour and in print. Seeds as dots, means with intervals."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.system.plotting import COLOURS, MARKERS, new_figure
from sweeps.claims.statistics import interval_of, turn
from sweeps.claims.words import metric_in_words
from sweeps.results import TrialResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 130
MOST_LEVEL_LETTERS = 80
MOST_CURVES = 24
ACROSS = 4
NEUTRAL = "#444444"


@dataclass(frozen=True)
class Drawing:
    """A figure that can be drawn: its file's name, what it shows, and how it is drawn into a path."""

    file: str
    caption: str
    draw: Callable[[Path], None]


def result_drawings(results: Sequence[TrialResult], axis: str, title: str, confidence: float) -> list[Drawing]:
    """Return the figures of any grid for which there is something to draw."""
    drawings = []
    for quantity in ("accuracy", "loss"):
        if any(result.values(f"{part}/{quantity}") for result in results for part in COLOURS):
            caption = f"{quantity} by {axis}: a dot per seed, bars are intervals of the mean."
            drawings.append(
                Drawing(
                    axis_file(quantity, axis), caption, partial(draw_axis, results, quantity, axis, title, confidence)
                )
            )
    if any(result.curves for result in results):
        caption = "Learning curves: thin lines are seeds; dotted, the epoch from which mean test loss rises."
        drawings.append(Drawing("learning_curves.png", caption, partial(draw_learning_curves, results, title)))
    if any(result.values("gap/accuracy") for result in results):
        caption = "Overfitting: how much better the model is on its training set."
        drawings.append(Drawing("gap.png", caption, partial(draw_gap, results, axis, title, confidence)))
    return drawings


def axis_file(quantity: str, axis: str) -> str:
    """Return the name of the figure of accuracy or loss against the axis."""
    slug = re.sub(r"\W+", "_", axis).strip("_")
    return f"{quantity}_by_{slug}.png"


def draw_axis(
    results: Sequence[TrialResult], quantity: str, axis: str, title: str, confidence: float, path: Path
) -> None:
    """Draw accuracy or loss of every part against the axis: seeds, means with intervals, published values."""
    names = [_in_lines(result) for result in results]
    longest = max(len(line) for name in names for line in name.split("\n"))
    is_level = longest * len(names) <= MOST_LEVEL_LETTERS
    height = 4.4 + (0.12 * max(name.count("\n") for name in names) if is_level else 0.08 * longest)
    with figure_of(min(24.0, max(7.0, 1.15 * len(results))), height, path) as figure:
        axes = figure.subplots()
        for part, shift in (("train", -0.09), ("val", 0.0), ("test", 0.09)):
            metric, colour = f"{part}/{quantity}", COLOURS[part]
            values = {place: result.values(metric) for place, result in enumerate(results) if result.values(metric)}
            if values:
                dots = [(place + shift, value) for place in values for value in values[place]]
                label = f"{part}, one dot per seed"
                axes.plot(*zip(*dots, strict=True), MARKERS[part], color=colour, markersize=4, label=label)
                for place in values:
                    mean, error = _mean(values[place], confidence)
                    axes.errorbar(place + shift + 0.07, mean, error, color=colour, capsize=3, linewidth=1.1)
                _join_means(axes, results, metric, shift, colour)
            published = {place: result.published_value(metric) for place, result in enumerate(results)}
            marks = [(place + shift, value[0]) for place, value in published.items() if value]
            if marks:
                diamonds = axes.plot(*zip(*marks, strict=True), "D", color=colour, label=f"{part}, published")
                diamonds[0].set(markerfacecolor="none", markersize=9)
        axes.set_xticks(range(len(results)), names)
        axes.tick_params(axis="x", rotation=0 if is_level else 90)
        axes.set(xlabel=axis, ylabel=quantity)
        axes.set_title(f"{title}\n{_legend(results, confidence)}", fontsize="medium")
        axes.legend(fontsize="small")


def draw_learning_curves(results: Sequence[TrialResult], title: str, path: Path) -> None:
    """Draw accuracy and loss per epoch of every trial: a thin line per seed, a thick one for the mean.

    A dotted line marks the epoch with the lowest mean test loss, unless that is the last: the onset of overfitting.
    """
    results = [result for result in results if result.curves][:MOST_CURVES]
    quantities = [each for each in ("accuracy", "loss") if any(result.curve(f"train/{each}") for result in results)]
    across, blocks = min(ACROSS, len(results)), -(-len(results) // ACROSS)
    with figure_of(2.9 * across + 0.6, 2.3 * len(quantities) * blocks + 0.6, path) as figure:
        grid = figure.subplots(len(quantities) * blocks, across, squeeze=False)
        for place, result in enumerate(results):
            block, column = divmod(place, across)
            for number, quantity in enumerate(quantities):
                axes = grid[block * len(quantities) + number][column]
                for part in COLOURS:
                    _draw_curves(axes, [*result.curve(f"{part}/{quantity}").values()], part)
                _mark_onset(axes, [*result.curve("test/loss").values()], "test loss turns" if number == 0 else "")
                axes.set_title(_in_lines(result) if number == 0 else "", fontsize="medium")
                is_last = number == len(quantities) - 1
                axes.set(xlabel="epoch" if is_last else "", ylabel=quantity if column == 0 else "")
        for axes in grid.flat:
            axes.set_visible(bool(axes.lines))
        grid[0][0].legend(fontsize="small")
        figure.suptitle(title)


def draw_gap(results: Sequence[TrialResult], axis: str, title: str, confidence: float, path: Path) -> None:
    """Draw the gap between training and test accuracy of every trial: seeds as dots, means with intervals."""
    results = [result for result in results if result.values("gap/accuracy")]
    width = 6.0 + 0.08 * max(len(result.label) for result in results)
    with figure_of(width, 0.42 * len(results) + 1.6, path) as figure:
        axes = figure.subplots()
        for place, result in enumerate(results):
            values = result.values("gap/accuracy")
            axes.plot(values, [place] * len(values), "o", color=COLOURS["train"], markersize=4)
            mean, error = _mean(values, confidence)
            axes.errorbar(mean, place + 0.2, xerr=error, fmt="|", color=NEUTRAL, capsize=3, markersize=9)
        axes.axvline(0, color=NEUTRAL, linewidth=0.8)
        _list_trials(axes, results)
        axes.set(xlabel="training accuracy minus test accuracy, dropout off", ylabel=axis)
        axes.set_title(f"{title}: overfitting, {_legend(results, confidence)}", fontsize="medium")


def draw_trials(curves: Mapping[str, list[list[float]]], best: str, metric: str, title: str, path: Path) -> None:
    """Draw the metric per epoch of every trial's runs, `curves` by trial; the best one's stand out."""
    with figure_of(7.0, 4.0, path) as figure:
        axes = figure.subplots()
        for trial, lines in sorted(curves.items(), key=lambda item: item[0] == best):
            style: dict[str, Any] = {"color": NEUTRAL, "linewidth": 0.7, "alpha": 0.5, "marker": "."}
            if trial == best:
                style = {"color": COLOURS["test"], "linewidth": 2.0, "marker": "o"}
            for place, line in enumerate(lines):
                label = f"trial {trial}, the best" if trial == best and place == 0 else None
                axes.plot(range(1, len(line) + 1), line, label=label, **style)
        axes.locator_params(axis="x", integer=True)
        axes.set(xlabel="epoch", ylabel=metric_in_words(metric))
        axes.set_title(title, fontsize="medium")
        axes.legend(fontsize="small")


@contextmanager
def figure_of(width: float, height: float, path: Path, is_gridded: bool = True) -> Iterator[Figure]:
    """Give an empty figure of this size in inches, and write it to `path` in the end, with grid lines if it has any."""
    figure = new_figure(width, height, layout="constrained")
    yield figure
    for axes in figure.axes if is_gridded else ():
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=DPI)


def _in_lines(result: TrialResult) -> str:
    """Return the name of a config, a line for each parameter of a grid."""
    return result.label.replace(" ", "\n")


def _list_trials(axes: Axes, results: Sequence[TrialResult]) -> None:
    """Name the trials on the vertical axis, from top to bottom."""
    axes.set_yticks(range(len(results)), [result.label for result in results])
    axes.invert_yaxis()


def _mean(values: Sequence[float], confidence: float) -> tuple[float, list[list[float]] | None]:
    """Return the mean and the lengths of its error bar; not below 0, where equal values leave a rounding."""
    mean, ends = fmean(values), interval_of(values, confidence)
    return mean, [[max(0.0, mean - ends[0])], [max(0.0, ends[1] - mean)]] if ends else None


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


def _mark_onset(axes: Axes, losses: list[list[float]], label: str) -> None:
    if losses and (epoch := turn(losses)) < min(map(len, losses)):
        axes.axvline(epoch, color=NEUTRAL, linestyle=":", linewidth=1.2, label=label or None)


def _join_means(axes: Axes, results: Sequence[TrialResult], metric: str, shift: float, colour: str) -> None:
    """Join the means of neighbours on a scale; between names, a line would mean nothing."""
    for place, pair in enumerate(pairwise(results)):
        values = [result.values(metric) for result in pair]
        if all(result.tick.replace(".", "", 1).isdigit() for result in pair) and all(values):
            means, ends = [fmean(each) for each in values], [place + shift, place + 1 + shift]
            axes.plot(ends, means, color=colour, linewidth=1.1, alpha=0.7)


def _legend(results: Sequence[TrialResult], confidence: float) -> str:
    counts = sorted({len(result.runs) for result in results})
    seeds = f"n = {' to '.join(map(str, [counts[0], *counts[1:][-1:]]))} seeds" if counts else "no seeds"
    return f"{seeds}; bars: {confidence:.0%} intervals of the mean"
