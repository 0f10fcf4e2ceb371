"""What a dataset's config is: how it is stored, what it holds, where it comes from and how it is split."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Annotated, Any

from pipeline.config.checks import require
from pipeline.config.rules import (
    ARCHIVE,
    CLASS_NAMES,
    CODE,
    FOLDER,
    LABEL,
    MOST_UNITS,
    PATH,
    SHAPE,
    SIZE,
    Allowed,
    number,
    one_of,
    whole,
)

SHA256 = Allowed("64 digits from 0 to f", re.compile(r"[0-9a-f]{64}").fullmatch)
DIGITS = 1797  # in scikit-learn
FILES = ("train_images", "train_labels", "test_images", "test_labels")
ARRAYS = ("python", "npz")  # formats of one's own arrays: what their config leaves out is read from them
ONLY_WITH = {"loader": "python", "args": "python", "path": "npz", "url": "npz"}


@dataclass
class FileConfig:
    """One file of a dataset: its name without `.gz`, and the SHA-256 of its uncompressed content."""

    name: Annotated[str, LABEL]
    sha256: Annotated[str, SHA256]


@dataclass
class PointsConfig:
    """A dataset so small that its config holds it: x and y of training and test."""

    train_x: list[float]
    train_y: list[float]
    test_x: list[float]
    test_y: list[float]

    def __post_init__(self) -> None:
        for part in ("train", "test"):
            x, y = getattr(self, f"{part}_x"), getattr(self, f"{part}_y")
            pairs = len(x) == len(y) > 0
            require(pairs, f"data.points.{part}_y", y, f"as many numbers as data.points.{part}_x has, {len(x)}, from 1")


@dataclass
class DataConfig:
    """A dataset and how it is split: conf/data/fashion_mnist.yaml; one of one's own: conf/data/python.yaml, npz.yaml.

    Of one's own arrays `shape`, `class_names`, `train_size` and `test_size` may be null in the file. They are empty
    here until `pipeline.datasets.complete` has read them from the arrays.
    """

    name: Annotated[str, LABEL]
    description: str
    format: Annotated[str, one_of("idx", "digits", "folders", "points", *ARRAYS)]
    task: Annotated[str, one_of("multiclass", "binary", "regression")]
    shape: Annotated[list[int], SHAPE]
    scale: Annotated[float, number(above=0)]
    class_names: Annotated[list[str], CLASS_NAMES]
    train_size: Annotated[int, SIZE]
    test_size: Annotated[int, SIZE]
    folder: Annotated[str | None, FOLDER]
    files: dict[str, FileConfig] | None
    urls: list[str]
    debian_package: str | None
    keras_npz: Annotated[str | None, ARCHIVE]
    sha256: str | None
    points: PointsConfig | None
    dir: Annotated[str | None, PATH]
    cache: Annotated[str, PATH]
    timeout: Annotated[float, number(above=0, at_most=86400, unit="a number of seconds")]
    limit: Annotated[int | None, whole(1, 100_000_000)]
    val_fraction: Annotated[float, number(at_least=0, below=1)]
    train_fraction: Annotated[float, number(above=0, at_most=1)]
    # With defaults: the config.yaml of older runs has none of these.
    loader: Annotated[str | None, CODE] = None
    args: dict[str, Any] = field(default_factory=dict)
    path: Annotated[str | None, PATH] = None
    url: str | None = None

    def __post_init__(self) -> None:
        needed = {"idx": ("folder", "files"), "folders": ("folder",), "points": ("points",), "python": ("loader",)}
        for key in needed.get(self.format, ()):
            require(getattr(self, key) is not None, f"data.{key}", None, f"given with data.format={self.format}")
        names = list(self.files or {})
        fits = self.format != "idx" or set(names) == set(FILES)
        require(fits, "data.files", names, f"{', '.join(FILES)} with data.format=idx")
        classes = {"multiclass": (2, MOST_UNITS, "at least two names"), "binary": (2, 2, "two names")}
        low, high, allowed = classes.get(self.task, (0, MOST_UNITS, "[]"))
        fits = low <= len(self.class_names) <= high or (self.has_arrays and not self.class_names)
        require(fits, "data.class_names", self.class_names, f"{allowed} with data.task={self.task}")
        for key, kind in ONLY_WITH.items():
            value = getattr(self, key)
            require(not value or self.format == kind, f"data.{key}", value, f"null with data.format={self.format}")
        self._check_content()
        self._check_source()

    def _check_content(self) -> None:
        """Refuse what a dataset that is known without being read does not hold."""
        for key in ("shape", "train_size", "test_size"):
            given = self.has_arrays or getattr(self, key)
            require(given, f"data.{key}", None, f"given with data.format={self.format}")
        if self.format == "digits":
            sizes = self.train_size + self.test_size == DIGITS
            require(sizes, "data.test_size", self.test_size, f"the rest of the {DIGITS} digits, with data.train_size")
            require(self.shape == [8, 8, 1], "data.shape", self.shape, "[8,8,1] with data.format=digits")
            fits = self.task == "regression" or (self.task == "multiclass" and len(self.class_names) >= 10)
            require(fits, "data.class_names", self.class_names, "ten names, of data.task=multiclass, for ten digits")
        if self.format == "points" and self.points is not None:
            for part in ("train", "test"):
                size, points = getattr(self, f"{part}_size"), len(getattr(self.points, f"{part}_x"))
                require(size == points, f"data.{part}_size", size, f"{points}, as many as data.points has")
            require(self.shape == [1], "data.shape", self.shape, "[1] with data.format=points")
            require(self.task == "regression", "data.task", self.task, "regression with data.format=points")

    def _check_source(self) -> None:
        """Refuse what one's own arrays cannot be had from."""
        if not self.has_arrays:
            return
        if self.sha256 is not None:
            SHA256.check("data.sha256", self.sha256)
        if self.format == "npz":
            require(self.path or self.url, "data.path", self.path, "the path of an .npz file, or data.url its address")
            require(not (self.path and self.url), "data.url", self.url, f"null with data.path={self.path}")
            is_address = self.url is None or re.match(r"https?://[^/\s]", self.url)
            require(is_address, "data.url", self.url, "an address as in https://host/mine.npz")
            given = self.url is None or self.sha256 is not None
            require(given, "data.sha256", None, "the SHA-256 of the file at data.url: what comes is checked by it")
        try:
            json.dumps(self.args)
        except (TypeError, ValueError):
            require(False, "data.args", self.args, "numbers, texts, true, false, null, lists and mappings of them")

    @property
    def has_arrays(self) -> bool:
        """Whether it is of one's own arrays, from which is read what the config leaves out."""
        return self.format in ARRAYS

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to be read from the arrays."""
        return bool(self.shape and self.train_size and self.test_size and (self.class_names or not self.has_classes))

    @property
    def is_image(self) -> bool:
        """Whether examples are images as files have them, grey or in colour."""
        return len(self.shape) == 3 and self.shape[2] in (1, 3)

    @property
    def has_classes(self) -> bool:
        """Whether labels are classes: a regression has none."""
        return self.task != "regression"

    def pixels(self, share: float) -> tuple[int, int]:
        """Return a share of an image's height and of its width in pixels, rounded."""
        height, width = (round(share * side) for side in self.shape[:2])
        return height, width

    @property
    def outputs(self) -> int:
        """Units of the output layer: one per class, or a single one for binary and regression."""
        return len(self.class_names) if self.task == "multiclass" else 1
