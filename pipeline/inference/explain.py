"""`convsweep explain`: what a tracked model sees: maps, filters, dense activations, confusion, confident mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from pipeline.config.checks import ConfigError, did_you_mean
from pipeline.datasets import dataset as data
from pipeline.datasets.complete import is_kept
from pipeline.inference.dense import draw_dense
from pipeline.inference.drawing import DPI, draw_images, figure_of
from pipeline.inference.layers import first_convolution, last_hidden_dense, map_layers
from pipeline.inference.load import SavedModel, require_trust
from pipeline.inference.maps import draw_activations, draw_edges, draw_filters, draw_layer
from pipeline.inference.predict import probabilities

MISTAKES = 15
MOST_TAKEN = 3  # pairs of classes that are named


@dataclass(frozen=True)
class Explanation:
    """What was found: sentences, and captions by the files of the figures."""

    findings: list[str]
    figures: dict[Path, str]


def explain(
    saved: SavedModel,
    images: Sequence[int],
    filter_number: int,
    folder: Path,
    console: Console,
    layer_name: str | None = None,
) -> Explanation:
    """Draw all figures that the model allows into `folder`, and count what it takes for what.

    Args:
        saved: The model.
        images: Places in the run's test set, from 0, of the images to follow through the network.
        filter_number: Which activation map of each layer to show, from 0.
        folder: Where to.
        console: Prints what cannot be drawn, and why.
        layer_name: The layer of which all maps are shown, for the first of the images; None for the first that has any.

    Raises:
        ConfigError: if a place, the filter or the layer does not exist, the model takes no images, or its test
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
    layer = _layer(saved, layer_name)
    folder.mkdir(parents=True, exist_ok=True)
    share = probabilities(saved, test.x)
    counts = confusion(test.y, share.argmax(axis=1), len(config.data.class_names))
    figures = {_draw_confusion(config.data.class_names, counts, folder): "What the model takes for what."}
    if path := _draw_mistakes(saved, test, share, folder):
        figures[path] = "The wrong answers that it is surest of: index, class, what it says and with what probability."
    if shown := map_layers(saved):
        path = draw_activations(saved, test, images, filter_number, folder)
        figures[path] = f"Activation maps of filter {filter_number}, layer by layer."
        layer = layer or shown[0]
        figures[draw_layer(saved, test, images[0], layer, folder)] = f"The maps of {layer.name} for one image."
    else:
        console.print("no convolution to be seen in the network: there are no activation maps and no filters to draw")
    if first := first_convolution(saved):
        figures[draw_filters(first, folder)] = f"The learned filters of {first.name}."
        path = draw_edges(saved, test, images[0], first, folder)
        figures[path] = "Hand-made filters for edges, the learned ones most like them, and what both make of one image."
    if hidden := last_hidden_dense(saved):
        path = draw_dense(saved, test, hidden, folder)
        figures[path] = f"What {hidden.name} makes of images, and how alike that is within and between classes."
    return Explanation(findings(config.data.class_names, counts), figures)


def confusion(labels: np.ndarray, said: np.ndarray, classes: int) -> np.ndarray:
    """Return how often each class, a row, is said to be each, a column: shape (classes, classes)."""
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (labels.astype(int), said), 1)
    return counts


def findings(names: Sequence[str], counts: np.ndarray) -> list[str]:
    """Return in sentences what a confusion matrix says.

    >>> findings(["cat", "dog"], np.array([[6, 2], [0, 4]]))
    ['10 of 12 test images right (0.8333); least recognised: cat (75%)', 'cat taken for dog (2 times)']
    """
    right, every, of_class = int(np.trace(counts)), int(counts.sum()), counts.sum(axis=1)
    share = np.diag(counts) / np.maximum(of_class, 1)
    worst = int(np.where(of_class > 0, share, np.inf).argmin())
    wrong = counts - np.diag(np.diag(counts))
    if not wrong.any():
        return [f"{right:,} of {every:,} test images right: the model makes no mistake on its test set"]
    most = [divmod(int(at), len(names)) for at in np.argsort(-wrong, axis=None, kind="stable")[:MOST_TAKEN]]
    taken = [(names[true], names[guess], int(wrong[true, guess])) for true, guess in most if wrong[true, guess]]
    times = [f"{true} taken for {guess} ({count:,} time{'s' * (count > 1)})" for true, guess, count in taken]
    first = f"{right:,} of {every:,} test images right ({right / every:.4f})"
    return [f"{first}; least recognised: {names[worst]} ({share[worst]:.0%})", ", ".join(times)]


def _check(saved: SavedModel, images: Sequence[int], filter_number: int, size: int) -> None:
    for place in images:
        if not 0 <= place < size:
            raise ConfigError(f"--images {place} is not allowed: the run's test set has images 0 to {size - 1}")
    fewest = min((layer.output.shape[-1] for layer in map_layers(saved)), default=None)
    if fewest is not None and not 0 <= filter_number < fewest:
        raise ConfigError(f"--filter {filter_number} is not allowed: the layers shown have filters 0 to {fewest - 1}")


def _layer(saved: SavedModel, name: str | None) -> Any | None:
    layers = {layer.name: layer for layer in map_layers(saved)}
    if name is not None and name not in layers:
        names = ", ".join(layers) or "none"
        raise ConfigError(f"--layer {name} is not allowed{did_you_mean(name, layers)}: layers with maps are {names}")
    return layers[name] if name else None


def _draw_confusion(names: Sequence[str], counts: np.ndarray, folder: Path) -> Path:
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 0.62 * len(names) + 1.8
    figure = figure_of(side + 0.6, side)
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
    right, every = int(np.trace(counts)), int(counts.sum())
    figure.suptitle(f"confusion: {right:,} of {every:,} test images right ({right / every:.4f})", fontsize=11)
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
    titles = [f"{place}: {names[int(test.y[place])]}\nsays {names[said[place]]} {sure[place]:.3f}" for place in shown]
    title = f"the most confident of {len(wrong):,} mistakes"
    return draw_images([test.x[place] for place in shown], titles, title, folder / "mistakes.png")
