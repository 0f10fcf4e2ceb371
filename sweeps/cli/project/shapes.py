"""A dataset of your own: conf/data/example.yaml names this function."""

from __future__ import annotations

import numpy as np

SIZE = 12
Part = tuple[np.ndarray, np.ndarray]


def load(train: int = 1000, test: int = 1000, noise: float = 0.6) -> tuple[Part, Part]:
    """Return (x_train, y_train), (x_test, y_test): a bright line, level, upright or slanted, in a noisy image.

    Args:
        train: Number of images to train on.
        test: Number of images to test on.
        noise: Standard deviation of the noise; the line's brightness is 1.
    """
    rng = np.random.default_rng(0)
    return _draw(train, noise, rng), _draw(test, noise, rng)


def _draw(count: int, noise: float, rng: np.random.Generator) -> Part:
    images = rng.normal(0.0, noise, (count, SIZE, SIZE, 1)).astype("float32")
    labels = rng.integers(0, 3, count)
    steps = np.arange(5)
    for image, label in zip(images, labels, strict=True):
        row, column = rng.integers(0, SIZE - 5, 2)
        rows, columns = row + steps * (label != 0), column + steps * (label != 1)
        image[rows, columns] += 1.0
    return images, labels
