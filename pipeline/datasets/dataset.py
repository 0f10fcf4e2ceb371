"""Datasets as arrays, checked by hash, and their splits: stratified, and a function of the seed alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from pipeline.config.data import ARRAYS, DataConfig
from pipeline.config.schema import TrainerConfig
from pipeline.datasets.cache import DataError, Say, sha256_of_arrays
from pipeline.datasets.complete import own_arrays
from pipeline.datasets.download import fetch
from pipeline.datasets.idx import read_idx
from pipeline.datasets.images import PARTS, read_folders
from pipeline.models.tasks import TASKS


@dataclass(frozen=True)
class Examples:
    """Inputs x of shape (n, *data.shape) as stored (uint8 for images), targets y of shape (n,)."""

    x: np.ndarray
    y: np.ndarray

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.y)

    def take(self, rows: np.ndarray) -> Examples:
        """The examples in these rows; no copy where the rows are all, in order."""
        whole = len(rows) == len(self) and bool((rows == np.arange(len(self))).all())
        return self if whole else Examples(self.x[rows], self.y[rows])


@dataclass(frozen=True)
class Dataset:
    """A set as published (`train`, `test`), or after `split` (`val` may then hold examples too)."""

    train: Examples
    test: Examples
    val: Examples
    sha256: str


def load(data: DataConfig, say: Say = print) -> Dataset:
    """The whole set as arrays; images stay uint8, mapped from the cache where they are files.

    The config of one's own arrays must be completed: see `pipeline.datasets.complete`.

    Raises:
        DataError: if the set cannot be had, is damaged, or is not what its config says.
    """
    readers: dict[str, Callable[[DataConfig, Say], Dataset]]
    readers = {"idx": _read_idx_set, "digits": _read_digits, "folders": _read_folders, "points": _read_points}
    readers |= dict.fromkeys(ARRAYS, _read_arrays)
    dataset = readers[data.format](data, say)
    for part, examples, size in (("train", dataset.train, data.train_size), ("test", dataset.test, data.test_size)):
        # A folder may hold broken images, which are named and left out.
        size = len(examples) if data.format == "folders" else size
        _check_shapes(data, part, examples, (size, *data.shape))
    _check_labels(data, dataset)
    if data.sha256 and data.sha256 != dataset.sha256:
        raise DataError(f"data={data.name} is damaged: its SHA-256 is {dataset.sha256}, not {data.sha256}")
    return dataset


def _check_shapes(data: DataConfig, part: str, examples: Examples, wanted: tuple[int, ...]) -> None:
    """Raise DataError where the examples have not the shape `wanted`, or not one label each."""
    if examples.x.shape != wanted:
        raise DataError(f"data={data.name}: its {part} set has the shape {examples.x.shape}, its config says {wanted}")
    if examples.y.shape != wanted[:1]:
        raise DataError(
            f"data={data.name}: the labels of its {part} set have the shape {examples.y.shape}; "
            f"{wanted[0]:,} examples need {wanted[:1]}"
        )


def _check_labels(data: DataConfig, dataset: Dataset) -> None:
    """Raise DataError where a label is no class of the config."""
    if not TASKS[data.task].has_accuracy:
        return
    classes = 2 if data.task == "binary" else len(data.class_names)
    highest = max(int(dataset.train.y.max()), int(dataset.test.y.max()))
    if highest >= classes:
        raise DataError(
            f"data={data.name} has labels from 0 to {highest}, which do not fit data.task={data.task} "
            f"with {classes} classes (data.class_names has {len(data.class_names)})"
        )


def data_sha256(data: DataConfig, say: Say = print) -> str:
    """SHA-256 that stands for the set's content; reads the set only where its config does not tell."""
    if data.files:
        return _sha256_of_files(data)
    return data.sha256 or load(data, say).sha256


def split(dataset: Dataset, data: DataConfig, seed: int) -> Dataset:
    """The examples that one run uses: `limit`, then `val_fraction` set aside, then `train_fraction` of the rest.

    Stratified by class (a regression has none), and a function of `seed` alone: never of threads, order of
    runs or earlier splits.
    """
    rng, classes = np.random.default_rng([seed, 0x5EED]), TASKS[data.task].has_accuracy
    train = _draw(dataset.train.y, min(data.limit or len(dataset.train), len(dataset.train)), rng, classes)
    test = _draw(dataset.test.y, min(data.limit or len(dataset.test), len(dataset.test)), rng, classes)
    # A folder of images may hold more or fewer than its config says.
    sizes = split_sizes(replace(data, train_size=len(dataset.train), test_size=len(dataset.test)))
    in_val = _draw(dataset.train.y[train], sizes["val"], rng, classes)
    val, rest = train[in_val], np.delete(train, in_val)
    in_train = _draw(dataset.train.y[rest], sizes["train"], rng, classes)
    return replace(
        dataset, train=dataset.train.take(rest[in_train]), val=dataset.train.take(val), test=dataset.test.take(test)
    )


def split_sizes(data: DataConfig) -> dict[str, int]:
    """Examples in train, val and test after `split`, from the config alone."""
    train = min(data.limit or data.train_size, data.train_size)
    val = min(round(train * data.val_fraction), train - 1)
    left = max(1, round((train - val) * data.train_fraction))
    return {"train": left, "val": val, "test": min(data.limit or data.test_size, data.test_size)}


def steps_per_epoch(trainer: TrainerConfig, examples: int) -> int:
    """Steps of an epoch over so many training examples."""
    every = -(-examples // trainer.batch_size)
    return min(trainer.steps_per_epoch or every, every)


def fixed_slice(examples: Examples, size: int, stratified: bool) -> Examples:
    """A stratified slice of at most `size` examples, the same for equal examples whatever the run's seed."""
    return examples.take(_draw(examples.y, min(size, len(examples)), np.random.default_rng(0), stratified))


def _draw(y: np.ndarray, size: int, rng: np.random.Generator, stratified: bool) -> np.ndarray:
    """`size` row numbers of `y`, ascending; where `stratified`, each class has its share (largest remainders)."""
    if size >= len(y):
        return np.arange(len(y))
    if not stratified:
        return np.sort(rng.permutation(len(y))[:size])
    classes, counts = np.unique(y, return_counts=True)
    shares = counts * size / len(y)
    quota = np.floor(shares).astype(int)
    quota[np.argsort(quota - shares, kind="stable")[: size - quota.sum()]] += 1
    rows = [rng.permutation(np.flatnonzero(y == c))[:q] for c, q in zip(classes, quota, strict=True)]
    return np.sort(np.concatenate(rows))


def _no_examples(like: Examples) -> Examples:
    return Examples(like.x[:0], like.y[:0])


def _dataset(train: Examples, test: Examples, sha256: str) -> Dataset:
    return Dataset(train, test, _no_examples(train), sha256)


def _sha256_of_files(data: DataConfig) -> str:
    files = sorted((data.files or {}).items())
    return hashlib.sha256("".join(f"{key}:{file.sha256}\n" for key, file in files).encode()).hexdigest()


def _read_idx_set(data: DataConfig, say: Say) -> Dataset:
    arrays = {key: read_idx(path) for key, path in fetch(data, say).items()}
    train, test = (
        Examples(_with_channels(arrays[f"{part}_images"], data), np.array(arrays[f"{part}_labels"]))
        for part in ("train", "test")
    )
    return _dataset(train, test, _sha256_of_files(data))


def _with_channels(x: np.ndarray, data: DataConfig) -> np.ndarray:
    """Grey images with the axis for their one channel, which IDX files leave out; all others as they are."""
    return x[..., None] if [*x.shape[1:], 1] == list(data.shape) else x


def _read_digits(data: DataConfig, say: Say) -> Dataset:
    """The digits inside scikit-learn, read from its file: importing all of scikit-learn would cost a second."""
    package = find_spec("sklearn")
    assert package is not None
    assert package.origin is not None
    table = np.loadtxt(Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    x, y = table[:, :-1].astype(np.uint8).reshape(-1, 8, 8, 1), table[:, -1].astype(np.uint8)
    cut = data.train_size
    return _dataset(Examples(x[:cut], y[:cut]), Examples(x[cut:], y[cut:]), sha256_of_arrays(x, y))


def _read_points(data: DataConfig, say: Say) -> Dataset:
    assert data.points is not None
    points = data.points
    train_x, train_y, test_x, test_y = (
        np.array(values, np.float32) for values in (points.train_x, points.train_y, points.test_x, points.test_y)
    )
    sha256 = sha256_of_arrays(train_x, train_y, test_x, test_y)
    return _dataset(Examples(train_x[:, None], train_y), Examples(test_x[:, None], test_y), sha256)


def _read_folders(data: DataConfig, say: Say) -> Dataset:
    """Images in train/CLASS/ and validation/CLASS/, the latter as test set; resized to `data.shape`."""
    images = read_folders(data, say)
    train, test = (Examples(*images.arrays[part]) for part in PARTS)
    return _dataset(train, test, images.sha256)


def _read_arrays(data: DataConfig, say: Say) -> Dataset:
    """Arrays of one's own."""
    arrays, sha256 = own_arrays(data, say)
    train, test = (Examples(arrays[f"x_{part}"], arrays[f"y_{part}"]) for part in ("train", "test"))
    return _dataset(train, test, sha256)
