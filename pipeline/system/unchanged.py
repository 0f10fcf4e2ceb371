"""Leave the program that imports convsweep as it was: what libraries set for the whole process is put back."""

from __future__ import annotations

import gc
import logging
import os
import random
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from pipeline.system.tensorflow import OFTEN_ENOUGH

# Loggers whose level we change, and the level that their library gives them when it is imported.
LOGGERS = {
    "tensorflow": logging.NOTSET,
    "alembic": logging.NOTSET,
    "mlflow": logging.INFO,
    "mlflow.store.db.utils": logging.NOTSET,
    "optuna": logging.INFO,
    "PIL": logging.NOTSET,
}

_lock = threading.Lock()
_calls = 0  # that are going on, in all threads: the first one notes, the last one puts back
_noted = ExitStack()


@contextmanager
def unchanged() -> Iterator[None]:
    """Put back what is inside changes for the whole process.

    That is: environment variables, the import path, logging levels, filters of warnings, thresholds of the garbage
    collector, random generators of Python and NumPy, MLflow's tracking address, and Keras's policy, float type, epsilon
    and image format. Calls in several threads at a time share one state: it is put back when the last one ends.
    """
    global _calls
    with _lock:
        _calls += 1
        if _calls == 1:
            for put_back in _note():
                _noted.callback(put_back)
            gc.set_threshold(OFTEN_ENOUGH)
            warnings.filterwarnings("ignore", "IProgress not found")  # tqdm's, which libraries import, in a notebook
    try:
        yield
    finally:
        with _lock:
            _calls -= 1
            if _calls == 0:
                _noted.close()


def _note() -> Iterator[Callable[[], object]]:
    """Yield what puts back each state of now."""
    environment, path, filters, threshold = dict(os.environ), list(sys.path), list(warnings.filters), gc.get_threshold()
    yield partial(_put_back_environment, environment)
    yield partial(sys.path.__setitem__, slice(None), path)
    yield partial(_put_back_filters, filters)
    yield partial(gc.set_threshold, *threshold)
    yield partial(random.setstate, random.getstate())
    yield gc.unfreeze if gc.get_freeze_count() == 0 else gc.get_freeze_count
    for name, imported in LOGGERS.items():
        logger, is_imported = logging.getLogger(name), name.partition(".")[0] in sys.modules
        yield partial(logger.setLevel, logger.level if is_imported else imported)
    if "numpy" in sys.modules:
        import numpy as np

        yield partial(np.random.set_state, np.random.get_state())
    yield _of_mlflow()
    yield _of_keras()


def _put_back_environment(before: dict[str, str]) -> None:
    for name in os.environ.keys() | before:
        if os.environ.get(name) != before.get(name):
            os.environ.pop(name, None)
            os.environ.update({name: before[name]} if name in before else {})


def _put_back_filters(before: list[Any]) -> None:
    warnings.filters[:] = before  # type: ignore[index]
    with warnings.catch_warnings():  # leaving it tells Python that the filters are others
        pass


def _of_mlflow() -> Callable[[], object]:
    """Return what puts back MLflow's tracking address: none, if it is imported meanwhile."""
    module = "mlflow.tracking._tracking_service.utils"
    before = getattr(sys.modules.get(module), "_tracking_uri", None)

    def put_back() -> None:
        if module in sys.modules:
            sys.modules[module].set_tracking_uri(before)

    return put_back


def _of_keras() -> Callable[[], object]:
    """Return what puts back Keras's settings: its defaults, if it is imported meanwhile."""
    if "keras" not in sys.modules:
        return lambda: "keras" in sys.modules and sys.modules["keras"].config.set_dtype_policy("float32")
    import keras

    of = keras.config
    floatx, epsilon, format, policy = of.floatx(), of.epsilon(), of.image_data_format(), of.dtype_policy()

    def put_back() -> None:
        of.set_floatx(floatx)
        of.set_epsilon(epsilon)
        of.set_image_data_format(format)
        of.set_dtype_policy(policy)

    return put_back
