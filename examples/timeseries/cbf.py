"""Cylinder, bell, funnel: three shapes in noise, drawn by the rule of the archive's set CBF."""

import numpy as np

LENGTH = 128
Arrays = tuple[np.ndarray, np.ndarray]


def load(train: int = 30, test: int = 900, seed: int = 0) -> tuple[Arrays, Arrays]:
    """Return series of shape (n, 128, 1), each of mean 0 and deviation 1, and their classes: 0, 1, 2."""
    rng = np.random.default_rng(seed)
    return _draw(train, rng), _draw(test, rng)


def _draw(n: int, rng: np.random.Generator) -> Arrays:
    """Draw n series: from a time a to a time b a plateau, a rise or a fall of about 6, in noise of deviation 1.

    Rule: N. Saito, Local feature extraction and its applications using a library of bases, Yale 1994: a from 16 to 32,
    b - a from 32 to 96, height normal with mean 6 and deviation 1.
    """
    classes = rng.permutation(np.arange(n) % 3)
    time = np.arange(1, LENGTH + 1)
    start = rng.integers(16, 33, (n, 1))
    end = start + rng.integers(32, 97, (n, 1))
    height = rng.normal(6, 1, (n, 1))
    rise = (time - start) / (end - start)
    shapes = np.stack([np.ones_like(rise), rise, 1 - rise])
    x = height * shapes[classes, np.arange(n)] * ((start <= time) & (time <= end)) + rng.normal(size=(n, LENGTH))
    x = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    return x[..., None].astype(np.float32), classes
