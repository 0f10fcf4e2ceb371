"""Test images shifted and resized, on which a trained model is evaluated too: metrics `test_shift_0.1/accuracy`, ..."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from pipeline.config.schema import RunConfig, TrainerConfig
from pipeline.datasets.dataset import Examples

SHIFT, SIZE = "shift_{:g}".format, "size_{:g}".format
# Parts of metrics: `test_` before a change is on the changed images, `gap_` what is lost by the change.
CHANGED = r"(test|gap)_(shift|size)_[^/@]+"


def change_metrics(trainer: TrainerConfig) -> list[str]:
    """Return the names of all metrics of changed test images, those of accuracy included."""
    changes = [*map(SHIFT, trainer.test_shifts), *map(SIZE, trainer.test_sizes)]
    return [name for it in changes for name in (f"test_{it}/loss", f"test_{it}/accuracy", f"gap_{it}/accuracy")]


def changed_sets(test: Examples, config: RunConfig) -> Iterator[tuple[str, Examples]]:
    """Give the test set under each change that the config asks for, with its name, as in shift_0.1 and size_0.75."""
    for share in config.trainer.test_shifts:
        yield SHIFT(share), replace(test, x=shifted(test.x, config.data.pixels(share)))
    for size in config.trainer.test_sizes:
        yield SIZE(size), replace(test, x=resized(test.x, size, config.trainer.eval_batch_size))


def shifted(x: np.ndarray, pixels: tuple[int, int]) -> np.ndarray:
    """Return the images moved up, down, left or right, image i by i mod 4; what is uncovered is 0.

    Args:
        x: Images, shape (n, height, width, channels).
        pixels: How far up or down, and left or right; above 0 and below the side.
    """
    rows, columns = pixels
    moved = np.zeros_like(x)
    moved[0::4, :-rows] = x[0::4, rows:]
    moved[1::4, rows:] = x[1::4, :-rows]
    moved[2::4, :, :-columns] = x[2::4, :, columns:]
    moved[3::4, :, columns:] = x[3::4, :, :-columns]
    return moved


def resized(x: np.ndarray, size: float, at_once: int) -> np.ndarray:
    """Return the images drawn at `size` times their size about the centre, bilinearly; what is uncovered is 0.

    Whole numbers are rounded.

    Args:
        x: Images, shape (n, height, width, channels).
        size: Above 0; below 1 images shrink, above they are cropped.
        at_once: How many are computed at once, as floats.
    """
    from keras import ops

    height, width = x.shape[1:3]
    # Where a pixel of the new image comes from: [a, b, c, d, e, f, ...] is (ax + by + c, dx + ey + f).
    from_pixel = [1 / size, 0, (width - 1) / 2 * (1 - 1 / size), 0, 1 / size, (height - 1) / 2 * (1 - 1 / size), 0, 0]
    drawn = np.empty_like(x)
    for first in range(0, len(x), at_once):
        images = x[first : first + at_once].astype(np.float32)
        images = ops.image.affine_transform(images, np.array(from_pixel), data_format="channels_last").numpy()
        drawn[first : first + at_once] = images if x.dtype.kind == "f" else np.rint(images)
    return drawn
