"""Rules of single values: what stands beside a type in the schema, in the words of messages and documentation."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

from pipeline.config.checks import did_you_mean, require

# Larger numbers are slips of the hand. The same on every machine: so is what a config means.
MOST_LAYERS = 100
MOST_UNITS = 100_000  # of a layer
MOST_PIXELS = 10_000  # of a side
MOST_VALUES = 1_000_000  # along an axis of an example


@dataclass(frozen=True)
class Allowed:
    """What a value of the right type may be: in words, and as a test. It stands beside the type, in `Annotated`.

    Attributes:
        words: What is allowed.
        fits: Whether a value is.
        options: Words of which a message suggests the nearest.
        unknown: Makes the value that null stands for where it is read from the data; None where null is not allowed.
    """

    words: str
    fits: Callable[[Any], object]
    options: tuple[str, ...] = ()
    unknown: Callable[[], Any] | None = None

    def check(self, key: str, value: object) -> None:
        """Raise ConfigError unless `value` is allowed."""
        require(self.fits(value), key, value, self.words + did_you_mean(str(value), self.options))


def whole(low: int, high: int, unit: str = "a whole number") -> Allowed:
    """Return the rule for whole numbers from `low` to `high`."""
    return Allowed(f"{unit} from {low} to {high}", lambda value: low <= value <= high)


def number(
    *, at_least: float = -inf, above: float = -inf, at_most: float = inf, below: float = inf, unit: str = "a number"
) -> Allowed:
    """Return the rule for numbers between a lower bound, `at_least` or `above`, and an upper one, if there is any."""
    words = f"{unit} from {at_least}" if at_least > above else f"{unit} above {above}"
    if min(at_most, below) < inf:
        words += f" up to {at_most}" if at_most < below else f" up to but not including {below}"
    return Allowed(words, lambda value: at_least <= value <= at_most and above < value < below)


def one_of(*options: str) -> Allowed:
    """Return the rule for one of several words; a message suggests the nearest."""
    return Allowed(f"one of {', '.join(options)}", options.__contains__, options)


def _is_path(text: str) -> bool:
    try:
        parts = Path(text.strip()).expanduser().parts
    except RuntimeError:  # ~somebody
        return False
    return bool(parts) and all(len(part.encode()) <= 255 for part in parts) and len(text) < 1000 and "\n" not in text


PATH = Allowed("a path", _is_path)
# What can be part of a file's name, of an MLflow tag and of a layer's name.
LABEL = Allowed(
    "at most 100 letters, digits, '_', '-' and '.', beginning with a letter or digit",
    re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}").fullmatch,
)


CODE = Allowed(
    "the path of a function, MODULE:FUNCTION as in nets:mixer",
    re.compile(r"[^\W\d][\w.]*:[^\W\d][\w.]*").fullmatch,
)


def _all_whole(values: list[Any], high: int) -> bool:
    return all(type(value) is int and 1 <= value <= high for value in values)


def _ascend(values: list[float]) -> bool:
    """Return whether each is above the one before, in the six digits that a metric's name has of it."""
    texts = [f"{value:g}" for value in values]
    return sorted(values) == values and len(set(texts)) == len(texts)


def _file_name(what: str) -> Allowed:
    """Return the rule for names where a path would lead out of the cache, or look as if it named another dataset."""
    own = "a dataset of your own needs a file in conf/data/: docs/how-to/own-model-and-data.md"
    return Allowed(f"{what}; {own}", lambda name: re.fullmatch(r"\w[^/\\:]*", name) and PATH.fits(name))


SHAPE = Allowed(
    f"one to four sizes, as in [28,28,1], each from 1 to {MOST_VALUES}",
    lambda shape: 1 <= len(shape) <= 4 and _all_whole(shape, MOST_VALUES),
    unknown=list,
)
CLASS_NAMES = Allowed("names, as in [cat,dog]", lambda names: True, unknown=list)
SIZE = replace(whole(1, 100_000_000), unknown=int)
FOLDER = _file_name("the name of a folder within data.dir=FOLDER, or CONVSWEEP_DATA_DIR")
ARCHIVE = _file_name("the name of Keras's archive of this very dataset in its cache, as mnist.npz")


BOUNDARIES = Allowed(
    "whole numbers of epochs from 1, each above the one before, as in [10,15]",
    lambda epochs: _all_whole(epochs, 10**6) and sorted(set(epochs)) == epochs,
)
SHIFTS = Allowed(
    "shares of height and width above 0 and below 1, each above the one before, as in [0.1,0.2]",
    lambda shares: all(0 < share < 1 for share in shares) and _ascend(shares),
)
SIZES = Allowed(
    "factors above 0 other than 1, each above the one before, as in [0.75,1.25]",
    lambda factors: all(factor > 0 for factor in factors) and 1 not in factors and _ascend(factors),
)
FACTORS = Allowed("numbers above 0, as in [0.1,0.01]", lambda factors: all(factor > 0 for factor in factors))


def _are_filters(filters: Any) -> bool:
    numbers = filters if isinstance(filters, list) else [filters]
    return filters is None or (bool(numbers) and _all_whole(numbers, MOST_UNITS))


FILTERS = Allowed(
    f"a whole number from 1 to {MOST_UNITS}, or a list of them with one per convolution, as in [32,64]", _are_filters
)
UNITS = Allowed(
    f"at most {MOST_LAYERS} whole numbers from 1 to {MOST_UNITS}, as in [128]",
    lambda units: len(units) <= MOST_LAYERS and _all_whole(units, MOST_UNITS),
)
