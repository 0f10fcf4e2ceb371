"""Where the parent saturates: the engine with 1 to 256 simulated workers, each of which ends an epoch every 50 ms.

python benchmarks/scaling.py [local|ray] [WORKERS ...]

Nothing is trained; all else is real: engine, Optuna, MLflow, SQLite, and a process (or actor) per worker. Every worker
has three runs of twenty epochs. Prints messages per second beside those that the workers would send if they never
waited, the parent's processor time per run, and how long an epoch waits for its answer.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from rich.console import Console
from simulated_worker import PERIOD
from timed import hardware, print_table

from pipeline.tracking.tracker import Tracker
from sweeps.backends import local
from sweeps.backends.base import Epoch, Message, Resources
from sweeps.backends.local import LocalBackend
from sweeps.config.study import compose_study
from sweeps.execution.session import DataHashes, Session
from sweeps.search.history import History
from sweeps.search.proposers import Sampler
from sweeps.search.storage import open_study

WORKERS, EPOCHS, RUNS_EACH = (1, 4, 16, 64, 256), 20, 3


class Simulated(LocalBackend):
    """Local workers that simulate; notes how long epochs waited for their answers."""

    def __init__(self, workers: int) -> None:
        local.START = Path(__file__).with_name("simulated_worker.py")
        self.latencies: list[float] = []
        self.received = 0
        super().__init__(Resources(workers, 1), max_memory=float("inf"))

    def messages(self, timeout: float) -> Iterator[tuple[str, Message]]:
        """Yield messages, and note what they tell."""
        for key, message in super().messages(timeout):
            self.received += 1
            if isinstance(message, Epoch) and message.epoch > 1:
                self.latencies.append(message.metrics["latency"])
            yield key, message


def measured(workers: int) -> list[str]:
    """Run a search with so many workers; return the table's row."""
    with tempfile.TemporaryDirectory() as root:
        trials = workers * RUNS_EACH
        overrides = [f"study.n_trials={trials}", "study.sampler=random", "study.pruner=none", "store.log_model=none"]
        sweep = compose_study("smoke", [*overrides, f"trainer.epochs={EPOCHS}", f"store.root={root}"])
        console = Console(quiet=True)
        history, tracker = History(open_study(sweep), sweep), Tracker(sweep.store)
        parent = tracker.open_sweep(sweep.name, {})
        with Simulated(workers) as backend:
            time.sleep(2 + workers / 20)  # until all processes have started
            wall, busy = time.perf_counter(), time.process_time()
            session = Session(sweep, tracker, parent, history, backend, console, DataHashes(console))
            session.train(Sampler(sweep, history))
            wall, busy = time.perf_counter() - wall, time.process_time() - busy
        assert len(session.finished) == trials, session.failed
    median, late = np.percentile(backend.latencies, [50, 99]) * 1000
    asked = f"{workers / PERIOD:,.0f}"
    rate = f"{backend.received / wall:,.0f}"
    return [str(workers), asked, rate, f"{busy / trials * 1000:.0f}", f"{median:.1f}", f"{late:.0f}"]


def main(words: list[str]) -> None:
    """Measure, and print the table."""
    header = ["workers", "messages/s, if never waiting", "messages/s", "parent's ms per run"]
    rows = [measured(int(word)) for word in words or map(str, WORKERS)]
    print(hardware() + "\n")
    print_table([*header, "answer, median ms", "99 % within ms"], rows)


if __name__ == "__main__":
    main(sys.argv[1:])
