"""Completing a config by what its dataset's arrays say: shape, sizes, classes, and which content is meant."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from pipeline.config.checks import shown
from pipeline.config.data import DataConfig
from pipeline.config.rules import MOST_UNITS
from pipeline.config.schema import RunConfig
from pipeline.config.trust import require_named
from pipeline.datasets.arrays import Arrays, WrongDataError, kept
from pipeline.datasets.cache import Say, source_key
from pipeline.datasets.npz import npz_arrays
from pipeline.datasets.python import forget_results, loaded_arrays

Config = TypeVar("Config", bound=RunConfig)
READERS = {"npz": npz_arrays, "python": loaded_arrays}

Recall = Callable[[DataConfig], DataConfig | None]
READ = ("shape", "train_size", "test_size", "class_names", "sha256")

_recall: ContextVar[Recall | None] = ContextVar("recall", default=None)
_filled_before: dict[tuple[str, str], DataConfig] = {}


@contextmanager
def recalled(recall: Recall) -> Iterator[None]:
    """Let `completed` take what is known of datasets, for reports: nothing is read, no function is called."""
    before = _recall.set(recall)
    try:
        yield
    finally:
        _recall.reset(before)


def current_recall() -> Recall | None:
    """Return what `completed` takes data from, inside `recalled`; None outside."""
    return _recall.get()


def completed(
    config: Config, say: Say = lambda line: None, recall: Recall | None = None, afresh: bool = True
) -> Config:
    """Return the config with what its own arrays say of themselves; all other datasets' configs say it already.

    `data.sha256` names the content from then on: workers map those very arrays from the cache.

    Args:
        config: As composed.
        say: Reports a function that is called, and a download.
        recall: Returns an equal dataset of an earlier launch, whose word is taken; None stands for `recalled`'s.
        afresh: Whether a function is called again that this process has called before, for an earlier launch.

    Raises:
        WrongDataError: if the arrays cannot be had or trained on, or are not what the config says.
        DataError: if they cannot be downloaded, or the cache cannot be used.
        ConfigError: if the rest of the config does not fit them.
    """
    if not config.data.has_arrays:
        return config
    if afresh:
        forget_results()
    recall = recall or _recall.get()
    if recall and (known := recall(config.data)):
        left_out = {name: getattr(known, name) for name in READ if not getattr(config.data, name)}
        return replace(config, data=replace(config.data, **left_out))
    if recall:  # what is composed is an earlier launch's command
        require_named(config, (), ("data",))
    arrays, sha256 = READERS[config.data.format](config.data, say)
    data = _filled(config.data, arrays, sha256)
    return config if data == config.data else replace(config, data=data)


def is_kept(data: DataConfig) -> bool:
    """Return whether one's own arrays need not be read from where they come from: the cache has this very content."""
    return _kept(data, lambda line: None) is not None


def _kept(data: DataConfig, say: Say) -> Arrays | None:
    cache = Path(data.cache).expanduser().absolute()
    return kept(cache, data.sha256, say) if data.has_arrays and data.sha256 else None


def own_arrays(data: DataConfig, say: Say) -> tuple[Arrays, str]:
    """Return one's own arrays as the completed config `data` has them, and their SHA-256; raises as `completed`.

    x has the axis for the one channel of grey images where `data.shape` has; y are classes, or floats of a regression.
    """
    arrays, sha256 = _kept(data, say), data.sha256
    if arrays is None or sha256 is None:
        arrays, sha256 = READERS[data.format](data, say)
    _filled(data, arrays, sha256)
    is_whole = arrays["y_train"].dtype.kind != "f"
    kind = np.dtype(np.int32 if data.has_classes else np.float32)
    kind = arrays["y_train"].dtype if data.has_classes and is_whole else kind
    fitted = {name: array if name[0] == "x" else array.astype(kind, copy=False) for name, array in arrays.items()}
    for name in ("x_train", "x_test"):
        fitted[name] = fitted[name].reshape(len(fitted[name]), *data.shape)
    return fitted, sha256


def _filled(data: DataConfig, arrays: Arrays, sha256: str) -> DataConfig:
    """Return the section with what it leaves out; raise WrongDataError where it says otherwise than the arrays."""
    key = (source_key(data), sha256)
    if key not in _filled_before:  # trials differ in the model, most of them
        _filled_before[key] = _read(data, arrays, sha256)
    known = _filled_before[key]
    return replace(data, **{name: getattr(known, name) for name in READ})


def _read(data: DataConfig, arrays: Arrays, sha256: str) -> DataConfig:
    x_train, y_train, x_test, y_test = arrays.values()
    shape = list(x_train.shape[1:])
    if data.shape not in ([], shape, [*shape, 1]):
        raise WrongDataError(f"data={data.name}: examples have the shape {shape}, data.shape is {data.shape}")
    sizes = {"train": len(x_train), "test": len(x_test)}
    for part, size in sizes.items():
        wanted = getattr(data, f"{part}_size")
        if wanted not in (0, size):
            raise WrongDataError(f"data={data.name}: its {part} set has {size:,} examples, data.{part}_size={wanted}")
    names = _class_names(data, y_train, y_test) if data.has_classes else data.class_names
    return replace(
        data,
        shape=data.shape or shape,
        train_size=sizes["train"],
        test_size=sizes["test"],
        class_names=names,
        sha256=sha256,
    )


def _class_names(data: DataConfig, y_train: np.ndarray, y_test: np.ndarray) -> list[str]:
    """Return the names of the classes, their numbers if the config has none; check the labels."""
    trained, tested = np.unique(y_train), np.unique(y_test)
    labels = np.union1d(trained, tested)
    low, high = labels[0], labels[-1]
    where = f"data={data.name}: labels"
    if labels.dtype.kind == "f" and (broken := labels[labels % 1 != 0]).size:
        hint = "data.task=regression predicts numbers"
        raise WrongDataError(f"{where} must be the numbers of classes, from 0: one is {broken[0]:g}; {hint}")
    most = 2 if data.task == "binary" else len(data.class_names) or MOST_UNITS
    if low < 0 or high >= most:
        words = f"{where} are from {low:g} to {high:g}; data.task={data.task} needs them from 0 to {most - 1}"
        raise WrongDataError(words + (f": data.class_names has {most}" if data.class_names else ""))
    if len(trained) == 1:
        raise WrongDataError(f"{where} of the training set are all {trained[0]:g}: there is nothing to tell apart")
    if data.class_names:
        return data.class_names
    if absent := sorted({*range(int(high) + 1)} - {*labels.astype(int).tolist()}):
        hint = "number the classes from 0, or give data.class_names, which may name classes without examples"
        raise WrongDataError(f"{where} go up to {high:g}, but none is {shown(absent[0])}; {hint}")
    return [str(number) for number in range(most if data.task == "binary" else int(high) + 1)]
