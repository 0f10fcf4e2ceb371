"""A wrong config and its message: the key, its value, what is allowed and the nearest right word."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from pipeline.system.errors import ConvsweepError
from pipeline.system.messages import masked


class ConfigError(ConvsweepError, ValueError):
    """A config that cannot be run. The message says what was wrong, what is allowed and what to do."""


def require(ok: object, key: str, value: object, allowed: str) -> None:
    """Raise ConfigError naming `key`, its `value` and what is `allowed`, unless `ok`."""
    if not ok:
        raise ConfigError(f"{key}={shown(value)} is not allowed: {key} must be {allowed}")


def shown(value: object) -> str:
    """Return a value as it is written on the command line, without passwords and at most 200 characters of it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = masked(str(value))  # before it is cut
    return text if len(text) <= 200 else f"{text[:200]}..."


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """Return the hint ' (did you mean X?)' for the nearest of `options`, or an empty string."""
    near = difflib.get_close_matches(word, list(options), n=1, cutoff=0.6)
    return f" (did you mean {near[0]}?)" if near else ""


def require_one_of(key: str, value: object, options: Iterable[str]) -> None:
    """Raise ConfigError unless `value` is one of `options`, suggesting the nearest."""
    words = list(options)
    require(value in words, key, value, f"one of {', '.join(words)}{did_you_mean(str(value), words)}")
