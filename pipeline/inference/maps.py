"""Figures of convolutions: activation maps, learned filters, and hand-made ones beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.datasets import dataset as data
from pipeline.inference.drawing import figure_of, save, show_image, show_kernel
from pipeline.inference.layers import map_layers, outputs_of
from pipeline.inference.load import SavedModel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_FILTERS = 64
FILTERS_ACROSS = 16


def draw_activations(
    saved: SavedModel, test: data.Examples, images: Sequence[int], filter_number: int, folder: Path
) -> Path:
    """Draw one filter's maps, a row per image, a column per layer: the course's figure (N22)."""
    layers = map_layers(saved)
    maps = outputs_of(saved, layers, test.x[list(images)])
    figure = figure_of(1.55 * (len(layers) + 1), 1.6 * len(images) + 0.9)
    grid = figure.subplots(len(images), len(layers) + 1, squeeze=False)
    for row, place in enumerate(images):
        show_image(grid[row][0], test.x[place])
        grid[row][0].set_ylabel(_name(saved, test, place), fontsize="small")
        for column, layer in enumerate(layers, start=1):
            grid[row][column].imshow(maps[column - 1][row, :, :, filter_number], cmap="inferno")
            if row == 0:
                sides = "x".join(map(str, layer.output.shape[1:3]))
                grid[row][column].set_title(f"{layer.name}\n{sides}", fontsize="small")
    return save(figure, grid, f"activation maps of filter {filter_number}", folder / "activations.png")


def draw_layer(saved: SavedModel, test: data.Examples, place: int, layer: Any, folder: Path) -> Path:
    """Draw the maps of all filters of one layer for one image (L13)."""
    (maps,) = outputs_of(saved, [layer], test.x[[place]])
    stack = np.moveaxis(maps[0], -1, 0)[:MOST_FILTERS]
    figure, grid = _many(len(stack) + 1)
    show_image(grid.flat[0], test.x[place])
    grid.flat[0].set_title("image", fontsize=6, pad=2)
    for number, (axes, one) in enumerate(zip(grid.flat[1:], stack, strict=False)):
        axes.imshow(one, cmap="inferno", vmin=float(stack.min()), vmax=float(stack.max()))
        axes.set_title(str(number), fontsize=6, pad=2)
    shown = f"{len(stack)} of {maps.shape[-1]}" if len(stack) < maps.shape[-1] else f"all {len(stack)}"
    title = f"{shown} maps of {layer.name} for image {_name(saved, test, place)}, on one scale"
    return save(figure, grid, title, folder / "layer.png")


def draw_filters(first: Any, folder: Path) -> Path:
    """Draw the learned kernels of the first convolution; of colour images in colour, else blue below 0, red above."""
    kernels = np.asarray(first.kernel, np.float32)[..., :MOST_FILTERS]
    figure, grid = _many(kernels.shape[-1])
    most = _scale(kernels)
    for number, axes in enumerate(grid.flat[: kernels.shape[-1]]):
        show_kernel(axes, kernels[..., number], most)
        axes.set_title(str(number), fontsize=6, pad=2)
    return save(figure, grid, f"filters of {first.name}, from {-most:.2f} to {most:.2f}", folder / "filters.png")


def draw_edges(saved: SavedModel, test: data.Examples, place: int, first: Any, folder: Path) -> Path:
    """Draw hand-made filters for vertical and horizontal edges, the learned ones most like them, and their maps.

    Alike is the cosine of two kernels, whatever its sign; maps are without bias and activation.
    """
    kernels = np.asarray(first.kernel, np.float32)
    image = test.x[place].astype(np.float32)
    figure = figure_of(8.4, 4.6)
    grid = figure.subplots(2, 5)
    for row, (name, made) in zip(grid, edge_filters(kernels.shape[:2]).items(), strict=True):
        number, cosine = most_alike(kernels, made)
        show_image(row[0], test.x[place])
        row[0].set_ylabel(f"{name} edges", fontsize="small")
        every_channel = np.repeat(made[..., None], image.shape[2], axis=2) / image.shape[2]
        learned = kernels[..., number]
        _draw_pair(row[1:3], "hand-made", made[..., None], correlated(image, every_channel))
        _draw_pair(row[3:5], f"learned, {number}\ncosine {cosine:+.2f}", learned, correlated(image, learned))
    return save(figure, grid, f"edges of image {_name(saved, test, place)}", folder / "edges.png")


def _draw_pair(axes: Sequence[Axes], title: str, kernel: np.ndarray, answer: np.ndarray) -> None:
    show_kernel(axes[0], kernel, _scale(kernel))
    axes[0].set_title(title, fontsize="small")
    most = float(abs(answer).max()) or 1.0
    axes[1].imshow(answer, cmap="RdBu_r", vmin=-most, vmax=most)
    axes[1].set_title("its map", fontsize="small")


def edge_filters(size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Return hand-made kernels of this height and width: Prewitt's, for vertical and for horizontal edges.

    >>> edge_filters((3, 3))["vertical"]
    array([[ 1.,  0., -1.],
           [ 1.,  0., -1.],
           [ 1.,  0., -1.]], dtype=float32)
    """
    height, width = size
    across = np.sign(np.arange(width)[::-1] - (width - 1) / 2).astype(np.float32)
    down = np.sign(np.arange(height)[::-1] - (height - 1) / 2).astype(np.float32)
    return {"vertical": np.tile(across, (height, 1)), "horizontal": np.tile(down[:, None], (1, width))}


def most_alike(kernels: np.ndarray, made: np.ndarray) -> tuple[int, float]:
    """Return which of the kernels, shape (height, width, channels, n), is most like a hand-made one, and the cosine."""
    flat = kernels.mean(axis=2).reshape(made.size, -1)
    norms = np.linalg.norm(flat, axis=0) * np.linalg.norm(made)
    cosines = made.reshape(-1) @ flat / np.where(norms > 0, norms, 1)
    number = int(abs(cosines).argmax())
    return number, float(cosines[number])


def correlated(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Return the map of an image, shape (height, width, channels), under a kernel of as many channels, unpadded."""
    windows = np.lib.stride_tricks.sliding_window_view(image, kernel.shape[:2], axis=(0, 1))
    return np.asarray(np.einsum("abcij,ijc->ab", windows, kernel))


def _many(count: int) -> tuple[Any, Any]:
    """Return a figure and a grid for so many small pictures; the rest of it is hidden."""
    across = min(FILTERS_ACROSS, count)
    down = -(-count // across)
    figure = figure_of(0.62 * across + 0.3, 0.75 * down + 0.7)
    grid = figure.subplots(down, across, squeeze=False)
    for axes in grid.flat[count:]:
        axes.set_visible(False)
    return figure, grid


def _scale(kernels: np.ndarray) -> float:
    return float(np.percentile(abs(kernels), 98)) or 1.0  # a few large weights would pale all others


def _name(saved: SavedModel, test: data.Examples, place: int) -> str:
    return f"{place}: {saved.config.data.class_names[int(test.y[place])]}"
