"""What a worker does, wherever it runs: train runs and log models until the parent is gone."""

from __future__ import annotations

import traceback
from typing import Any, Protocol

from pipeline.config.checks import ConfigError
from pipeline.config.code import user_lines
from pipeline.config.data import DataConfig
from pipeline.config.functions import receive
from pipeline.datasets import dataset as data
from pipeline.datasets.cache import source_key
from pipeline.system.hardware import processor
from pipeline.system.messages import one_line
from pipeline.system.tensorflow import start_tensorflow
from pipeline.training.inspection import inspect
from pipeline.training.result import TrainingError
from pipeline.training.trainer import train
from sweeps.backends.base import AnyJob, Done, Epoch, Failed, Inspect, Job, LogModel, Steps

Datasets = dict[str, data.Dataset]


class Channel(Protocol):
    """A worker's end of what joins it to the parent; both raise EOFError or ConnectionError if that is gone."""

    def send(self, message: Any, /) -> None:
        """Send a message."""

    def recv(self) -> Any:
        """Wait for a job or an answer."""


def serve(connection: Channel, threads: int, functions: bytes, datasets: Datasets | None = None) -> None:
    """Do what arrives on the connection.

    Args:
        connection: Where jobs come from, and messages go to.
        threads: Threads of TensorFlow.
        functions: The parent's registered functions, as shipped.
        datasets: Those that are here already, by source; None for none.
    """
    start_tensorflow(threads)
    unusable = _received(functions)  # may import TensorFlow, so not before
    known: Datasets = {} if datasets is None else datasets
    try:
        while True:
            job: AnyJob = connection.recv()
            connection.send(unusable or _do(job, connection, known))
    except (EOFError, ConnectionError):
        return


def _received(functions: bytes) -> Failed | None:
    """Register the parent's functions; return how every job fails if that is not possible."""
    try:
        receive(functions)
    except Exception as error:
        return Failed(f"functions of the program cannot be unpickled: {one_line(error)}", traceback.format_exc())
    return None


def _do(job: AnyJob, connection: Channel, datasets: Datasets) -> Done | Failed:
    try:
        match job:
            case LogModel():
                return _log_model(job, datasets)
            case Inspect(run=run, timed=timed):
                return Done(inspection=inspect(run, timed))
            case _:
                return _train(job, connection, datasets)
    except ConfigError as error:  # it would be wrong again
        return Failed(str(error), traceback.format_exc(), is_final=True)
    except TrainingError as error:
        return Failed(str(error), traceback.format_exc())
    except (EOFError, ConnectionError):
        raise
    except Exception as error:
        return Failed("\n  ".join([one_line(error), *user_lines(error)]), traceback.format_exc())


def _train(job: Job, connection: Channel, datasets: Datasets) -> Done:
    def on_epoch(epoch: int, metrics: dict[str, float]) -> bool:
        connection.send(Epoch(epoch, metrics))
        return bool(connection.recv())

    def on_steps(epoch: int, step: int, steps: int, metrics: dict[str, float]) -> None:
        connection.send(Steps(epoch, step, steps, metrics))

    result = train(job.run, on_epoch, on_steps, _loaded(job.run.config.data, datasets), job.checkpoints)
    return Done(result, processor=processor())


def _log_model(job: LogModel, datasets: Datasets) -> Done:
    from pipeline.inference.load import find_model
    from pipeline.run import train_again
    from pipeline.tracking.tracker import Tracker

    tracker = Tracker(job.config.store)
    net = find_model(job.config, job.run, tracker, trust=True)  # the user's own config names its code
    if net is None:
        net = train_again(job.config, job.run, _loaded(job.config.data, datasets))
    tracker.models.log(job.run.run_id, net, job.config.data)
    return Done()


def _loaded(config: DataConfig, datasets: Datasets) -> data.Dataset:
    """Load a dataset once per worker."""
    key = source_key(config)
    if key not in datasets:
        datasets[key] = data.load(config, say=lambda line: None)  # the parent has said it already
    return datasets[key]
