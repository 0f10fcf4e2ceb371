"""Networks of the user's own are built once by a worker, before a sweep writes or trains anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pipeline.config.checks import ConfigError
from pipeline.config.data import DataConfig
from pipeline.config.schema import RunConfig
from pipeline.training.identity import resolve
from pipeline.training.inspection import Inspection
from sweeps.backends.base import POLL_SECONDS, Backend, Done, Failed, Inspect


def inspect_networks(
    configs: Iterable[RunConfig],
    data_sha256: Callable[[DataConfig], str],
    backend: Backend,
    timed: bool = False,
    is_known: Callable[[str], bool] = lambda cost_key: False,
) -> dict[str, Inspection]:
    """Build every different network of the user's own; return what it is, by the run's cost key.

    Args:
        configs: Runs whose network `model.builder` builds.
        data_sha256: Gives the hash of a dataset's content.
        backend: Where they are built.
        timed: Whether to measure the seconds of a training step.
        is_known: Whether a run with this cost key was trained before: it need not be built to see that it can be.

    Raises:
        ConfigError: for the first that cannot be built, with the user's own lines of the traceback.
    """
    runs = [resolve(config, data_sha256(config.data), auto=backend.resources.precision) for config in configs]
    waiting = [run for key, run in {run.cost_key: run for run in runs}.items() if not is_known(key)]
    left, inspections = len(waiting), dict[str, Inspection]()
    while left:
        while waiting and backend.idle:
            run = waiting.pop()
            backend.start(Inspect(run.cost_key, run, timed))
        for key, message in backend.messages(POLL_SECONDS):
            if isinstance(message, Failed):
                raise ConfigError(message.reason)
            if isinstance(message, Done) and message.inspection:
                inspections[key] = message.inspection
                left -= 1
    return inspections
