"""A worker that trains nothing: an epoch every 50 ms. benchmarks/scaling.py runs it in place of the real one.

It needs neither TensorFlow nor data, so that hundreds of them fit on one machine. What it tells as the metric `latency`
is how long its previous epoch waited for the answer, in seconds.
"""

from __future__ import annotations

import sys
import time
from multiprocessing.connection import Connection
from typing import Any

PERIOD = 0.05  # seconds
FINAL = {"parameters": 10.0, "seconds": 1.0, "seconds_per_epoch": PERIOD}


def simulate(job: Any, connection: Any) -> Any:
    """Send an epoch's message every 50 ms and wait for each answer; return how the job ended."""
    from pipeline.training.result import RunResult
    from sweeps.backends.base import Done, Epoch

    result, latency, due = RunResult(), 0.0, time.perf_counter()
    for epoch in range(1, job.run.config.trainer.epochs + 1):
        due += PERIOD
        time.sleep(max(0.0, due - time.perf_counter()))
        metrics = {"train/accuracy": 0.5, "train/loss": 0.5, "val/accuracy": 0.5, "val/loss": 0.5}
        for name, value in metrics.items():
            result.history.setdefault(name, []).append(value)
        sent = time.perf_counter()
        connection.send(Epoch(epoch, metrics | {"latency": latency}))
        goes_on = connection.recv()
        latency = time.perf_counter() - sent
        if not goes_on:
            break
    result.final = FINAL | {"epochs": float(result.epochs)}
    return Done(result)


def main(descriptor: int) -> None:
    """Serve the parent as sweeps/backends/start.py does."""
    connection = Connection(descriptor)
    try:
        sys.path[:], _ = connection.recv()
        while True:
            connection.send(simulate(connection.recv(), connection))
    except (EOFError, ConnectionError):
        return


if __name__ == "__main__":
    main(int(sys.argv[1]))
