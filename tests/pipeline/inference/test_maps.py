"""What figures of filters and of dense layers are computed from."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.inference.dense import similarity
from pipeline.inference.maps import correlated, edge_filters, most_alike


def test_hand_made_filters_find_their_edges_and_no_others() -> None:
    image = np.zeros((6, 6, 1))
    image[:, :3] = 1.0  # bright on the left: one vertical edge
    made = edge_filters((3, 3))
    vertical, horizontal = (correlated(image, made[name][..., None]) for name in ("vertical", "horizontal"))
    assert vertical.max() == 3.0
    assert np.flatnonzero(vertical.any(axis=0)).tolist() == [1, 2]
    assert not horizontal.any()
    assert edge_filters((2, 4))["vertical"].tolist() == [[1, 1, -1, -1]] * 2


def test_a_map_is_what_keras_makes_of_it() -> None:
    import keras

    rng = np.random.default_rng(0)
    image, kernel = rng.random((7, 5, 3)).astype(np.float32), rng.random((3, 2, 3)).astype(np.float32)
    theirs = keras.ops.conv(image[None], kernel[..., None], padding="valid")
    assert np.allclose(correlated(image, kernel), np.asarray(theirs)[0, :, :, 0], atol=1e-4)


def test_the_learned_filter_most_like_a_hand_made_one_may_have_the_other_sign() -> None:
    made = edge_filters((3, 3))["vertical"]
    kernels = np.stack([np.ones((3, 3)), -2 * made, made.T], axis=-1)[:, :, None, :]
    number, cosine = most_alike(kernels, made)
    assert number == 1
    assert cosine == pytest.approx(-1)


def test_similarity_leaves_an_image_beside_itself_out() -> None:
    activations = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]])
    alike = similarity(activations, np.array([0, 0, 1]), 3)
    assert alike[0, 0] == pytest.approx(0.5**0.5)
    assert alike[0, 1] == alike[1, 0] == pytest.approx((0 + 0.5**0.5) / 2)
    assert np.isnan(alike[1, 1]), "one image has no other to be like"
    assert np.isnan(alike[2]).all(), "no image"
