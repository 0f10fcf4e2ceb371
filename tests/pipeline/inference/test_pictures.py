"""Pictures made like the images of a training set: their ground, size, place and values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.datasets.image_statistics import ImageStatistics
from pipeline.inference.pictures import read_picture

SHAPE = (28, 28, 1)
DARK = ImageStatistics(border=0.0, fill=20 / 28, brightest=255.0, by_mass=True)
LIGHT = ImageStatistics(border=1.0, fill=20 / 28, brightest=255.0, by_mass=True)
PHOTO = (200, 300)


def drawn(path: Path, ink: int, paper: int, size: tuple[int, int] = PHOTO, side: int = 60) -> Path:
    pixels = np.full(size, paper, np.uint8)
    top, left = size[0] // 20, size[0] // 40
    pixels[top : top + side, left : left + side // 2] = ink  # in a corner, twice as high as wide
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize(
    ("ink", "paper", "statistics", "changes"),
    [
        (30, 190, DARK, ("inverted", "cropped and centred")),
        (240, 10, DARK, ("cropped and centred",)),
        (240, 10, LIGHT, ("inverted", "cropped and centred")),
        (30, 190, LIGHT, ("cropped and centred",)),
    ],
)
def test_a_photo_is_made_like_the_set(
    ink: int, paper: int, statistics: ImageStatistics, changes: tuple[str, ...], tmp_path: Path
) -> None:
    picture = read_picture(drawn(tmp_path / "p.png", ink, paper), SHAPE, statistics)
    assert picture.changes == changes
    shown = abs(picture.x[..., 0] - 255 * statistics.border)
    assert shown[4:24, 9:19].min() == pytest.approx(255), "twenty pixels high, in the middle, with all contrast"
    shown[4:24, 9:19] = 0
    assert not shown.any(), "on the set's ground"
    assert picture.photo.shape == (160, 240, 1), "as it was"


@pytest.mark.parametrize(
    ("ink", "paper", "statistics"),
    [
        (30, 190, ImageStatistics(0.5, 0.7, 255.0, True)),  # a set without a ground of its own
        (60, 110, DARK),  # neither clearly light nor dark
        (255, 190, DARK),  # light on light
        (190, 190, DARK),  # nothing
    ],
)
def test_what_is_not_clear_is_resized_alone(ink: int, paper: int, statistics: ImageStatistics, tmp_path: Path) -> None:
    path = drawn(tmp_path / "p.png", ink, paper)
    picture, as_is = read_picture(path, SHAPE, statistics), read_picture(path, SHAPE, None)
    assert picture.changes == as_is.changes == ()
    assert np.allclose(picture.x, as_is.x, atol=1e-3)


def test_an_image_of_the_sets_size_is_inverted_at_most(tmp_path: Path) -> None:
    theirs = read_picture(drawn(tmp_path / "p.png", 255, 0, SHAPE[:2], 10), SHAPE, DARK)
    other = read_picture(drawn(tmp_path / "n.png", 0, 255, SHAPE[:2], 10), SHAPE, DARK)
    assert (theirs.changes, other.changes) == ((), ("inverted",))
    assert (theirs.x == other.x).all()
    assert theirs.x.dtype == np.uint8


def test_values_are_the_sets(tmp_path: Path) -> None:
    of_sixteen = ImageStatistics(0.0, 1.0, 16.0, False)
    stored = read_picture(drawn(tmp_path / "s.png", 16, 0, (8, 8), 6), (8, 8, 1), of_sixteen)
    photo = read_picture(drawn(tmp_path / "p.png", 255, 0), (8, 8, 1), of_sixteen)
    assert stored.x.max() == photo.x.max() == 16


def test_pictures_in_colour_are_not_changed(tmp_path: Path) -> None:
    Image.new("RGB", (30, 20), "white").save(tmp_path / "p.png")
    picture = read_picture(tmp_path / "p.png", (28, 28, 3), None)
    assert (picture.x == 255).all()
    assert picture.photo.shape == (20, 30, 3)
