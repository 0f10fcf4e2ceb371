"""Optuna's figures of a study, and of a grid."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.system.plotting import pyplot_off_screen, try_to_draw
from sweeps.claims.words import metric_in_words
from sweeps.results import TrialResult, means_of
from sweeps.sweep import Sweep

if TYPE_CHECKING:
    import optuna

Figures = Mapping[str, Callable[[], Any]]  # by name, what makes the axes of each


def draw_study(study: optuna.Study, sweep: Sweep, folder: Path) -> list[str]:
    """Draw the study into PNG files in `folder`; return a line for each figure that cannot be drawn."""
    from optuna.visualization import matplotlib as plots

    names = [metric_in_words(metric) for metric in sweep.objectives]
    several = len(names) > 1
    named: dict[str, Any] = {"target_name": names[0]}
    named["target"] = (lambda trial: trial.values[0]) if several else None
    figures = {
        "history": partial(plots.plot_optimization_history, study, **named),
        "importance": partial(plots.plot_param_importances, study, **named),
        "slice": partial(plots.plot_slice, study, **named),
        "parallel_coordinate": partial(plots.plot_parallel_coordinate, study, **named),
    }
    if several:
        figures["pareto_front"] = partial(plots.plot_pareto_front, study, target_names=names)
    return _drawn(figures, sweep, folder)


def draw_grid(results: Sequence[TrialResult], sweep: Sweep, folder: Path) -> list[str]:
    """Draw every config of a grid as a line through its parameters, as `draw_study`; nothing of a single parameter."""
    points = {trial.label: trial.params for trial in sweep.trials or []}
    means = means_of(results, sweep.objective)
    if not means or len(sweep.varied) < 2 or any(len(points[label]) < len(sweep.varied) for label in means):
        return []
    import optuna
    from optuna.visualization import matplotlib as plots

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction=sweep.direction)
    choices = {key: optuna.distributions.CategoricalDistribution(values) for key, values in sweep.choices.items()}
    for label, mean in means.items():
        params = dict(points[label])
        study.add_trial(optuna.trial.create_trial(params=params, distributions=choices, value=mean))
    plot = partial(plots.plot_parallel_coordinate, study, target_name=metric_in_words(sweep.objective))
    return _drawn({"parallel_coordinate": plot}, sweep, folder)


def _drawn(figures: Figures, sweep: Sweep, folder: Path) -> list[str]:
    width = max(7.0, 2.4 * len(sweep.varied))
    troubles = (try_to_draw(partial(_draw, plot, width), folder / f"{name}.png") for name, plot in figures.items())
    return [line for line in troubles if line]


def _draw(plot: Callable[[], Any], width: float, path: Path) -> None:
    with pyplot_off_screen():
        with warnings.catch_warnings(action="ignore"):  # Optuna calls its matplotlib figures experimental
            axes = plot()
        several = list(getattr(axes, "flat", []))
        for narrow in several:
            narrow.tick_params(axis="x", which="both", labelsize="x-small", rotation=60)
        figure = (several[0] if several else axes).figure
        for each in figure.axes:  # as our own figures are; the caption is the title
            for side in ("left", "center"):
                each.set_title("", loc=side)
            each.set_facecolor("white")
            for line in (*each.get_xgridlines(), *each.get_ygridlines()):
                line.set_color("0.9")
        figure.suptitle("")
        figure.set_size_inches(width, 4.5)
        figure.savefig(path, dpi=110, bbox_inches="tight")
