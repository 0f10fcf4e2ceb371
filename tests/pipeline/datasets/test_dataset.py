from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.data import DataConfig, FileConfig
from pipeline.config.schema import RunConfig
from pipeline.datasets import dataset as data
from pipeline.datasets.idx import idx_bytes

Compose = Callable[..., RunConfig]


def counts(examples: data.Examples) -> list[int]:
    return np.unique(examples.y, return_counts=True)[1].tolist()


def test_digits_are_sklearns(config: Compose) -> None:
    from sklearn.datasets import load_digits

    ours, theirs = data.load(config().data), load_digits()
    assert (np.concatenate([ours.train.x, ours.test.x])[..., 0] == theirs.images).all()
    assert (np.concatenate([ours.train.y, ours.test.y]) == theirs.target).all()
    assert ours.train.x.dtype == np.uint8


@pytest.mark.slow
def test_fashion_mnist_is_as_published() -> None:
    from pipeline.config.compose import compose

    found = data.load(compose(RunConfig, "train", []).data)
    assert found.train.x.shape == (60_000, 28, 28, 1)
    assert found.train.x.dtype == np.uint8
    assert isinstance(found.train.x, np.memmap)
    assert counts(found.train) == [6000] * 10
    assert counts(found.test) == [1000] * 10


def test_splits_are_stratified_and_of_the_size_told(config: Compose) -> None:
    cut = config("data.limit=500", "data.val_fraction=0.2", "data.train_fraction=0.5")
    parts = data.split(data.load(cut.data), cut.data, cut.seed)
    assert (len(parts.train), len(parts.val), len(parts.test)) == (200, 100, 360)
    assert data.split_sizes(cut.data) == {"train": 200, "val": 100, "test": 360}
    for part in (parts.train, parts.val):
        assert max(counts(part)) - min(counts(part)) <= 2


def test_splits_are_a_function_of_the_seed_alone(config: Compose) -> None:
    loaded = data.load(config().data)
    one, again, other = (data.split(loaded, config("data.val_fraction=0.3").data, s) for s in (1, 1, 2))
    assert (one.val.x == again.val.x).all()
    assert (one.train.x == again.train.x).all()
    assert not (one.val.x == other.val.x).all()


def test_splits_do_not_overlap_and_lose_nothing(config: Compose) -> None:
    cut = config("data.val_fraction=0.3")
    loaded = data.load(cut.data)
    parts = data.split(loaded, cut.data, cut.seed)
    together = np.concatenate([parts.train.x, parts.val.x]).reshape(1437, -1)
    assert sorted(map(bytes, together)) == sorted(map(bytes, loaded.train.x.reshape(1437, -1)))


@pytest.mark.parametrize("overrides", [["data.limit=1", "data.val_fraction=0.9"], ["data.train_fraction=0.00001"]])
def test_something_is_left_to_train_on(config: Compose, overrides: list[str]) -> None:
    cut = config(*overrides)
    assert len(data.split(data.load(cut.data), cut.data, cut.seed).train) == 1


def test_without_splits_nothing_is_copied(config: Compose) -> None:
    loaded = data.load(config().data)
    assert data.split(loaded, config().data, 0).train is loaded.train


def test_a_set_other_than_its_config_says_is_refused(config: Compose) -> None:
    wrong = config("data.sha256=" + "0" * 64)
    with pytest.raises(data.DataError, match="is damaged"):
        data.load(wrong.data)
    wrong.data.train_size = 1000
    with pytest.raises(data.DataError, match="its config says"):
        data.load(wrong.data)


def test_a_missing_folder_says_what_helps(config: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONVSWEEP_DATA_DIR", raising=False)
    with pytest.raises(data.DataError, match="set CONVSWEEP_DATA_DIR=FOLDER"):
        data.load(config(base=["data=horse_or_human", "model=horse_conv"]).data)


@pytest.fixture
def own(tmp_path: Path, config: Compose) -> Callable[..., DataConfig]:
    """Makes the config of a set of IDX files of one's own: 6 grey images of 2x3 pixels in training, 4 in test."""

    def made(**arrays: np.ndarray) -> DataConfig:
        rng = np.random.default_rng(0)
        contents = {
            "train_images": rng.integers(0, 256, (6, 2, 3), np.uint8),
            "train_labels": np.arange(6, dtype=np.uint8) % 3,
            "test_images": rng.integers(0, 256, (4, 2, 3), np.uint8),
            "test_labels": np.arange(4, dtype=np.uint8) % 3,
        } | arrays
        files = {}
        for key, array in contents.items():
            content = idx_bytes(array)
            (tmp_path / "data" / "own").mkdir(parents=True, exist_ok=True)
            (tmp_path / "data" / "own" / key).write_bytes(content)
            files[key] = FileConfig(key, hashlib.sha256(content).hexdigest())
        places = {"dir": str(tmp_path / "data"), "cache": str(tmp_path / "cache"), "urls": [], "keras_npz": None}
        sizes = {"shape": [2, 3, 1], "train_size": 6, "test_size": 4, "class_names": ["a", "b", "c"]}
        published = config("data=fashion_mnist").data
        return replace(published, name="own", folder="own", debian_package=None, files=files, **places, **sizes)

    return made


def test_a_set_of_ones_own_is_read(own: Callable[..., DataConfig]) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (6, 2, 3, 3), np.uint8)
    assert data.load(own()).train.x.shape == (6, 2, 3, 1)
    in_colour = replace(own(train_images=colours, test_images=colours[:4]), shape=[2, 3, 3])
    assert (data.load(in_colour).train.x == colours).all()


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        (
            {"train_images": np.zeros((6, 3, 2), np.uint8)},
            r"its train set has the shape \(6, 3, 2\), .* \(6, 2, 3, 1\)",
        ),
        ({"test_images": np.zeros((2, 4, 3), np.uint8)}, r"its test set has the shape \(2, 4, 3\)"),
        ({"train_images": np.zeros((36,), np.uint8)}, r"its train set has the shape \(36,\)"),
        (
            {"train_labels": np.zeros(5, np.uint8)},
            r"labels of its train set have the shape \(5,\); 6 examples need \(6,\)",
        ),
        ({"test_labels": np.zeros((4, 1), np.uint8)}, r"labels of its test set have the shape \(4, 1\)"),
        ({"test_labels": np.zeros(0, np.uint8)}, r"labels of its test set have the shape \(0,\)"),
        ({"test_labels": np.full(4, 3, np.uint8)}, "has labels from 0 to 3"),
    ],
)
def test_files_of_another_shape_are_refused_not_cut_anew(
    arrays: dict[str, np.ndarray], told: str, own: Callable[..., DataConfig]
) -> None:
    with pytest.raises(data.DataError, match=f"data=own.*{told}"):
        data.load(own(**arrays))


def test_digits_are_not_cut_anew(config: Compose) -> None:
    wrong = config().data
    wrong.shape = [4, 4, 4]
    with pytest.raises(data.DataError, match=r"its train set has the shape \(1437, 8, 8, 1\)"):
        data.load(wrong)
