from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.datasets import arrays as module
from pipeline.datasets.arrays import Arrays, WrongDataError, keep, kept, scratch_folder, tidied, write

X, Y = np.arange(30.0).reshape(10, 3), np.arange(10) % 2


def given(**changed: Any) -> dict[str, Any]:
    return {"x_train": X, "y_train": Y, "x_test": X[:4], "y_test": Y[:4]} | changed


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("uint8", "uint8"),
        ("int8", "int8"),
        ("uint16", "uint16"),
        ("int32", "int32"),
        (">i2", "int16"),
        ("int64", "int32"),
        ("uint32", "int32"),
        ("bool", "uint8"),
        ("float16", "float32"),
        ("float32", "float32"),
        ("float64", "float32"),
        (">f8", "float32"),
    ],
)
def test_numbers_stay_as_they_are_or_become_those_of_32_bits(before: str, after: str) -> None:
    x = X.astype(before)
    made = tidied(given(x_train=x, x_test=x[:4], y_train=list(range(10))))
    assert made["x_train"].dtype == np.dtype(after)
    assert made["x_train"].dtype.isnative
    assert (made["x_train"] == x.astype(np.float64)).all()
    assert made["y_train"].dtype == np.int32


def test_both_parts_become_of_one_type() -> None:
    made = tidied(given(x_train=X.astype(np.float32), x_test=X[:4].astype(np.uint8), y_test=Y[:4].astype(np.uint8)))
    assert made["x_train"].dtype == made["x_test"].dtype == np.float32
    assert made["y_train"].dtype == made["y_test"].dtype == np.int32


def test_columns_become_flat_and_single_numbers_a_column() -> None:
    made = tidied(given(x_train=X[:, 0], x_test=X[:4, 0], y_train=Y[:, None], y_test=Y[:4, None]))
    assert made["x_train"].shape == (10, 1)
    assert made["y_train"].shape == (10,)
    assert (made["y_test"] == Y[:4]).all()


def with_nan() -> np.ndarray:
    x = X.copy()
    x[7, 1] = np.nan
    return x


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"x_train": with_nan()}, "x_train has nan in row 7: it must hold finite numbers"),
        ({"x_test": X[:4] * 1e300}, r"x_test has 1e\+300 in row 0"),
        ({"y_train": Y + np.inf}, "y_train has inf in row 0"),
        ({"x_train": np.array([[1, 2]] * 9 + [[3, None]], object)}, "x_train must hold numbers, not Python objects"),
        ({"x_train": [[1, 2], [3]] * 5}, "x_train is no array but a list: sequences of different lengths"),
        ({"y_train": ["a", "b"] * 5}, "y_train must hold numbers, not texts: number the words, or the classes from 0"),
        ({"x_train": np.ma.masked_less(X, 3)}, "x_train has masked values"),
        ({"x_train": X * 1j}, "x_train must hold numbers, not complex"),
        ({"x_train": X.astype("M8[s]")}, "x_train must hold numbers, not dates"),
        ({"x_test": X[:0], "y_test": Y[:0]}, r"x_test is empty, of shape \(0, 3\)"),
        ({"x_train": np.float32(3)}, r"x_train is empty, of shape \(\)"),
        ({"x_train": np.zeros((10, 0))}, r"x_train has the shape \(10, 0\): an example must have one to four sizes"),
        ({"x_train": X.reshape(10, 1, 1, 1, 1, 3)}, "an example must have one to four sizes, each from 1 to 1,000,000"),
        ({"x_test": X[:4, :2]}, r"examples of x_train have the shape \(3,\), those of x_test \(2,\)"),
        ({"y_train": Y[:9]}, r"y_train has the shape \(9,\); 10 examples need \(10,\)"),
        ({"y_train": np.eye(2)[Y]}, r"y_train has the shape \(10, 2\).*one-hot labels y_train.argmax\(axis=1\)"),
        (
            {"x_train": X.astype(int) + 2**40, "x_test": X[:4].astype(int)},
            "x_train has whole numbers from 1099511627776 to 1099511627805, beyond 32 bits",
        ),
    ],
)
def test_what_no_network_can_be_trained_on_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(WrongDataError, match=message):
        tidied(given(**wrong))


def put(arrays: Arrays, cache: Path) -> str:
    with scratch_folder(cache) as folder:
        sha256 = write(arrays, folder)
        keep(folder, cache, sha256)
    return sha256


def said_never(line: str) -> None:
    raise AssertionError(line)


def test_kept_arrays_come_back_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tidied(given())
    sha256 = put(made, tmp_path)
    monkeypatch.setattr(module, "_opened", {})
    found = kept(tmp_path, sha256, said_never)
    assert found is not None
    assert isinstance(found["x_train"], np.memmap)
    assert all((found[name] == made[name]).all() for name in made)
    place = (tmp_path / "arrays" / sha256).stat().st_ino
    assert put(made, tmp_path) == sha256
    assert (tmp_path / "arrays" / sha256).stat().st_ino == place  # other processes may be opening it
    assert kept(tmp_path, "0" * 64, said_never) is None
    assert [folder.name for folder in (tmp_path / "arrays").iterdir() if folder.is_dir()] == [sha256]


@pytest.mark.parametrize("name", ["x_train.npy", "y_test.npy", "arrays.json"])
@pytest.mark.parametrize("how", ["cut", "changed", "gone"])
def test_damaged_arrays_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, how: str) -> None:
    sha256 = put(tidied(given()), tmp_path)
    monkeypatch.setattr(module, "_opened", {})
    file = tmp_path / "arrays" / sha256 / name
    content = file.read_bytes()
    file.write_bytes(content[:-3] + (b"" if how == "cut" else b"xyz"))
    if how == "gone":
        file.unlink()
    told: list[str] = []
    assert kept(tmp_path, sha256, told.append) is None
    assert told == [f"{tmp_path / 'arrays' / sha256} is damaged: it is made again"]
    assert put(tidied(given()), tmp_path) == sha256
    assert kept(tmp_path, sha256, said_never) is not None


def test_deleted_arrays_are_not_remembered(tmp_path: Path) -> None:
    sha256 = put(tidied(given()), tmp_path)
    assert kept(tmp_path, sha256, said_never) is not None
    shutil.rmtree(tmp_path / "arrays" / sha256)
    assert kept(tmp_path, sha256, said_never) is None


def test_arrays_that_were_not_used_for_a_month_are_deleted(tmp_path: Path) -> None:
    old, used = put(tidied(given()), tmp_path), put(tidied(given(y_train=1 - Y)), tmp_path)
    for name, days in ((old, 31), (used, 29)):
        os.utime(tmp_path / "arrays" / name, (time.time() - days * 86400,) * 2)
    new = put(tidied(given(x_train=X + 1)), tmp_path)
    assert {folder.name for folder in (tmp_path / "arrays").iterdir() if folder.is_dir()} == {used, new}


def test_what_is_on_its_way_into_the_cache_leaves_nothing_behind(tmp_path: Path) -> None:
    def interrupted() -> None:
        with scratch_folder(tmp_path) as folder:
            (folder / "x_train.npy").write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list((tmp_path / "arrays").iterdir()) == []
