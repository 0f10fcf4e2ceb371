"""The learning curves of one run as a figure."""

from __future__ import annotations

from pathlib import Path

from pipeline.train import RunResult

# Okabe and Ito's colours, told apart by colour-blind readers too: https://jfly.uni-koeln.de/color/
COLOURS = {"train": "#0072B2", "val": "#009E73", "test": "#D55E00"}
# Also told apart without colour.
MARKERS = {"train": "o", "val": "^", "test": "s"}


def draw_learning_curves(result: RunResult, title: str, path: Path) -> None:
    """Draw loss and accuracy per epoch, training beside validation and test, into the PNG file `path`."""
    from matplotlib.figure import Figure

    names = sorted({metric.partition("/")[2] for metric in result.history}, reverse=True)
    figure = Figure(figsize=(4.6 * len(names), 3.4), layout="constrained")
    epochs = range(1, result.epochs + 1)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for part, colour in COLOURS.items():
            if values := result.history.get(f"{part}/{name}"):
                marker = MARKERS[part] if result.epochs <= 50 else ""
                axes.plot(epochs, values, color=colour, marker=marker, markersize=4, label=part)
        axes.set(xlabel="epoch", ylabel=name)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(title)
    figure.savefig(path, dpi=110)
