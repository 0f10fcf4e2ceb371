"""A process's start: TensorFlow with its threads, no search for a missing GPU, none of its chatter; quick imports."""

from __future__ import annotations

import gc
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.system.hardware import cores, has_gpu


def start_tensorflow(threads: int | None) -> None:
    """Import TensorFlow with so many threads (None: all cores), unless it is imported, and set Keras's defaults."""
    # They win over ~/.keras/keras.json, which is the user's for other work.
    os.environ |= {"KERAS_BACKEND": "tensorflow", "KERAS_NNX_ENABLED": "false"}
    if "tensorflow" not in sys.modules:
        _import_tensorflow(threads)
    import keras

    keras.config.set_floatx("float32")
    keras.config.set_image_data_format("channels_last")
    keras.config.set_epsilon(1e-7)


def _import_tensorflow(threads: int | None) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ[name] = str(threads or cores())
    if has_gpu():
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # workers share it
        os.environ.setdefault("TF_DETERMINISTIC_OPS", "1")
    else:
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of tracing at every few models
    with _silent_stderr(), _not_imported("matplotlib", "pandas", "sklearn"):
        import tensorflow as tf

        tf.constant(0)  # the first operation has its own chatter


def draw_off_screen() -> None:
    """Let Matplotlib draw into files; to be called before it is imported.

    A notebook hands MPLBACKEND on to the commands that it runs; where its package is not installed, the import raises.
    """
    os.environ["MPLBACKEND"] = "agg"


def collect_rarely() -> None:
    """Let Python look for garbage after 100,000 new objects instead of 700.

    Imports make a million that stay: looking through them, again and again, is a quarter of TensorFlow's start-up.
    """
    gc.set_threshold(100_000)


@contextmanager
def _not_imported(*names: str) -> Iterator[None]:
    """Let these packages look as if they were not installed, unless they are imported already.

    Keras imports them where it finds them, for wrappers and plots of which training uses none: a third of its start-up.
    """
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # as Python's import system has it
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Keep what C++ code writes to file descriptor 2 from the user, unless what is inside fails.

    TF_CPP_MIN_LOG_LEVEL does not reach the lines that TensorFlow 2.21 logs before its logging is set up.
    """
    kept = os.dup(2)
    with tempfile.TemporaryFile() as chatter:
        os.dup2(chatter.fileno(), 2)
        try:
            yield
        except Exception:
            chatter.seek(0)
            os.write(kept, chatter.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
