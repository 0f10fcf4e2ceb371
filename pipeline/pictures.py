"""Pictures as arrays: one as a model takes it; folders of them, read once and kept in the cache."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.config import DataConfig
from pipeline.sources import DataError, Say, cache_dir

PARTS = ("train", "validation")
ARRAYS = ("x", "y")
MOST_NAMED = 10


class PictureError(ValueError):
    """A file that cannot be read as a picture."""


def read_picture(path: Path, shape: Sequence[int]) -> tuple[np.ndarray, str]:
    """One picture as a uint8 array of `shape` (height, width, channels), turned and resized as needed.

    Returns:
        The array, and in words what was odd about the file: its size or its colours; empty if nothing was.

    Raises:
        PictureError: if the file is no picture, or a broken one.
    """
    from PIL import Image, ImageOps

    height, width, channels = shape
    mode = "RGB" if channels == 3 else "L"
    try:
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened)
            odd = [f"{picture.width}x{picture.height} pixels"] if picture.size != (width, height) else []
            odd += [f"colours {picture.mode}"] if picture.mode != mode else []
            if picture.mode in ("I", "F"):
                raise ValueError(f"pixels of 32 bits (mode {picture.mode}) have no range that is known")
            if picture.mode.startswith("I;16"):  # converted by Pillow, all above 255 would be white
                picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
            if picture.mode in ("P", "PA", "LA"):
                picture = picture.convert("RGBA")
            fitted = picture.convert(mode)
            if odd:
                fitted = fitted.resize((width, height))
            return np.asarray(fitted, np.uint8).reshape(tuple(shape)), ", ".join(odd)
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        reason = str(error).replace(str(path), path.name).replace(repr(str(path)), path.name)
        raise PictureError(f"{path}: no picture that can be read ({reason or type(error).__name__})") from error


def read_folders(data: DataConfig, say: Say) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Pictures x and labels y of train/CLASS/ and validation/CLASS/; a label is its class's place in `class_names`.

    Decoded and resized once; after that the arrays are mapped from the cache, until a file of the set changes.
    Files that are no pictures, and odd ones, are named through `say`; they stop nothing.

    Raises:
        DataError: if there is no such folder, or a class without a picture.
    """
    from filelock import FileLock

    root = _root(data)
    listing = {part: _listing(root / part, data) for part in PARTS}
    digest = _digest(listing, data)
    kept = cache_dir(data) / f"arrays-{'x'.join(map(str, data.shape))}"
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(kept.parent / ".lock"):  # one process reads, the others wait and use what it read
            if _digest_of(kept) != digest:
                _keep(listing, data, kept, digest, say)
            told = json.loads((kept / "told.json").read_text())
            arrays = {part: tuple(np.load(kept / f"{part}_{a}.npy", mmap_mode="r") for a in ARRAYS) for part in PARTS}
    except (OSError, ValueError) as error:
        raise DataError(f"the cache {kept} cannot be used: {error}. What helps: set CONVSWEEP_CACHE_DIR") from error
    for line in told["problems"]:
        say(f"data={data.name}: {line}")
    return {part: (x, y) for part, (x, y) in arrays.items()}


def _root(data: DataConfig) -> Path:
    root = Path(data.dir or ".").expanduser() / (data.folder or data.name)
    if not data.dir or not root.is_dir():
        where = f"there is no folder {root}" if data.dir else "CONVSWEEP_DATA_DIR is not set"
        raise DataError(
            f"data={data.name} cannot be had: {where}. What helps: put the pictures into FOLDER/{data.folder}/"
            "{train,validation}/CLASS/ and set CONVSWEEP_DATA_DIR=FOLDER"
        )
    return root


def _listing(folder: Path, data: DataConfig) -> list[tuple[Path, int]]:
    """Files of every class with their labels, in order."""
    found = []
    for label, name in enumerate(data.class_names):
        files = sorted(p for p in (folder / name).glob("*") if p.is_file() and not p.name.startswith("."))
        if not files:
            there = sorted(p.name for p in folder.glob("*") if p.is_dir())
            has = f"there are the folders {', '.join(there)}" if there else "there are no folders"
            raise DataError(
                f"data={data.name}: no pictures of the class {name} in {folder / name}; {has}. "
                "data.class_names names the folders"
            )
        found += [(file, label) for file in files]
    return found


def _digest(listing: dict[str, list[tuple[Path, int]]], data: DataConfig) -> str:
    """What the arrays were read from: every file's place, size and time of change."""
    told = [
        (part, data.class_names[label], path.name, path.stat().st_size, path.stat().st_mtime_ns)
        for part, files in listing.items()
        for path, label in files
    ]
    return hashlib.sha256(json.dumps([data.shape, told]).encode()).hexdigest()


def _digest_of(kept: Path) -> str | None:
    try:
        return str(json.loads((kept / "told.json").read_text())["digest"])
    except (OSError, ValueError, KeyError):
        return None


def _keep(listing: dict[str, list[tuple[Path, int]]], data: DataConfig, kept: Path, digest: str, say: Say) -> None:
    """Read all pictures and put their arrays into the folder `kept`, whole or not at all."""
    say(f"data={data.name}: reading {sum(map(len, listing.values())):,} pictures, once")
    fresh = kept.with_name(kept.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    problems: list[str] = []
    for part, size in zip(PARTS, (data.train_size, data.test_size), strict=True):
        count, labels = _write_part(listing[part], data, fresh / f"{part}_x.npy", problems)
        np.save(fresh / f"{part}_y.npy", np.array(labels, np.uint8))
        missing = sorted(set(range(len(data.class_names))) - set(labels))
        if missing:
            shutil.rmtree(fresh)
            name = data.class_names[missing[0]]
            why = next((line for line in problems if f"/{name}/" in line), "")
            raise DataError(f"data={data.name}: no picture of {name} in {part}/ can be read. {why}".strip())
        if count != size:
            problems.append(f"{part}/ holds {count:,} pictures, its config says {size:,}")
    (fresh / "told.json").write_text(json.dumps({"digest": digest, "problems": problems}))
    shutil.rmtree(kept, ignore_errors=True)
    fresh.rename(kept)


def _write_part(
    files: list[tuple[Path, int]], data: DataConfig, path: Path, problems: list[str]
) -> tuple[int, list[int]]:
    """Write the pictures of one part, one after the other; how many there are, and their labels."""
    pictures, labels, broken, odd = [], [], [], []
    for file, label in files:
        try:
            picture, oddity = read_picture(file, data.shape)
        except PictureError as error:
            broken.append(str(error))
            continue
        pictures.append(picture)
        labels.append(label)
        if oddity:
            odd.append(f"{file.parent.name}/{file.name} ({oddity})")
    np.save(path, np.stack(pictures) if pictures else np.zeros((0, *data.shape), np.uint8))
    problems += [f"left out: {line}" for line in broken[:MOST_NAMED]]
    problems += [f"left out: {len(broken) - MOST_NAMED} more"] if len(broken) > MOST_NAMED else []
    problems += [f"{len(odd)} pictures were fitted to {data.shape}, as {odd[0]}"] if odd else []
    return len(pictures), labels
