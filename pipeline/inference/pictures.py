"""Pictures from files as a network gets them: fitted, and grey ones made like the images that it was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.datasets.image_statistics import ImageStatistics, border, centre_of_mass, content_box
from pipeline.datasets.images import fitted, open_image

if TYPE_CHECKING:
    from PIL import Image

LOOKED_AT = 256  # pixels of a side, about, of the reduced picture in which ground and content are found
PHOTO = 240  # pixels of a side, at most, of the picture that is drawn
INVERTED = "inverted"


@dataclass(frozen=True)
class Picture:
    """A picture: `photo` as its file has it, reduced; `x` as the network gets it but for its scale; what was done."""

    photo: np.ndarray
    x: np.ndarray
    changes: tuple[str, ...] = ()


def read_picture(path: Path, shape: Sequence[int], statistics: ImageStatistics | None) -> Picture:
    """Return a picture as an array of `shape` (height, width, channels).

    Args:
        path: Its file.
        shape: Of the images that the network takes.
        statistics: Of the training set, to make a grey picture like it; None takes it as it is, resized alone.

    Raises:
        ImageError: if the file is no image, or a broken one.
    """
    image, _ = open_image(path, shape[2])
    photo = image.copy()
    photo.thumbnail((PHOTO, PHOTO))
    shown = np.asarray(photo).reshape(photo.height, photo.width, shape[2])
    if statistics is None:
        return Picture(shown, fitted(image, shape))
    return Picture(shown, *_like_the_set(image, shape, statistics))


def _like_the_set(
    image: Image.Image, shape: Sequence[int], statistics: ImageStatistics
) -> tuple[np.ndarray, tuple[str, ...]]:
    """A grey picture inverted if its ground is the opposite of the set's; if not of the set's size, centred as there.

    What is of the set's size and no brighter may be one of its images: it is inverted at most.
    """
    from PIL import ImageOps

    is_fitted, changes = image.size == (shape[1], shape[0]), []
    factor = max(1, max(image.size) // LOOKED_AT)
    small = np.asarray(image.reduce(factor), np.float32) / 255
    if statistics.ground is not None and (ground := _ground(small)) is not None:
        if round(ground) != statistics.ground:
            image, small, ground = ImageOps.invert(image), 1 - small, 1 - ground
            changes.append(INVERTED)
        if not is_fitted and (box := content_box(small, ground)):
            top, bottom, left, right = (factor * side for side in box)
            content = image.crop((left, top, min(right, image.width), min(bottom, image.height)))
            share = _centred(content, shape, ground, statistics)
            return share * np.float32(statistics.brightest), (*changes, "cropped and centred")
    x = fitted(image, shape)
    if is_fitted and x.max() <= statistics.brightest:
        return x, tuple(changes)
    return x * np.float32(statistics.brightest / 255), tuple(changes)


def _ground(image: np.ndarray) -> float | None:
    """The brightness of a picture's ground, from 0 to 1; None where it is not clearly dark or light.

    Clearly light: three quarters of the border are above the middle, of all brightness and of this picture's.
    """
    outermost, middle = border(image), (float(image.min()) + float(image.max())) / 2
    low, median, high = np.percentile(outermost, (25, 50, 75))
    return float(median) if low > max(0.5, middle) or high < min(0.5, middle) else None


def _centred(content: Image.Image, shape: Sequence[int], ground: float, statistics: ImageStatistics) -> np.ndarray:
    """What a picture shows, as large as in the set, in the middle of the set's ground, with all of its contrast."""
    height, width = shape[:2]
    scale = statistics.fill / max(content.height / height, content.width / width)
    size = max(1, round(scale * content.width)), max(1, round(scale * content.height))
    away = -1 if statistics.ground else 1  # from the ground towards what is shown
    strength = np.maximum(away * (np.asarray(content.resize(size), np.float32) / 255 - ground), 0)
    share = np.full(tuple(shape), float(statistics.ground or 0), np.float32)
    centre = centre_of_mass(strength) if statistics.by_mass and strength.any() else np.array(strength.shape) / 2
    top, left = np.clip(np.rint(np.array(shape[:2]) / 2 - centre).astype(int), 0, np.array(shape[:2]) - strength.shape)
    share[top : top + size[1], left : left + size[0], 0] += away * strength / (strength.max() or 1)
    return share
