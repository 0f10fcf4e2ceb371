"""A worker that trains nothing: an epoch every 50 ms. benchmarks/scaling.py runs it in place of the real ones.

It needs neither TensorFlow nor data, so that hundreds of them fit on one machine. What it tells as the metric `latency`
is how long its previous epoch waited for the answer, in seconds.
"""

from __future__ import annotations

import os
import pickle
import sys
import time
from collections.abc import Generator
from multiprocessing.connection import Connection
from typing import Any

PERIOD = 0.05  # seconds
FINAL = {"parameters": 10.0, "seconds": 1.0, "seconds_per_epoch": PERIOD}


def simulate(job: Any) -> Generator[Any, bool, None]:
    """Yield what a worker says of a job: a message every 50 ms, then how it ended; each is answered."""
    from pipeline.training.result import RunResult
    from sweeps.backends.base import Done, Epoch

    result, latency, due = RunResult(), 0.0, time.perf_counter()
    for epoch in range(1, job.run.config.trainer.epochs + 1):
        due += PERIOD
        time.sleep(max(0.0, due - time.perf_counter()))
        metrics = {"train/accuracy": 0.5, "train/loss": 0.5, "val/accuracy": 0.5, "val/loss": 0.5}
        for name, value in metrics.items():
            result.history.setdefault(name, []).append(value)
        said = time.perf_counter()
        goes_on = yield Epoch(epoch, metrics | {"latency": latency})
        latency = time.perf_counter() - said
        if not goes_on:
            break
    result.final = FINAL | {"epochs": float(result.epochs)}
    yield Done(result)


class Actor:
    """Stands for sweeps.backends.ray.bootstrap.Bootstrap."""

    def __init__(self, code: bytes, digest: str, folder: str | None, path: list[str], settings: dict[str, Any]) -> None:
        """Take the arguments of the real one; import from where its parent does."""
        sys.path[:] = path

    def hello(self) -> Any:
        """Return what there is to compute with: all that the parent has."""
        import ray

        from pipeline.training.identity import versions
        from sweeps.backends.ray.worker import Hello

        node = ray.get_runtime_context().get_node_id()
        return Hello("here", node, os.getpid(), "none", 1, "float32", versions())

    def begin(self, job: bytes, luggage: Any, source: str, dataset: Any) -> None:
        """Begin a job."""
        self.saying = simulate(pickle.loads(job))

    def talk(self, answer: bool | None, begun: None = None) -> Any:
        """Hand an answer on; return what is said next."""
        from sweeps.backends.ray.worker import Reply

        return Reply([next(self.saying) if answer is None else self.saying.send(answer)], 0.0)


def main(descriptor: int) -> None:
    """Serve the parent as sweeps/backends/start.py does."""
    connection = Connection(descriptor)
    try:
        sys.path[:], _ = connection.recv()
        while True:
            saying = simulate(connection.recv())
            message = next(saying)
            while type(message).__name__ == "Epoch":
                connection.send(message)
                message = saying.send(connection.recv())
            connection.send(message)
    except (EOFError, ConnectionError):
        return


if __name__ == "__main__":
    main(int(sys.argv[1]))
