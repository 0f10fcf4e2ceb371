"""The learning curves of one run as a figure; and what all figures share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.system.messages import one_line
from pipeline.system.tensorflow import draw_off_screen
from pipeline.training.result import RunResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by colour-blind readers too: https://jfly.uni-koeln.de/color/
COLOURS = {"train": "#0072B2", "val": "#009E73", "test": "#D55E00"}
# Also told apart without colour.
MARKERS = {"train": "o", "val": "^", "test": "s"}


def new_figure(width: float, height: float, **settings: Any) -> Figure:
    """An empty figure of so many inches."""
    draw_off_screen()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), **settings)


def drawn(draw: Callable[[Path], object], path: Path) -> str:
    """Draw a figure into the file `path`; an empty string, or one line that says why it cannot be drawn.

    No run and no report is lost for a figure.
    """
    try:
        draw(path)
    except Exception as error:
        path.unlink(missing_ok=True)
        return f"no figure {path.name}: {one_line(error)}"
    return ""


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
