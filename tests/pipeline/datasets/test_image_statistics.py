"""How the images of a set look, from their pixels, and as a run's tag."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.config.schema import RunConfig
from pipeline.datasets.image_statistics import ImageStatistics, image_statistics, read_statistics

LINE = ["data=line", "model=line", "trainer=line", "optimizer=sgd"]


def image(top: int, left: int) -> np.ndarray:
    pixels = np.zeros((8, 8, 1), np.uint8)
    pixels[top : top + 4, left : left + 2] = 16
    return pixels


def test_ground_fill_and_centre_are_measured(config: Callable[..., RunConfig]) -> None:
    x = np.stack([image(2, 3), image(2, 3), np.zeros((8, 8, 1), np.uint8)])
    found = image_statistics(x, config().data)
    assert found == ImageStatistics(0.0, 0.5, 16.0, by_mass=False)
    assert found.ground == 0
    assert read_statistics(found.as_text()) == found
    light = image_statistics(16 - x, config().data)
    assert light is not None
    assert light.ground == 1


def test_a_set_may_be_centred_by_mass(config: Callable[..., RunConfig]) -> None:
    leaning = image(2, 3)
    leaning[3, 1] = 5  # light, but within the box
    found = image_statistics(leaning[None], config().data)
    assert found is not None
    assert found.by_mass


def test_what_is_not_grey_has_none(config: Callable[..., RunConfig]) -> None:
    assert image_statistics(np.zeros((2, 1), np.float32), config(base=LINE).data) is None
    assert image_statistics(np.full((2, 8, 8, 1), -1.0), config().data) is None


@pytest.mark.parametrize("text", [None, "", "edited", "[1]", '{"border": 1}'])
def test_a_tag_that_says_nothing_is_none(text: str | None) -> None:
    assert read_statistics(text) is None
