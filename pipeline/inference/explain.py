"""`convsweep explain`: what a tracked model sees: activation maps, first filters, confusion, confident mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from pipeline.config.checks import ConfigError
from pipeline.datasets import dataset as data
from pipeline.datasets.complete import is_kept
from pipeline.inference.load import SavedModel, require_trust
from pipeline.inference.predict import prepared, probabilities
from pipeline.system.plotting import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 120
MISTAKES = 15
MISTAKES_ACROSS = 5
MOST_FILTERS = 64
FILTERS_ACROSS = 16


def explain(saved: SavedModel, images: Sequence[int], filter_number: int, folder: Path, console: Console) -> list[Path]:
    """Draw all figures that the model allows into `folder`; their files.

    Args:
        saved: The model.
        images: Places in the run's test set, from 0, of the images to follow through the network.
        filter_number: Which activation map of each layer to show, from 0.
        folder: Where to.
        console: Told of what cannot be drawn, and why.

    Raises:
        ConfigError: if a place or the filter does not exist, the model takes no images, or its test
            set comes from a function and is not in the cache, without `trust`.
        DataError: if the data cannot be had.
    """
    config = saved.config
    if not config.data.is_image or not config.data.has_classes:
        takes = "takes no images, grey or in colour, or predicts no classes"
        raise ConfigError(f"run {saved.run.run_id} {takes}: there is nothing to look at")
    if config.data.loader is not None and not saved.trust and not is_kept(config.data):
        require_trust(saved.run, f"data.loader={config.data.loader}")
    test = data.split(data.load(config.data, console.print), config.data, config.seed).test
    _check(saved, images, filter_number, len(test))
    folder.mkdir(parents=True, exist_ok=True)
    figures = []
    if _seen(saved):
        figures.append(_draw_activations(saved, test, images, filter_number, folder))
        figures += [_draw_filters(layer, folder) for layer in _seen(saved) if "Conv" in type(layer).__name__][:1]
    else:
        console.print("no convolution to be seen in the network: there are no activation maps and no filters to draw")
    share = probabilities(saved, test.x)
    figures.append(_draw_confusion(saved, test, share.argmax(axis=1), folder))
    if path := _draw_mistakes(saved, test, share, folder):
        figures.append(path)
    else:
        console.print("the model makes no mistake on its test set")
    return figures


def _check(saved: SavedModel, images: Sequence[int], filter_number: int, size: int) -> None:
    for place in images:
        if not 0 <= place < size:
            raise ConfigError(f"--images {place} is not allowed: the run's test set has images 0 to {size - 1}")
    fewest = min((layer.output.shape[-1] for layer in _seen(saved)), default=None)
    if fewest is not None and not 0 <= filter_number < fewest:
        raise ConfigError(f"--filter {filter_number} is not allowed: the layers shown have filters 0 to {fewest - 1}")


def _seen(saved: SavedModel) -> list[Any]:
    """Layers whose output is a stack of maps: convolutions and poolings; none where Keras does not know their order."""
    layers = getattr(_graph(saved), "layers", []) if getattr(_graph(saved), "inputs", None) else []
    named = [layer for layer in layers if "Conv" in type(layer).__name__ or "Pool" in type(layer).__name__]
    return [layer for layer in named if len(layer.output.shape) == 4]


def _graph(saved: SavedModel) -> Any:
    """The model whose layers can be tapped: of a network of the user's own, the one that the builder returned."""
    return saved.net.layers[-2] if saved.config.model.builder is not None else saved.net


def _draw_activations(
    saved: SavedModel, test: data.Examples, images: Sequence[int], filter_number: int, folder: Path
) -> Path:
    """The course's figure (N22): one filter's maps, a row per image, a column per layer."""
    import keras

    seen = _seen(saved)
    tap = keras.Model(_graph(saved).inputs, [layer.output for layer in seen])
    seen_by = tap.predict_on_batch(prepared(saved, test.x[list(images)]))  # of a single layer, Keras gives no list
    maps = [np.asarray(output, np.float32) for output in keras.tree.flatten(seen_by)]
    figure = _figure(1.55 * (len(seen) + 1), 1.6 * len(images) + 0.9)
    grid = figure.subplots(len(images), len(seen) + 1, squeeze=False)
    for row, place in enumerate(images):
        _show(grid[row][0], test.x[place])
        grid[row][0].set_ylabel(f"{place}: {saved.config.data.class_names[int(test.y[place])]}", fontsize="small")
        for column, layer in enumerate(seen, start=1):
            grid[row][column].imshow(maps[column - 1][row, :, :, filter_number], cmap="inferno")
            if row == 0:
                sides = "x".join(map(str, layer.output.shape[1:3]))
                grid[row][column].set_title(f"{layer.name}\n{sides}", fontsize="small")
    return _save(figure, grid, f"activation maps of filter {filter_number}", folder / "activations.png")


def _draw_filters(first: Any, folder: Path) -> Path:
    """The learned kernels of the first convolution; of colour images in colour, else blue below 0 and red above."""
    kernels = np.asarray(first.kernel, np.float32)[..., :MOST_FILTERS]
    count = kernels.shape[-1]
    across = min(FILTERS_ACROSS, count)
    figure = _figure(0.62 * across + 0.3, 0.75 * -(-count // across) + 0.7)
    grid = figure.subplots(-(-count // across), across, squeeze=False)
    most = float(np.percentile(abs(kernels), 98)) or 1.0  # a few large weights would pale all others
    for number, axes in enumerate(grid.flat):
        if number >= count:
            axes.set_visible(False)
        elif kernels.shape[2] == 3:
            axes.imshow(kernels[..., number] / (2 * most) + 0.5)
        else:
            axes.imshow(kernels[:, :, 0, number], cmap="RdBu_r", vmin=-most, vmax=most)
        axes.set_title(str(number), fontsize=6, pad=2)
    return _save(figure, grid, f"filters of {first.name}, from {-most:.2f} to {most:.2f}", folder / "filters.png")


def _draw_confusion(saved: SavedModel, test: data.Examples, said: np.ndarray, folder: Path) -> Path:
    names = saved.config.data.class_names
    counts = np.zeros((len(names), len(names)), int)
    np.add.at(counts, (test.y.astype(int), said), 1)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 0.62 * len(names) + 1.8
    figure = _figure(side + 0.6, side)
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for true, row in enumerate(counts):
        for guess, count in enumerate(row):
            colour = "white" if share[true, guess] > 0.5 else "black"
            axes.text(guess, true, str(count), ha="center", va="center", color=colour, fontsize="small")
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    labels = [f"{name} ({share[at, at]:.0%})" for at, name in enumerate(names)]
    axes.set_yticks(range(len(names)), labels)
    axes.set(xlabel="what the model says", ylabel="what it is (share recognised)")
    right = int(np.trace(counts))
    figure.suptitle(f"confusion: {right:,} of {len(test):,} test images right ({right / len(test):.4f})", fontsize=11)
    path = folder / "confusion.png"
    figure.savefig(path, dpi=DPI)
    return path


def _draw_mistakes(saved: SavedModel, test: data.Examples, share: np.ndarray, folder: Path) -> Path | None:
    """The wrong answers with the highest probability; None where there are none."""
    said, names = share.argmax(axis=1), saved.config.data.class_names
    sure = share.max(axis=1)
    wrong = np.flatnonzero(said != test.y)
    shown = wrong[np.argsort(-sure[wrong], kind="stable")][:MISTAKES]
    if not len(shown):
        return None
    down = -(-len(shown) // MISTAKES_ACROSS)
    figure = _figure(1.9 * MISTAKES_ACROSS, 2.1 * down + 0.5)
    grid = figure.subplots(down, MISTAKES_ACROSS, squeeze=False)
    for axes in grid.flat[len(shown) :]:
        axes.set_visible(False)
    for axes, place in zip(grid.flat, shown, strict=False):
        _show(axes, test.x[place])
        true = names[int(test.y[place])]
        axes.set_title(f"{place}: {true}\nsays {names[said[place]]} {sure[place]:.3f}", fontsize=7.5)
    return _save(figure, grid, f"the most confident of {len(wrong):,} mistakes", folder / "mistakes.png")


def _figure(width: float, height: float) -> Figure:
    return new_figure(max(width, 3.6), height, layout="constrained")


def _show(axes: Axes, image: np.ndarray) -> None:
    axes.imshow(image.squeeze(), cmap="gray" if image.shape[2] == 1 else None)


def _save(figure: Figure, grid: Any, title: str, path: Path) -> Path:
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=DPI)
    return path
