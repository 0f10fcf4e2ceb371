"""`convsweep predict`: what a tracked model says of pictures, numbers and arrays, prepared as in training."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
from rich.console import Console

from pipeline.config.checks import ConfigError
from pipeline.datasets.image_statistics import read_statistics
from pipeline.datasets.images import ImageError, image_endings
from pipeline.inference.load import SavedModel
from pipeline.inference.pictures import INVERTED, Picture, read_picture
from pipeline.models.tasks import TASKS
from pipeline.system.messages import printable, reason
from pipeline.tracking.tracker import IMAGE_STATISTICS

BATCH = 64
MOST_SAID = 3  # classes of an example
MOST_DRAWN = 100  # images of a figure
LONGEST_NAME = 24  # last characters of an image's name above it
FIGURES = (".png", ".pdf", ".svg")


def predict(
    saved: SavedModel, words: Sequence[str], console: Console, figure: Path | None = None, as_is: bool = False
) -> int:
    """Print the three most probable classes of every example, or the number that a regression predicts. The exit code.

    Args:
        saved: The model.
        words: Files of images and folders of them; numbers where the model takes a single number; or .npy files, of one
            example or many.
        console: Where to.
        figure: File for a figure of the images beside what the network gets of them, and what it says; None for none.
        as_is: Whether pictures are only resized, not made like the images of the training set.

    Returns:
        0, or 1 where a file could not be read: it is named and skipped.

    Raises:
        ConfigError: if a file does not exist, a folder holds no image or cannot be read, a number is none, or an array
            is not of the shape that the model takes.
    """
    data = saved.config.data
    if figure and not data.is_image:
        raise ConfigError(f"--figure {figure}: run {saved.run.run_id} takes no images that could be drawn")
    predictions = _Predictions(saved, console)
    arrays = [word for word in words if word.endswith(".npy")]
    for word in arrays:
        examples = _array(word, tuple(data.shape))
        predictions.say([f"{printable(word)}[{number}]" for number in range(len(examples))], examples)
    words = [word for word in words if word not in arrays]
    if words and list(data.shape) == [1]:
        predictions.say(list(map(printable, words)), np.array([[_finite(word)] for word in words], np.float32))
        return 0
    broken = _predict_files(saved, words, predictions, as_is) if words else 0
    if figure and predictions.titles:
        predictions.draw(figure)
    return 1 if broken else 0


def _predict_files(saved: SavedModel, words: Sequence[str], predictions: _Predictions, as_is: bool) -> int:
    """Tell of images in files and folders; return how many could not be read."""
    data, console = saved.config.data, predictions.console
    if not data.is_image:
        raise ConfigError(
            f"run {saved.run.run_id} takes inputs of the shape {data.shape}, no images: give .npy files, each an "
            "array of one example or of many"
        )
    size = "x".join(map(str, data.shape))
    files, broken, inverted = _files(words), 0, False
    console.print(f"{saved.config.model.name} on {data.name} ({size}), run {saved.run.run_id[:8]}", highlight=False)
    statistics = None if as_is else read_statistics(saved.run.tags.get(IMAGE_STATISTICS))
    if statistics is None and data.shape[2] == 1 and not as_is:
        words = (
            "how its training images look is not recorded (values below 0, or trained by an older version), "
            "so pictures are only resized"
        )
        console.print(words, soft_wrap=True, highlight=False)
    for start in range(0, len(files), BATCH):
        pictures: list[Picture] = []
        named = []
        for file in files[start : start + BATCH]:
            try:
                pictures.append(read_picture(file, data.shape, statistics))
                named.append(file)
            except ImageError as error:
                broken += 1
                console.print(f"skipped: {error}", style="red", soft_wrap=True, highlight=False)
        if pictures:
            predictions.say(list(map(printable, named)), np.stack([each.x for each in pictures]), pictures)
        inverted |= any(INVERTED in each.changes for each in pictures)
    if inverted and statistics:
        theirs, ours = ("light on dark", "dark on light")[:: -1 if statistics.ground else 1]
        console.print(
            f"inverted: pictures {ours}, as the training set is {theirs}; --as-is only resizes", soft_wrap=True
        )
    return broken


class _Predictions:
    """What the model has said: printed a line each, and kept for a figure."""

    def __init__(self, saved: SavedModel, console: Console) -> None:
        self.saved, self.console = saved, console
        self.pictures: list[Picture] = []
        self.titles: list[tuple[str, str]] = []
        self.count = 0

    def say(self, names: list[str], x: np.ndarray, pictures: Sequence[Picture] = ()) -> None:
        """Print what the model says of examples x as stored, shape (n, *data.shape), of these pictures if of any."""
        if self.saved.config.data.has_classes:
            said = [likeliest(self.saved, row) for row in probabilities(self.saved, x)]
        else:
            said = [[f"{float(value[0]):.4f}"] for value in outputs(self.saved, x)]
        pictures = pictures or [Picture(each, each) for each in x]
        for name, words, picture in zip(names, said, pictures, strict=True):
            line = f"{name}: {', '.join(words)}" + (f" ({', '.join(picture.changes)})" if picture.changes else "")
            self.console.print(line, soft_wrap=True, highlight=False, markup=False)
        self.count += len(x)
        room = MOST_DRAWN - len(self.pictures)
        self.pictures += pictures[:room]
        above = [
            "\n".join([name[-LONGEST_NAME:], *picture.changes]) for name, picture in zip(names, pictures, strict=True)
        ]
        self.titles += list(zip(above, map("\n".join, said), strict=True))[:room]

    def draw(self, path: Path) -> None:
        """Write a figure of the first examples, each beside what the network gets of it, but for its scale."""
        from pipeline.inference.drawing import draw_pairs

        drawn = len(self.pictures)
        first = f"the first {drawn} of {self.count:,} images" if drawn < self.count else f"{drawn} images"
        title = f"what {self.saved.config.model.name}, run {self.saved.run.run_id[:8]}, sees and says of {first}"
        draw_pairs([(picture.photo, picture.x) for picture in self.pictures], self.titles, title, path)
        self.console.print(f"figure: {path}", soft_wrap=True, highlight=False, markup=False)


def check_figure(path: Path) -> None:
    """Raise ConfigError unless a figure can be written to this path; before a model is loaded for it."""
    if path.suffix.lower() not in FIGURES:
        raise ConfigError(f"--figure {path} is not allowed: a figure's name ends with {', '.join(FIGURES)}")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"--figure {path}: there is no folder {path.parent}")


def check_words(words: Sequence[str]) -> None:
    """Raise ConfigError for a word that is neither a file, a folder nor a number; before a model is loaded for it."""
    for word in words:
        if _number(word) is None:
            _path_of(word)


def prepared(saved: SavedModel, x: np.ndarray) -> np.ndarray:
    """Examples as stored, scaled as in training."""
    return x.astype(np.float32) / np.float32(saved.config.data.scale)


def outputs(saved: SavedModel, x: np.ndarray) -> np.ndarray:
    """Outputs of the network, shape (n, data.outputs), for examples x as stored, shape (n, *data.shape)."""
    scaled = prepared(saved, x)
    return np.concatenate([saved.net.predict_on_batch(scaled[i : i + BATCH]) for i in range(0, len(x), BATCH)])


def probabilities(saved: SavedModel, x: np.ndarray) -> np.ndarray:
    """Probability of every class, shape (n, classes), for examples x as stored, shape (n, *data.shape)."""
    return np.asarray(TASKS[saved.config.data.task].probabilities(outputs(saved, x)))


def likeliest(saved: SavedModel, row: np.ndarray) -> list[str]:
    """The most probable classes with their probabilities, of an example's, shape (classes,)."""
    best = np.argsort(-row, kind="stable")[:MOST_SAID]
    return [f"{saved.config.data.class_names[label]} {row[label]:.4f}" for label in best]


def _number(word: str) -> float | None:
    """The number that a word stands for; None if it is none."""
    try:
        return float(word)
    except ValueError:
        return None


def _path_of(word: str) -> tuple[Path, bool]:
    """The path that a word stands for, and whether it is a folder; raises ConfigError if it cannot be opened."""
    try:
        path = Path(word).expanduser()
    except RuntimeError:  # ~somebody who is not there
        path = Path(word)
    try:
        return path, stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(f"there is no file or folder {printable(word)}") from None
    except OSError as error:
        _refuse(error)


def _refuse(error: OSError) -> NoReturn:
    raise ConfigError(f"{printable(error.filename)} cannot be read: {reason(error)}") from error


def _files(words: Sequence[str]) -> list[Path]:
    """Files named, and images in folders named, folders within included."""
    endings = image_endings()
    files: list[Path] = []
    for word in words:
        path, is_folder = _path_of(word)
        if not is_folder:
            files.append(path)
            continue
        names = (Path(folder, name) for folder, _, names in os.walk(path, onerror=_refuse) for name in names)
        inside = sorted(file for file in names if file.suffix.lower() in endings and file.name[0] != ".")
        if not inside:
            raise ConfigError(f"the folder {printable(path)} holds no image")
        files += inside
    return files


def _array(word: str, shape: tuple[int, ...]) -> np.ndarray:
    """The examples in an .npy file, shape (n, *shape); raises ConfigError where there are others, or none."""
    path, _ = _path_of(word)
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ConfigError(f"{printable(path)} cannot be read as an array: {reason(error)}") from error
    examples = array[None] if array.shape == shape else array
    if examples.shape[1:] != shape or not len(examples) or examples.dtype.kind not in "biuf":
        what = f"numbers of the shape {shape}, or (n, {', '.join(map(str, shape))})"
        raise ConfigError(f"{printable(path)} holds {array.dtype} of the shape {array.shape}; the model takes {what}")
    return np.asarray(examples)


def _finite(word: str) -> float:
    number = _number(word)
    if number is None or not math.isfinite(number) or abs(number) > float(np.finfo(np.float32).max):
        raise ConfigError(f"{printable(word)} is not allowed: this model takes finite numbers of 32 bits, as 7 or 1e3")
    return number
