"""The chart that a page begins with, and the bars beside claims: where marks lie, for the templates to draw as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sweeps.claims.config import LEAST_SEEDS, StatisticsConfig
from sweeps.claims.statistics import interval_of
from sweeps.claims.verdicts import Finding
from sweeps.claims.words import metric_in_words, number_in_words
from sweeps.reports.tables import mean_and_deviation
from sweeps.results import TrialResult, best_result
from sweeps.sweep import Sweep

MOST_ROWS = 24
# Of more configs, all metrics of one are drawn on one line.
MOST_TALL_ROWS = 8
LINE = 14  # pixels
TICKS = 7


@dataclass(frozen=True)
class Scale:
    """A horizontal scale of so many values."""

    low: float
    high: float

    def at(self, value: float) -> str:
        """Return where a value lies, in percent of the width, which a browser stretches; at an end if beyond."""
        share = (value - self.low) / (self.high - self.low)
        return f"{100 * min(1.0, max(0.0, share)):.2f}%"

    def width(self, ends: tuple[float, float]) -> str:
        """Return how wide a range is, as far as it is on the scale."""
        low, high = (min(max(end, self.low), self.high) for end in ends)
        return f"{100 * (high - low) / (self.high - self.low):.2f}%"

    @property
    def ticks(self) -> list[float]:
        """Round values, at most `TICKS` of them or so."""
        rough = (self.high - self.low) / TICKS
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
        first, last = math.ceil(round(self.low / step, 6)), math.floor(round(self.high / step, 6))
        return [round(step * place, 10) for place in range(first, last + 1)]


def scale_of(values: Sequence[float], margin: float = 0.06) -> Scale:
    """Return a scale that shows all the values, with a margin at both ends."""
    low, high = min(values), max(values)
    space = margin * (high - low) or margin * abs(high) or 1.0
    return Scale(low - space, high + space)


@dataclass(frozen=True)
class Marks:
    """One metric of one config: a dot per seed, the mean with its interval, and published values with their source."""

    part: str
    values: list[float]
    mean: float
    interval: tuple[float, float] | None
    published: list[tuple[float, str]]

    @property
    def ends(self) -> list[float]:
        """All values that have to be on the scale."""
        return [*self.values, *(self.interval or ()), *(value for value, _ in self.published)]


@dataclass(frozen=True)
class ChartRow:
    """One config: its name, its place on the axis if that is another, what is drawn, in words too, and its value."""

    label: str
    tick: str
    marks: list[Marks]
    words: str
    value: str
    is_best: bool


@dataclass(frozen=True)
class Chart:
    """A row of marks per config, on one scale; `parts` are what is drawn in which style, in words."""

    title: str
    axis: str
    metric: str
    parts: dict[str, str]
    rows: list[ChartRow]
    scale: Scale
    caption: str

    @property
    def line(self) -> int:
        """How far below one metric of a config the next is drawn."""
        return LINE if len(self.rows) <= MOST_TALL_ROWS else 0

    @property
    def has_published(self) -> bool:
        """Whether a published value is drawn."""
        return any(marks.published for row in self.rows for marks in row.marks)


def chart_of(results: Sequence[TrialResult], sweep: Sweep, axis: str, settings: StatisticsConfig) -> Chart | None:
    """Return the chart of what configs are compared by, and of the same on the other parts; None without values.

    Intervals are drawn from three seeds on. Of very many configs the first are drawn, and the rest is in the table.
    """
    objective = sweep.objective
    measured = [result for result in results if result.values(objective)]
    if not measured:
        return None
    quantity = objective.partition("/")[2]
    metrics = [f"{part}/{quantity}" for part in ("train", "val", "test")] if quantity else [objective]
    metrics = [metric for metric in metrics if any(result.values(metric) for result in measured)]
    best = best_result(measured, sweep) if sweep.trials is not None else measured[0]
    rows = [_row(it, metrics, objective, it == best, settings) for it in measured[:MOST_ROWS]]
    has_intervals = any(marks.interval for row in rows for marks in row.marks)
    caption = "A dot per seed; a bar is their mean"
    caption += f", a line its {settings.confidence:.0%} interval." if has_intervals else "."
    if len(rows) < len(results):
        caption += f" {len(rows)} of {len(results)} configs; the table below has all."
    return Chart(
        title=f"{metric_in_words(objective)} by {axis}",
        axis=axis if any(row.tick for row in rows) else "",
        metric=metric_in_words(objective),
        parts={metric.partition("/")[0]: metric_in_words(metric) for metric in metrics},
        rows=rows,
        scale=scale_of([end for row in rows for marks in row.marks for end in marks.ends]),
        caption=caption,
    )


def _row(
    result: TrialResult, metrics: Sequence[str], objective: str, is_best: bool, settings: StatisticsConfig
) -> ChartRow:
    marks = {metric: _marks(result, metric, settings) for metric in metrics if result.values(metric)}
    words = "; ".join(_in_words(metric, it) for metric, it in marks.items())
    value = mean_and_deviation(result.values(objective))
    tick = "" if result.tick == result.label else result.tick
    return ChartRow(result.label, tick, [*marks.values()], words, value, is_best)


def _marks(result: TrialResult, metric: str, settings: StatisticsConfig) -> Marks:
    values = result.values(metric)
    published = [(numbers[metric], source) for source, numbers in result.published.items() if metric in numbers]
    interval = interval_of(values, settings.confidence) if len(values) >= LEAST_SEEDS else None
    return Marks(metric.partition("/")[0], values, sum(values) / len(values), interval, published)


def _in_words(metric: str, marks: Marks) -> str:
    words = f"{metric_in_words(metric)} {number_in_words(marks.mean)}"
    if marks.interval:
        words += f", between {' and '.join(map(number_in_words, marks.interval))}"
    if len(marks.values) > 1:
        words += f" (seeds: {', '.join(map(number_in_words, marks.values))})"
    return words + "".join(f", published {number_in_words(value)} ({source})" for value, source in marks.published)


# What an estimate means that shows no effect, by kind of claim; of the others that both are equal.
NEUTRAL = {
    "rises": "no trend",
    "falls": "no trend",
    "overfits": "no gap",
    "reduces_overfitting": "equal gap",
    "slower": "equally fast",
    "faster": "equally fast",
}


@dataclass(frozen=True)
class Bar:
    """A finding as an interval beside what it is compared with.

    Attributes:
        scale: Of this bar alone.
        low, estimate, high: The interval; of a published number, that of one further run.
        reference, label: What it is compared with: a value, and what that is.
        zone: Where the claim is true; None where no range of one number says so.
    """

    scale: Scale
    low: float
    estimate: float
    high: float
    reference: float
    label: str
    zone: tuple[float, float] | None


def bar_of(finding: Finding) -> Bar | None:
    """Return the bar beside a finding; None where there were too few seeds."""
    outcome = finding.outcome
    if outcome is None:
        return None
    kind, claimed = finding.question.kind, outcome.claimed
    if claimed[0] == claimed[1]:
        reference, label = claimed[0], "published"
    elif kind == "stops":
        reference, label = claimed[1], "last epoch"
    else:
        reference, label = outcome.neutral, NEUTRAL.get(kind, "equal")
    ends = [end for end in claimed if math.isfinite(end)]
    scale = scale_of([outcome.low, outcome.estimate, outcome.high, reference, *ends], 0.15)
    zone = claimed if ends and claimed[0] < claimed[1] else None
    return Bar(scale, outcome.low, outcome.estimate, outcome.high, reference, label, zone)
