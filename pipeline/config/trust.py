"""Which functions of one's own are imported: those that the user's own config or command line names.

A tracked run, a `--from` file or a downloaded artifact may name any function of any library, with any arguments.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.config.checks import ConfigError
from pipeline.config.groups import CONF, config_folders
from pipeline.config.schema import RunConfig

CODE = {"data": "loader", "model": "builder"}


def require_named(config: RunConfig, overrides: Iterable[str], sections: Iterable[str] = tuple(CODE)) -> None:
    """Raise ConfigError where a run's config names a function that neither overrides nor config files name.

    Args:
        config: The run.
        overrides: Those of the command line.
        sections: Those whose function would be imported.
    """
    given = set(overrides)
    for name in sections:
        key = CODE[name]
        path = getattr(getattr(config, name), key, None)
        if path is None or f"{name}.{key}={path}" in given or path in _named(config_folders()):
            continue
        raise ConfigError(
            f"{name}.{key}={path} is not imported: only a file says so, no config of yours. If you trust it, name it "
            f"yourself, as an override {name}.{key}={path} or in a file of conf/{name}/"
        )


def is_built_in(path: str | None) -> bool:
    """Return whether a function is one of ours that our own config files name."""
    return path in _named((CONF,))


def _named(folders: Sequence[Path]) -> set[str]:
    """Return every text of the config files, and the values of the overrides among them."""
    from yaml import YAMLError, safe_load

    texts: set[str] = set()
    for folder in folders:
        for file in folder.rglob("*.yaml"):
            with suppress(OSError, YAMLError, ValueError, RecursionError):
                texts.update(_texts(safe_load(file.read_text())))
    return texts


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from (value, value.rpartition("=")[2])
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _texts(item)
