"""`convsweep predict`: what a tracked model says of pictures, prepared as in training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from pipeline.config import ConfigError
from pipeline.pictures import PictureError, read_picture
from pipeline.saved import SavedModel

BATCH = 64


def predict(saved: SavedModel, words: Sequence[str], console: Console) -> int:
    """Print class and probability of every picture; folders stand for the pictures in them. The exit code.

    Args:
        saved: The model.
        words: Files and folders; numbers where the model takes a single number.
        console: Where to.

    Returns:
        0, or 1 where a file could not be read: it is named and skipped.

    Raises:
        ConfigError: if a file does not exist, a folder holds no picture, or a number is none.
    """
    data = saved.config.data
    if list(data.shape) == [1]:
        return _predict_numbers(saved, words, console)
    told = "x".join(map(str, data.shape))
    console.print(f"{saved.config.model.name} on {data.name} ({told}), run {saved.run.run_id[:8]}", highlight=False)
    files, broken = _files(words), 0
    for start in range(0, len(files), BATCH):
        pictures, named = [], []
        for file in files[start : start + BATCH]:
            try:
                pictures.append(read_picture(file, data.shape)[0])
                named.append(file)
            except PictureError as error:
                broken += 1
                console.print(f"skipped: {error}", style="red", soft_wrap=True, highlight=False)
        if pictures:
            for file, (name, probability) in zip(named, classify(saved, np.stack(pictures)), strict=True):
                console.print(f"{file}: {name} {probability:.4f}", soft_wrap=True, highlight=False, markup=False)
    return 1 if broken else 0


def check_words(words: Sequence[str]) -> None:
    """Raise ConfigError for a word that is neither a file, a folder nor a number; before a model is loaded for it."""
    for word in words:
        if not Path(word).expanduser().exists() and not word.replace(".", "", 1).lstrip("-").isdigit():
            raise ConfigError(f"there is no file or folder {word}")


def prepared(saved: SavedModel, x: np.ndarray) -> np.ndarray:
    """Examples as stored, scaled as in training."""
    return x.astype(np.float32) / np.float32(saved.config.data.scale)


def probabilities(saved: SavedModel, x: np.ndarray) -> np.ndarray:
    """Probability of every class, shape (n, classes), for examples x as stored, shape (n, *data.shape)."""
    scaled = prepared(saved, x)
    found = np.concatenate([saved.net.predict_on_batch(scaled[i : i + BATCH]) for i in range(0, len(x), BATCH)])
    return np.concatenate([1 - found, found], axis=1) if saved.config.data.task == "binary" else found


def classify(saved: SavedModel, x: np.ndarray) -> Iterator[tuple[str, float]]:
    """The most probable class of every example, and its probability."""
    for row in probabilities(saved, x):
        best = int(row.argmax())
        yield saved.config.data.class_names[best], float(row[best])


def _files(words: Sequence[str]) -> list[Path]:
    """Files named, and pictures in folders named, folders within included."""
    from PIL import Image

    endings = set(Image.registered_extensions())
    found: list[Path] = []
    for word in words:
        path = Path(word).expanduser()
        if path.is_dir():
            inside = sorted(
                p for p in path.rglob("*") if p.suffix.lower() in endings and p.is_file() and p.name[0] != "."
            )
            if not inside:
                raise ConfigError(f"the folder {path} holds no picture")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise ConfigError(f"there is no file or folder {path}")
    return found


def _predict_numbers(saved: SavedModel, words: Sequence[str], console: Console) -> int:
    try:
        x = np.array([[float(word)] for word in words], np.float32)
    except ValueError as error:
        raise ConfigError(f"{error}: this model takes numbers, as in 7") from error
    found = saved.net.predict_on_batch(prepared(saved, x))
    for word, value in zip(words, found, strict=True):
        console.print(f"{word}: {float(value[0]):.4f}", highlight=False)
    return 0
