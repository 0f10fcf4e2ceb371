"""The cache of datasets: where it is, which configs share a source, and the error of a dataset that cannot be had."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from pipeline.config.data import DataConfig
from pipeline.system.errors import ConvsweepError
from pipeline.system.messages import printable, reason

Say = Callable[[str], None]


class DataError(ConvsweepError, RuntimeError):
    """A dataset that cannot be had. The message says what was tried and what would help."""


def cache_dir(data: DataConfig) -> Path:
    """The folder in the cache that holds this set's checked files."""
    return Path(data.cache).expanduser().absolute() / (data.folder or data.name)


def source_key(data: DataConfig) -> str:
    """Equal for configs that load the same set: all of them but how it is split."""
    split = ("limit", "val_fraction", "train_fraction", "description", "timeout")
    return repr({key: value for key, value in asdict(data).items() if key not in split})


def unusable_cache(folder: Path, error: BaseException) -> DataError:
    """Return the error for a cache that cannot be read or written, with what helps."""
    return DataError(
        f"the cache {printable(folder)} cannot be used: {reason(error)}. "
        "Free space or rights there, or choose another folder: data.cache=FOLDER or CONVSWEEP_CACHE_DIR=FOLDER"
    )


def sha256_of_arrays(*arrays: np.ndarray) -> str:
    """SHA-256 of arrays' shapes, types and content, in hexadecimal."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.shape}{array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
