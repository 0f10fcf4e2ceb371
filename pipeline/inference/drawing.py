"""How figures of images and of what a network makes of them are laid out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.system.plotting import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 120
IMAGES_ACROSS = 5
PAIRS_ACROSS = 3


def figure_of(width: float, height: float) -> Figure:
    """Return an empty figure of `width` by `height` inches, or a little wider where its title would not fit."""
    return new_figure(max(width, 3.6), height, layout="constrained")


def show_image(axes: Axes, image: np.ndarray) -> None:
    """Draw an image, shape (height, width, channels), grey or in colour."""
    axes.imshow(image.squeeze(), cmap="gray" if image.shape[2] == 1 else None)


def show_kernel(axes: Axes, kernel: np.ndarray, most: float) -> None:
    """Draw a kernel, shape (height, width, channels): of three channels in colour, else blue below 0, red above."""
    if kernel.shape[2] == 3:
        axes.imshow(kernel / (2 * most) + 0.5)
    else:
        axes.imshow(kernel[:, :, 0], cmap="RdBu_r", vmin=-most, vmax=most)


def save(figure: Figure, grid: Any, title: str, path: Path) -> Path:
    """Write a figure of images, whose axes need no ticks; return its path."""
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=DPI)
    return path


def draw_images(images: Sequence[np.ndarray], titles: Sequence[str], title: str, path: Path) -> Path:
    """Write a figure of images, each with a title; return its path."""
    down = -(-len(images) // IMAGES_ACROSS)
    figure = figure_of(1.9 * IMAGES_ACROSS, 2.1 * down + 0.5)
    grid = figure.subplots(down, IMAGES_ACROSS, squeeze=False)
    for axes in grid.flat[len(images) :]:
        axes.set_visible(False)
    for axes, image, words in zip(grid.flat, images, titles, strict=False):
        show_image(axes, image)
        axes.set_title(words, fontsize=7.5)
    return save(figure, grid, title, path)


def draw_pairs(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]], titles: Sequence[tuple[str, str]], title: str, path: Path
) -> Path:
    """Write a figure of pairs of images side by side, each image with a title; return its path."""
    across = min(PAIRS_ACROSS, len(pairs))
    down = -(-len(pairs) // across)
    figure = figure_of(3.4 * across, 2.1 * down + 0.5)
    grid = figure.subplots(down, 2 * across, squeeze=False)
    for axes in grid.flat[2 * len(pairs) :]:
        axes.set_visible(False)
    images, words = chain.from_iterable(pairs), chain.from_iterable(titles)
    for axes, image, above in zip(grid.flat, images, words, strict=False):
        show_image(axes, image)
        axes.set_title(above, fontsize=7.5)
    return save(figure, grid, title, path)
