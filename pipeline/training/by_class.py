"""Test accuracy by class: the metrics `test/accuracy/CLASS`, one per class."""

from __future__ import annotations

import re

import numpy as np

from pipeline.config.data import DataConfig

BY_CLASS = "test/accuracy/"
MOST_CLASSES = 100  # a metric each; with more classes none has one
LONGEST = 200  # characters of a class; databases keep 250 of a metric's name
REFUSED = re.compile(r"[^\w.\- ]")  # by MLflow, on some system; / would be a folder of its pages


def class_metrics(data: DataConfig) -> list[str]:
    """Return the name of each class's metric, in the order of the labels; none for a regression or many classes.

    What no metric's name may hold is replaced: T-shirt/top is `test/accuracy/T-shirt_top`. Where that leaves a class
    without a name of its own (databases may ignore case), all are numbered, as in `test/accuracy/class 0`.
    """
    if not data.has_classes or len(data.class_names) > MOST_CLASSES:
        return []
    names = [REFUSED.sub("_", name)[:LONGEST].strip(" .") for name in data.class_names]
    is_clear = all(names) and len({name.casefold() for name in names}) == len(names)
    return [BY_CLASS + (name if is_clear else f"class {label}") for label, name in enumerate(names)]


def accuracy_by_class(data: DataConfig, labels: np.ndarray, hits: np.ndarray) -> dict[str, float]:
    """Return the accuracy of each class that has examples.

    Args:
        data: The dataset, whose classes have metrics.
        labels: Of the test set, shape (n,).
        hits: How many examples of each class are right, shape (classes,).
    """
    counts = np.bincount(labels.astype(np.int64), minlength=len(hits))
    named = zip(class_metrics(data), hits, counts, strict=True)
    return {name: float(right) / int(count) for name, right, count in named if count}
