"""The learning curves of one run as a figure."""

from __future__ import annotations

from pathlib import Path

from pipeline.system.plotting import COLOURS, MARKERS, new_figure
from pipeline.training.result import RunResult


def draw_learning_curves(result: RunResult, title: str, path: Path) -> None:
    """Draw loss and accuracy per epoch, training beside validation and test, into the PNG file `path`."""
    names = sorted({metric.partition("/")[2] for metric in result.history}, reverse=True)
    # Margins are fixed: to fit them to the labels, Matplotlib would draw everything twice, for every run of a sweep.
    width = 4.6 * len(names)
    figure = new_figure(width, 3.6)
    figure.subplots_adjust(left=0.85 / width, right=1 - 0.15 / width, bottom=0.15, top=0.83, wspace=0.25)
    epochs = range(1, result.epochs + 1)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for part, colour in COLOURS.items():
            if values := result.history.get(f"{part}/{name}"):
                marker = MARKERS[part] if result.epochs <= 50 else ""
                axes.plot(epochs, values, color=colour, marker=marker, markersize=4, label=part)
        axes.set_xlabel("epoch")
        axes.set_title(name, loc="left", fontsize="medium")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(title)
    figure.savefig(path, dpi=110)
