"""Datasets travel by Ray's memory, where each lies once per machine."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.config.data import DataConfig
from pipeline.datasets import dataset as data
from pipeline.datasets.cache import source_key


class SharedDatasets:
    """References to datasets in Ray's memory, each put there when a run first needs it."""

    def __init__(self) -> None:
        self.references: dict[str, Any] = {}  # by source

    def reference(self, config: DataConfig) -> tuple[str, Any]:
        """Return the key of a dataset's source, and the reference."""
        import ray

        key = source_key(config)
        if key not in self.references:
            loaded = data.load(config, say=lambda line: None)  # it has been said already
            # Of an array that is mapped from a file, every worker would have a copy of its own.
            train, test, val = (
                data.Examples(np.asarray(each.x), np.asarray(each.y))
                for each in (loaded.train, loaded.test, loaded.val)
            )
            self.references[key] = ray.put(data.Dataset(train, test, val, loaded.sha256))
        return key, self.references[key]
