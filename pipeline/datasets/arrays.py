"""One's own arrays: checked, brought into types that a network takes, and kept in the cache by a hash.

Both `format: python` and `format: npz` end here. The arrays have Keras's names, `x_train` of shape (n, ...) and
`y_train` of shape (n,) or (n, 1), and so for the test set.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.checks import ConfigError
from pipeline.config.rules import MOST_VALUES
from pipeline.datasets.cache import DataError, Say, sha256_of_arrays, unusable_cache
from pipeline.system.messages import printable

NAMES = ("x_train", "y_train", "x_test", "y_test")
RECORD = "arrays.json"
UNUSED_DAYS = 30  # after which kept arrays are deleted
ROWS_AT_ONCE = 4096
PAD = "sequences of different lengths must be padded, as by keras.utils.pad_sequences"

Arrays = dict[str, np.ndarray]

_opened: dict[Path, Arrays] = {}


class WrongDataError(DataError, ConfigError):
    """Arrays that no network can be trained on, or that are not what their config says: nothing was started."""


def tidied(given: Mapping[str, Any]) -> Arrays:
    """Return arrays as they are trained on: integers as they are, or of 32 bits; floats of 32 bits; labels flat.

    Raises:
        WrongDataError: for anything but finite numbers, an empty part, or shapes that do not fit each other.
    """
    arrays = {name: _array(name, given[name]) for name in NAMES}
    for part in ("train", "test"):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        if not x.ndim or not len(x):
            raise WrongDataError(f"x_{part} is empty, of shape {x.shape}: at least one example is needed")
        arrays[f"x_{part}"] = x = x[:, None] if x.ndim == 1 else x
        arrays[f"y_{part}"] = _flat(f"y_{part}", y, len(x))
        if x.ndim > 5 or not all(1 <= size <= MOST_VALUES for size in x.shape[1:]):
            sizes = f"one to four sizes, each from 1 to {MOST_VALUES:,}"
            raise WrongDataError(f"x_{part} has the shape {x.shape}: an example must have {sizes}")
    if arrays["x_train"].shape[1:] != arrays["x_test"].shape[1:]:
        shapes = [arrays[name].shape[1:] for name in ("x_train", "x_test")]
        raise WrongDataError(f"examples of x_train have the shape {shapes[0]}, those of x_test {shapes[1]}")
    for kind in ("x", "y"):  # one graph takes both parts
        wanted = np.result_type(arrays[f"{kind}_train"], arrays[f"{kind}_test"])
        for name in (f"{kind}_train", f"{kind}_test"):
            arrays[name] = _narrowed(name, arrays[name].astype(wanted, copy=False))
        wanted = np.result_type(arrays[f"{kind}_train"], arrays[f"{kind}_test"])
        for name in (f"{kind}_train", f"{kind}_test"):
            arrays[name] = np.ascontiguousarray(arrays[name], wanted)
    return arrays


def _array(name: str, value: Any) -> np.ndarray:
    """Return what stands for an array as one, if it holds numbers."""
    if np.ma.is_masked(value):
        raise WrongDataError(f"{name} has masked values: it must hold numbers")
    try:
        array = np.asarray(value)
    except Exception as error:  # tensors on a device, what else has no array
        why = PAD if "inhomogeneous" in str(error) else printable(error)
        raise WrongDataError(f"{name} is no array but a {type(value).__name__}: {why}") from error
    kinds = {
        "O": f"Python objects: {PAD}",
        "U": "texts: number the words, or the classes from 0",
        "S": "texts: number the words, or the classes from 0",
        "c": "complex numbers",
        "M": "dates",
        "m": "times",
        "V": "records",
    }
    if array.dtype.kind not in "biuf":
        raise WrongDataError(f"{name} must hold numbers, not {kinds.get(array.dtype.kind, array.dtype)}")
    return array


def _flat(name: str, y: np.ndarray, examples: int) -> np.ndarray:
    """Return targets of shape (n,), which may come as (n, 1)."""
    if y.shape == (examples, 1):
        return y[:, 0]
    if y.shape == (examples,):
        return y
    hint = ""
    if y.ndim == 2 and len(y) == examples:
        hint = f"; of one-hot labels {name}.argmax(axis=1) gives the class numbers"
    raise WrongDataError(f"{name} has the shape {y.shape}; {examples:,} examples need ({examples},){hint}")


def _narrowed(name: str, array: np.ndarray) -> np.ndarray:
    """Return the array in a type of at most 32 bits that the graph takes."""
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind == "b":
        return array.astype(np.uint8)
    if kind == "f":
        with np.errstate(over="ignore"):
            narrow = array.astype(np.float32, copy=False)
        for row, part in _parts(narrow):
            if not (fine := np.isfinite(part)).all():
                at = row + int(np.argmin(fine.reshape(len(part), -1).all(axis=1)))
                value = array[at].reshape(-1)[np.argmin(np.isfinite(narrow[at].reshape(-1)))]
                raise WrongDataError(f"{name} has {value} in row {at}: it must hold finite numbers of 32 bits")
        return narrow
    if size < 4 or array.dtype == np.int32:
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    low, high = int(array.min()), int(array.max())
    if low < -(2**31) or high >= 2**31:
        hint = "make them floats, or smaller"
        raise WrongDataError(f"{name} has whole numbers from {low} to {high}, beyond 32 bits: {hint}")
    return array.astype(np.int32)


def _parts(array: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    for row in range(0, len(array), ROWS_AT_ONCE):
        yield row, array[row : row + ROWS_AT_ONCE]


@contextmanager
def scratch_folder(cache: Path) -> Iterator[Path]:
    """Yield a new folder in the cache, for arrays on their way into it; whatever is left in it is deleted."""
    try:
        (cache / "arrays").mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".new-", dir=cache / "arrays"))
    except OSError as error:
        raise unusable_cache(cache, error) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write(arrays: Arrays, folder: Path) -> str:
    """Write tidied arrays into a folder; return the SHA-256 of their content."""
    for name in NAMES:
        np.save(folder / f"{name}.npy", arrays[name], allow_pickle=False)
    sha256 = sha256_of_arrays(*(arrays[name] for name in NAMES))
    (folder / RECORD).write_text(json.dumps({"sha256": sha256}))
    return sha256


def keep(folder: Path, cache: Path, sha256: str) -> None:
    """Move a folder that `write` has filled into the cache, where `sha256` names it, unless the same is there."""
    from filelock import FileLock

    target = cache / "arrays" / sha256
    try:
        with FileLock(cache / "arrays" / ".lock"):
            _delete_unused(cache)
            if kept(cache, sha256, lambda line: None) is not None:
                return
            shutil.rmtree(target, ignore_errors=True)  # what is there is damaged
            folder.chmod(0o755)
            folder.rename(target)
    except (OSError, NotImplementedError) as error:  # the latter: a file system without locks
        raise unusable_cache(cache, error) from error


def kept(cache: Path, sha256: str, say: Say) -> Arrays | None:
    """Return the arrays that `sha256` names, x mapped from disk; None if there are none, or they are damaged."""
    folder = cache / "arrays" / sha256
    if not folder.is_dir():
        _opened.pop(folder, None)
        return None
    if folder in _opened:
        return _opened[folder]
    with suppress(Exception):  # damaged files fail in as many ways as they can be damaged
        record = json.loads((folder / RECORD).read_bytes())
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r" if name[0] == "x" else None) for name in NAMES}
        if sha256_of_arrays(*(arrays[name] for name in NAMES)) == record["sha256"]:
            with suppress(OSError):  # a cache that may only be read
                os.utime(folder)
            _opened[folder] = arrays
            return arrays
    say(f"{printable(folder)} is damaged: it is made again")
    return None


def _delete_unused(cache: Path) -> None:
    oldest = time.time() - UNUSED_DAYS * 86400
    for folder in (cache / "arrays").iterdir():
        if folder.is_dir() and folder.stat().st_mtime < oldest:
            shutil.rmtree(folder, ignore_errors=True)
