"""A process's start: TensorFlow with its threads, no search for a missing GPU, none of its chatter; quick imports."""

from __future__ import annotations

import atexit
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
    gc.disable()
    with _silent_stderr():
        import keras  # noqa: F401
        import tensorflow as tf

        tf.constant(0)  # the first operation logs as well
    # Without looking through half a million objects that stay, a process takes 1.9 s of CPU time instead of 3.1, and
    # Keras's collection before every training nothing instead of 0.2.
    gc.freeze()
    gc.enable()


# New objects after which Python collects garbage: 700 as it comes.
OFTEN_ENOUGH = 100_000


def collect_rarely() -> None:
    """Let Python collect garbage after 100,000 new objects, and not at exit.

    The imports of MLflow, Optuna and Matplotlib take 1.6 s of CPU time instead of 2.4.
    """
    gc.set_threshold(OFTEN_ENOUGH)
    atexit.register(gc.freeze)


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Keep what C++ code writes to file descriptor 2 from the user, unless what is inside fails.

    TF_CPP_MIN_LOG_LEVEL does not reach the lines that TensorFlow 2.21 logs before its logging is set up.
    """
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as chatter:
        os.dup2(chatter.fileno(), 2)
        try:
            yield
        except Exception:
            chatter.seek(0)
            os.write(stderr, chatter.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
