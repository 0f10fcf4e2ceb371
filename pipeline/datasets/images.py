"""Images as arrays: one as a model takes it; folders of them, read once and kept in the cache."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.config.data import DataConfig
from pipeline.config.groups import project_folder
from pipeline.datasets.cache import DataError, Say, cache_dir, sha256_of_arrays, unusable_cache
from pipeline.system.files import require_regular
from pipeline.system.messages import printable, reason

if TYPE_CHECKING:
    from PIL import Image

# What is read, whatever a file's name: no EPS, which Pillow hands to Ghostscript, and no documents or film.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "AVIF", "PPM", "JPEG2000")
PARTS = ("train", "validation")
ARRAYS = ("x", "y")
RECORD = "arrays.json"  # of which files the cached arrays are, their SHA-256, and what was odd
MOST_NAMED = 10

Listing = dict[str, list[tuple[Path, int]]]


class ImageError(ValueError):
    """A file that cannot be read as a image."""


@dataclass(frozen=True)
class ImageFolders:
    """Images x and labels y of `train` and `validation`, their SHA-256, and what was odd about the files."""

    arrays: dict[str, tuple[np.ndarray, np.ndarray]]
    sha256: str
    problems: list[str]


def image_endings() -> set[str]:
    """Return the endings of the names of files that are read, as .png."""
    from PIL import Image

    return {ending for ending, name in Image.registered_extensions().items() if name in FORMATS}


def read_image(path: Path, shape: Sequence[int]) -> tuple[np.ndarray, str]:
    """One image as a uint8 array of `shape` (height, width, channels), turned and resized as needed.

    Returns:
        The array, and in words what was odd about the file: its size or its colours; empty if nothing was.

    Raises:
        ImageError: if the file is no image, or a broken one.
    """
    image, colours = open_image(path, shape[2])
    odd = [f"{image.width}x{image.height} pixels"] if image.size != (shape[1], shape[0]) else []
    odd += [f"colours {colours}"] if image.mode != colours else []
    return fitted(image, shape), ", ".join(odd)


def open_image(path: Path, channels: int) -> tuple[Image.Image, str]:
    """One image, turned as it was taken, grey if `channels` is 1, else in colour; and its file's colours, as in RGBA.

    Raises:
        ImageError: if the file is no image, or a broken one.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        require_regular(path)
        if path.stat().st_size == 0:
            raise ValueError("it is empty")
        Image.init()
        formats = [name for name in FORMATS if name in Image.OPEN]
        # No warnings, and nothing logged: what cannot be read fails, the rest is read.
        logging.getLogger("PIL").setLevel(logging.CRITICAL)
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=formats) as opened:
            image = ImageOps.exif_transpose(opened)
            return _converted(image, "RGB" if channels == 3 else "L"), image.mode
    except UnidentifiedImageError as error:
        raise ImageError(_unreadable(path, f"not recognized as {', '.join(FORMATS)}")) from error
    except Exception as error:  # damaged files fail in as many ways as they can be damaged
        why = reason(error).replace(str(path), path.name).replace(repr(str(path)), path.name)
        raise ImageError(_unreadable(path, why)) from error


def fitted(image: Image.Image, shape: Sequence[int]) -> np.ndarray:
    """The image as a uint8 array of `shape` (height, width, channels), resized as needed."""
    height, width, _ = shape
    if image.size != (width, height):
        image = image.resize((width, height))
    return np.asarray(image, np.uint8).reshape(tuple(shape))


def _unreadable(path: Path, why: str) -> str:
    return f"{printable(path)}: no image that can be read ({why})"


def _converted(image: Image.Image, mode: str) -> Image.Image:
    """The image in L, grey, or RGB."""
    from PIL import Image

    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of 32 bits (mode {image.mode}) have no range that is known")
    if image.mode.startswith("I;16"):  # converted by Pillow, all above 255 would be white
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("P", "PA", "LA"):
        image = image.convert("RGBA")
    return image.convert(mode)


def read_folders(data: DataConfig, say: Say) -> ImageFolders:
    """Images x and labels y of train/CLASS/ and validation/CLASS/; a label is its class's place in `class_names`.

    Decoded and resized once; after that the arrays are mapped from the cache, and checked by SHA-256, until a file of
    the set changes. Files that are no images, and odd ones, are named through `say`; they stop nothing.

    Raises:
        DataError: if there is no such folder, or a class without a image, or the cache cannot be used.
    """
    from filelock import FileLock

    root = _root(data)
    listing = {part: _listing(root / part, data) for part in PARTS}
    digest = _digest(listing, data)
    folder = cache_dir(data) / f"arrays-{'x'.join(map(str, data.shape))}"
    images = _cached(folder, digest, say)
    if images is None:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.parent / ".lock"):  # one process reads, the others wait and use what it read
                images = _cached(folder, digest, lambda line: None)
                if images is None:
                    images = _read_all(listing, data, folder, digest, say)
        except (OSError, NotImplementedError) as error:  # the latter: a file system without locks
            raise unusable_cache(folder, error) from error
    for line in images.problems:
        say(f"data={data.name}: {line}")
    return images


def _cached(folder: Path, digest: str, say: Say) -> ImageFolders | None:
    """The arrays in the cache; None where there are none, or of other files, or damaged ones, which is said."""
    try:
        content = (folder / RECORD).read_bytes()
    except OSError:  # there is none; or the cache cannot be used, which will be said when it is written
        return None
    with suppress(Exception):  # damaged files fail in as many ways as they can be damaged
        record = json.loads(content)
        if record["digest"] != digest:
            return None
        arrays = _mapped(folder)
        if sha256_of_arrays(*(array for part in PARTS for array in arrays[part])) == record["sha256"]:
            return ImageFolders(arrays, record["sha256"], [str(line) for line in record["problems"]])
    say(f"{printable(folder)} is damaged: its images are read again")
    return None


def _mapped(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The arrays of every part in `folder`; the images are mapped from disk, the labels read."""
    return {
        part: (np.load(folder / f"{part}_x.npy", mmap_mode="r"), np.load(folder / f"{part}_y.npy")) for part in PARTS
    }


def _root(data: DataConfig) -> Path:
    root = project_folder() / Path(data.dir or ".").expanduser() / (data.folder or data.name)
    if not data.dir or not root.is_dir():
        where = f"there is no folder {printable(root)}" if data.dir else "CONVSWEEP_DATA_DIR is not set"
        raise DataError(
            f"data={data.name} cannot be had: {where}. What helps: put the images into FOLDER/{data.folder}/"
            "{train,validation}/CLASS/ and set CONVSWEEP_DATA_DIR=FOLDER"
        )
    return root


def _listing(folder: Path, data: DataConfig) -> list[tuple[Path, int]]:
    """Files of every class with their labels, in order; what is no regular file is left out later, and named."""
    labelled = []
    for label, name in enumerate(data.class_names):
        files = sorted(folder / name / entry for entry in _entries(folder / name, folders=False))
        if not files:
            there = sorted(_entries(folder, folders=True))
            has = f"there are the folders {printable(', '.join(there))}" if there else "there are no folders"
            raise DataError(
                f"data={data.name}: no images of the class {name} in {printable(folder / name)}; {has}. "
                "data.class_names names the folders"
            )
        labelled += [(file, label) for file in files]
    return labelled


def _entries(folder: Path, folders: bool) -> list[str]:
    """Names of the folders, or of all else, in `folder`, without hidden ones; none if it does not exist."""
    try:
        with os.scandir(folder) as entries:
            return [e.name for e in entries if e.name[0] != "." and e.is_dir(follow_symlinks=False) == folders]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DataError(f"{printable(folder)} cannot be read: {reason(error)}") from error


def _digest(listing: Listing, data: DataConfig) -> str:
    """What the arrays were read from: every file's place, size and time of change."""
    files = [
        (part, data.class_names[label], path.name, *_size_and_time(path))
        for part, files in listing.items()
        for path, label in files
    ]
    return hashlib.sha256(json.dumps([data.shape, files]).encode()).hexdigest()


def _size_and_time(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:  # a link that leads nowhere: left out, and named, with the files that are no images
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _read_all(listing: Listing, data: DataConfig, folder: Path, digest: str, say: Say) -> ImageFolders:
    """Read all images and put their arrays into `folder`, whole or not at all."""
    say(f"data={data.name}: reading {sum(map(len, listing.values())):,} images, once")
    problems: list[str] = []
    arrays = {part: _read_part(listing[part], data, problems) for part in PARTS}
    for part, size in zip(PARTS, (data.train_size, data.test_size), strict=True):
        labels = arrays[part][1]
        for missing in sorted(set(range(len(data.class_names))) - set(labels.tolist()))[:1]:
            name = data.class_names[missing]
            why = next((line for line in problems if f"/{name}/" in line), "")
            raise DataError(f"data={data.name}: no image of {name} in {part}/ can be read. {why}".strip())
        if len(labels) != size:
            problems.append(f"{part}/ holds {len(labels):,} images, its config says {size:,}")
    sha256 = sha256_of_arrays(*(array for part in PARTS for array in arrays[part]))
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        fresh.mkdir(parents=True)
        for part in PARTS:
            for name, array in zip(ARRAYS, arrays[part], strict=True):
                np.save(fresh / f"{part}_{name}.npy", array)
        (fresh / RECORD).write_text(json.dumps({"digest": digest, "sha256": sha256, "problems": problems}))
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    return ImageFolders(_mapped(folder), sha256, problems)


def _read_part(files: list[tuple[Path, int]], data: DataConfig, problems: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The images and labels of one part; what was wrong with files is added to `problems`."""
    x = np.empty((len(files), *data.shape), np.uint8)
    labels: list[int] = []
    broken, odd = [], []
    for file, label in files:
        try:
            x[len(labels)], oddity = read_image(file, data.shape)
        except ImageError as error:
            broken.append(str(error))
            continue
        labels.append(label)
        if oddity:
            odd.append(f"{printable(f'{file.parent.name}/{file.name}')} ({oddity})")
    problems += [f"left out: {line}" for line in broken[:MOST_NAMED]]
    problems += [f"left out: {len(broken) - MOST_NAMED} more"] if len(broken) > MOST_NAMED else []
    problems += [f"{len(odd)} images were fitted to {data.shape}, as {odd[0]}"] if odd else []
    return x[: len(labels)], np.array(labels, np.min_scalar_type(len(data.class_names)))
