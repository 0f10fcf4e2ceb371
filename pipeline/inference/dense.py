"""A figure of a dense layer: what it makes of images, and how alike that is within a class and between classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.datasets import dataset as data
from pipeline.inference.drawing import DPI, figure_of
from pipeline.inference.layers import outputs_of
from pipeline.inference.load import SavedModel

PER_CLASS = 20


def draw_dense(saved: SavedModel, test: data.Examples, layer: Any, folder: Path) -> Path:
    """Draw the activations of the first images of each class, and the mean cosine of every pair of classes."""
    names = saved.config.data.class_names
    places = [np.flatnonzero(test.y == label)[:PER_CLASS] for label in range(len(names))]
    (activations,) = outputs_of(saved, [layer], test.x[np.concatenate(places)])
    labels = np.repeat(np.arange(len(names)), [len(each) for each in places])
    alike = similarity(activations, labels, len(names))
    within, between = np.nanmean(np.diag(alike)), np.nanmean(alike[~np.eye(len(names), dtype=bool)])
    figure = figure_of(11, 0.3 * len(names) + 3.2)
    left, right = figure.subplots(1, 2, width_ratios=[1.3, 1])
    left.imshow(activations, cmap="inferno", aspect="auto", interpolation="nearest")
    left.set(xlabel="unit", title=f"activations, {PER_CLASS} images of each class at most")
    left.set_yticks(
        [float(np.flatnonzero(labels == n).mean()) if (labels == n).any() else 0 for n in range(len(names))]
    )
    left.set_yticklabels(names)
    right.imshow(alike, cmap="Blues", vmin=0, vmax=1)
    for (row, column), value in np.ndenumerate(alike):
        if not np.isnan(value):
            colour = "white" if value > 0.6 else "black"
            right.text(column, row, f"{value:.2f}".lstrip("0"), ha="center", va="center", color=colour, fontsize=6.5)
    right.set_xticks(range(len(names)), names, rotation=45, ha="right")
    right.set_yticks(range(len(names)), names)
    right.set_title("mean cosine of two images")
    figure.suptitle(f"{layer.name}: similarity {within:.2f} within a class, {between:.2f} between classes", fontsize=11)
    path = folder / "dense.png"
    figure.savefig(path, dpi=DPI)
    return path


def similarity(activations: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Return the mean cosine of two different examples, by their classes; NaN where there are no two.

    Args:
        activations: Shape (n, units).
        labels: Classes from 0, shape (n,).
        classes: How many there are; the result has the shape (classes, classes).
    """
    norms = np.linalg.norm(activations, axis=1, keepdims=True)
    unit = activations / np.where(norms > 0, norms, 1)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, np.nan)  # an image is no other image
    result = np.full((classes, classes), np.nan)
    for row in range(classes):
        for column in range(classes):
            pairs = cosines[np.ix_(labels == row, labels == column)]
            if np.isfinite(pairs).any():
                result[row, column] = np.nanmean(pairs)
    return result
