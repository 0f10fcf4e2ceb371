"""Arrays of a program as a dataset: written once into the cache, by their content, and named by overrides."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.checks import require_one_of
from pipeline.config.compose import compose
from pipeline.config.overrides import as_override, key_of
from pipeline.config.schema import RunConfig
from pipeline.datasets.arrays import NAMES, tidied
from pipeline.datasets.cache import DataError, sha256_of_arrays, unusable_cache
from pipeline.models.tasks import TASKS

Arrays = tuple[tuple[Any, Any], tuple[Any, Any]]


def array_overrides(arrays: Arrays, task: str | None, overrides: Sequence[str]) -> list[str]:
    """Return the overrides that name these arrays as the dataset of a run.

    Args:
        arrays: `(x, y), (x_test, y_test)`, as Keras's datasets come.
        task: multiclass, binary or regression; None for multiclass where y are whole numbers, regression for floats.
        overrides: Others of the run, of which `data.cache` counts.

    Raises:
        WrongDataError: for what no network can be trained on.
        DataError: if the cache cannot be written.
    """
    try:
        (x_train, y_train), (x_test, y_test) = arrays
    except (TypeError, ValueError) as error:
        raise DataError("data must be two pairs of arrays, (x, y), (x_test, y_test)") from error
    if task is not None:
        require_one_of("task", task, TASKS)
    tidy = tidied(dict(zip(NAMES, (x_train, y_train, x_test, y_test), strict=True)))
    name = sha256_of_arrays(*(tidy[name] for name in NAMES))[:16]
    cache = Path(compose(RunConfig, "train", [o for o in overrides if key_of(o) == "data.cache"]).data.cache)
    path = cache.expanduser().absolute() / "saved" / f"{name}.npz"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            new = path.with_suffix(f".{os.getpid()}.npz")
            np.savez(new, allow_pickle=False, **tidy)  # type: ignore[arg-type, unused-ignore]
            new.replace(path)
    except OSError as error:
        raise unusable_cache(cache, error) from error
    task = task or ("regression" if tidy["y_train"].dtype.kind == "f" else "multiclass")
    return ["data=npz", f"data.name=arrays-{name[:8]}", as_override("data.path", str(path)), f"data.task={task}"]
