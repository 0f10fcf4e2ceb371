"""What MLflow's pages show of a sweep: three saved views of its runs, and notes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite

from pipeline.tracking.tracker import Tracker
from pipeline.tracking.views import FIRST, Chart, Section, View, save_views, view_path
from sweeps.sweep import Sweep

PARTS = {"test": "Test", "val": "Validation"}
COST = ("seconds_per_epoch", "seconds", "parameters", "epochs")
NOTE = "mlflow.note.content"
# Comments around our part of a note, which MLflow's editor shows and its pages do not.
BEGIN, END = "<!-- convsweep writes this anew; write above or below -->", "<!-- /convsweep -->"
OF_BEFORE = "&viewStateShareKey="  # is in notes of before December 2026, which had no comments and were ours alone
MOST_CHARACTERS = 8000  # that MLflow keeps of a run's note

# Values of a metric that its axis has to show.
Shown = Callable[[str], Sequence[float]]


def save_sweep_views(sweep: Sweep, tracker: Tracker, parent: str, shown: Shown = lambda metric: ()) -> str:
    """Save the sweep's views, its runs grouped by config, seeds averaged; return the address of the first."""
    folded = [trial.label for trial in sweep.trials or []] if len(sweep.seeds) > 1 else []
    return f"{sweep.store.pages}{save_views(tracker, sweep.name, parent, sweep_views(sweep, shown), folded)}"


def sweep_views(sweep: Sweep, shown: Shown) -> list[View]:
    """Return the views: curves first, which links open; then who is best, and what it costs."""
    config, quantities = sweep.config, ["accuracy", "loss"] if sweep.config.data.has_classes else ["loss"]
    configs = [config, *(trial.base for trial in sweep.trials or [])]
    tested = sweep.confirm_seeds or any(each.trainer.evaluate_test for each in configs)
    validated = any(each.data.val_fraction for each in configs)
    main = sweep.objective.partition("/")[0]
    parts = [part for part, is_measured in (("test", tested), ("val", validated)) if is_measured]
    parts.sort(key=lambda part: part != main)

    def lines(title: str, part: str, is_folded: bool = False) -> Section:
        metrics = [f"{part}/{quantity}" for quantity in quantities]
        return Section(title, [Chart(metric, True, _bounds(shown(metric))) for metric in metrics], is_folded)

    def bars(title: str, *metrics: str, is_folded: bool = False) -> Section:
        return Section(title, [Chart(metric) for metric in metrics], is_folded)

    gap = [f"gap/{quantities[0]}"] if config.data.has_classes else []
    evaluated = [f"train_eval/{quantity}" for quantity in quantities]
    curves = [*(lines(PARTS[part], part) for part in parts[:1]), lines("Training", "train")]
    others = [lines(PARTS[part], part, is_folded=True) for part in parts[1:]]
    details = [bars("Training images, dropout off", *evaluated, is_folded=True)]
    details += [Section("test/accuracy", is_folded=True)] if tested and config.data.has_classes else []  # by class
    normed = any(each.trainer.gradient_norms for each in configs)
    details += [Section("gradient_norm", is_folded=True)] if normed else []

    keys = [f"{key}.name" if "." not in key else key for key in sweep.varied]
    metrics = [f"{part}/{quantity}" for part in (*parts[:1], "train") for quantity in quantities] + gap
    columns = [f"params.{key}" for key in [*keys, "seed"]]
    measured = [f"metrics.{metric}" for metric in metrics]
    best, descending = sweep.objective, sweep.direction != "maximize"
    costs = [f"metrics.{metric}" for metric in (*COST, best)]
    folded = [Section(each.title, each.charts, is_folded=True) for each in curves]
    return [
        View(
            FIRST,
            best,
            descending,
            [*columns, *measured],
            [*curves, bars("Overfitting and cost", *gap, *COST), *others, *details],
        ),
        View(
            "ranking",
            best,
            descending,
            [*columns, *measured],
            [bars("Ranking", best, *gap), *folded, bars("Cost", *COST, is_folded=True), *others, *details],
        ),
        View(
            "cost",
            COST[0],
            True,
            [*columns, *costs],
            [bars("Cost", *COST), bars("What it brings", best, *gap), *folded, *others, *details],
        ),
    ]


def _bounds(values: Sequence[float]) -> tuple[float, float] | None:
    """Return bounds of an axis that show these values and their differences; None without any."""
    finite = [value for value in values if isfinite(value)]
    if not finite:
        return None
    low, high = min(finite), max(finite)
    margin = (high - low) / 20 or abs(high) / 20 or 1.0
    return round(low - margin, 4), round(high + margin, 4)


def links(sweep: Sweep, tracker: Tracker, parent: str, has_report: bool) -> str:
    """Return links to the sweep's views and to its report, as Markdown for MLflow's notes."""
    experiment = tracker.experiment(sweep.name)
    pages = {name: view_path(experiment, name) for name in (FIRST, "ranking", "cost")}
    if has_report:
        pages = {"report": f"/#/experiments/{experiment}/runs/{parent}/artifacts/report.html"} | pages
    return " · ".join(f"[{name}]({path.removeprefix('/')})" for name, path in pages.items())


def save_notes(sweep: Sweep, tracker: Tracker, parent: str, on_experiment: str, on_run: str) -> None:
    """Write our parts of the notes on the sweep's experiment and parent run; keep what a user has written around them.

    Where MLflow keeps less than `on_run` has, the run's note is the experiment's.
    """
    experiment = tracker.client.get_experiment(tracker.experiment(sweep.name))
    note = with_part(experiment.tags.get(NOTE, ""), on_experiment)
    tracker.client.set_experiment_tag(experiment.experiment_id, NOTE, note)
    before = tracker.get(parent).tags.get(NOTE, "")
    notes = (with_part(before, part) for part in (on_run, on_experiment))
    if note := next((note for note in notes if len(note) <= MOST_CHARACTERS), ""):
        tracker.tag(parent, {NOTE: note})


def with_part(note: str, part: str) -> str:
    """Return a note with `part` in the place of our last one; at its beginning if it has none."""
    if BEGIN not in note and OF_BEFORE in note:
        note = ""
    above, begin, rest = note.partition(BEGIN)
    _, end, below = rest.partition(END)
    if not (begin and end):
        above, below = "", note and f"\n\n{note}"
    return f"{above}{BEGIN}\n\n{part}\n\n{END}{below}"
