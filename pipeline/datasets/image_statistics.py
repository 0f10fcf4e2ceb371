"""How grey images of a set look: on a dark or a light ground, how much of it they fill, how bright they get."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import numpy as np

from pipeline.config.data import DataConfig

SAMPLE = 200  # images, evenly spread
CONTRAST = 0.25  # of the greatest difference from the ground: what differs by more is content
CLEAR = 0.1  # a set's ground is dark up to this share of the brightest, and light from as much below it


@dataclass(frozen=True)
class ImageStatistics:
    """What is kept of a training set, to prepare pictures like it when the set is not at hand.

    Attributes:
        border: Median brightness of an image's outermost pixels, as a share of `brightest`; the mean over images.
        fill: Longer side of the box around what an image shows, as a share of the image's; the mean over images.
        brightest: The highest value, as stored.
        by_mass: Whether the centre of mass is nearer to an image's middle than the centre of that box is, as in MNIST.
    """

    border: float
    fill: float
    brightest: float
    by_mass: bool

    @property
    def ground(self) -> int | None:
        """0 where images are on a dark ground, 1 on a light one; None where neither is clear."""
        if self.border <= CLEAR:
            return 0
        return 1 if self.border >= 1 - CLEAR else None

    def as_text(self) -> str:
        """Return it as text for a tag."""
        return json.dumps(asdict(self))


def read_statistics(text: str | None) -> ImageStatistics | None:
    """Return the statistics that a tag's text says; None where it says none."""
    try:
        return ImageStatistics(**json.loads(text or "{}"))
    except (ValueError, TypeError):  # runs of older versions have none; a tag may have been edited
        return None


def image_statistics(x: np.ndarray, data: DataConfig) -> ImageStatistics | None:
    """Return the statistics of images x as stored, shape (n, *data.shape); None of others than grey, and below 0."""
    if not data.is_image or data.shape[2] != 1 or x.min() < 0 or x.max() <= 0:
        return None
    brightest = float(x.max())
    images = x[:: -(-len(x) // SAMPLE), :, :, 0].astype(np.float32) / brightest
    grounds = [float(np.median(border(image))) for image in images]
    middle = np.array(data.shape[:2]) / 2
    fills, off_by_box, off_by_mass = [], [], []
    for image, ground in zip(images, grounds, strict=True):
        if box := content_box(image, ground):
            top, bottom, left, right = box
            fills.append(max(np.array([bottom - top, right - left]) / data.shape[:2]))
            off_by_box.append(abs(np.array([top + bottom, left + right]) / 2 - middle).sum())
            off_by_mass.append(abs(centre_of_mass(abs(image - ground)) - middle).sum())
    by_mass = sum(off_by_mass) < sum(off_by_box)
    ground, fill = (round(float(np.mean(values or [1.0])), 4) for values in (grounds, fills))
    return ImageStatistics(ground, fill, brightest, bool(by_mass))


def border(image: np.ndarray) -> np.ndarray:
    """Return the outermost pixels of an image, shape (height, width)."""
    return np.concatenate([image[0], image[-1], image[1:-1, 0], image[1:-1, -1]])


def content_box(image: np.ndarray, ground: float) -> tuple[int, int, int, int] | None:
    """Return top, bottom, left and right (ends excluded) of what stands out from the ground; None if nothing does."""
    difference = abs(image - ground)
    if not difference.any():
        return None
    content = difference > CONTRAST * difference.max()
    rows, columns = np.flatnonzero(content.any(axis=1)), np.flatnonzero(content.any(axis=0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def centre_of_mass(weights: np.ndarray) -> np.ndarray:
    """Return the centre of weights, shape (height, width), as pixels from the top and from the left.

    >>> centre_of_mass(np.array([[0.0, 2.0], [0.0, 2.0]]))
    array([1. , 1.5])
    """
    rows, columns = (np.arange(side) + 0.5 for side in weights.shape)
    return np.array([np.average(rows, weights=weights.sum(axis=1)), np.average(columns, weights=weights.sum(axis=0))])
