"""Where the parent saturates: the engine with 1 to 256 simulated workers, each of which ends an epoch every 50 ms.

python benchmarks/scaling.py local|ray [WORKERS ...]

Nothing is trained; all else is real: engine, Optuna, MLflow, SQLite, and a process or an actor per worker. Every worker
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
import simulated_worker
from rich.console import Console
from timed import hardware, print_table

from pipeline.tracking.tracker import Tracker
from sweeps.backends import local
from sweeps.backends.base import Backend, Epoch, Message, Resources
from sweeps.config.study import compose_study
from sweeps.execution.session import DataHashes, Session
from sweeps.search.history import History
from sweeps.search.proposers import Sampler
from sweeps.search.storage import open_study
from sweeps.sweep import Sweep

WORKERS, EPOCHS, RUNS_EACH = (1, 4, 16, 64, 256), 20, 3


def on_processes(sweep: Sweep, workers: int) -> Backend:
    """Return the local backend, whose processes simulate."""
    local.START = Path(simulated_worker.__file__)
    return local.LocalBackend(Resources(workers, 1, "float32"), max_memory=float("inf"))


def on_actors(sweep: Sweep, workers: int) -> Backend:
    """Return the Ray backend, whose actors simulate, on a cluster that is started here."""
    import ray

    from sweeps.backends.ray import bootstrap
    from sweeps.backends.ray.backend import RayBackend

    ray.cloudpickle.register_pickle_by_value(simulated_worker)
    bootstrap.Bootstrap = simulated_worker.Actor
    return RayBackend(sweep, lambda line: None)


BACKENDS = {"local": on_processes, "ray": on_actors}


def measured(kind: str, workers: int) -> list[str]:
    """Run a search with so many workers; return the table's row."""
    with tempfile.TemporaryDirectory() as root:
        trials = workers * RUNS_EACH
        overrides = [f"study.n_trials={trials}", "study.sampler=random", "study.pruner=none", "store.log_model=none"]
        overrides += [f"trainer.epochs={EPOCHS}", "trainer.precision=float32", "trainer.threads=1"]
        if kind == "ray":  # so little of a core that all fit
            overrides += ["backend=ray", f"backend.workers={workers}", "backend.cpus=0.001"]
        sweep = compose_study("smoke", [*overrides, f"store.root={root}"])
        console = Console(quiet=True)
        history, tracker = History(open_study(sweep), sweep), Tracker(sweep.store)
        parent = tracker.open_sweep(sweep.name, {})
        received, latencies = 0, []
        with BACKENDS[kind](sweep, workers) as backend:
            messages = backend.messages

            def counted(timeout: float) -> Iterator[tuple[str, Message]]:
                nonlocal received
                for key, message in messages(timeout):
                    received += 1
                    if isinstance(message, Epoch) and message.epoch > 1:
                        latencies.append(message.metrics["latency"])
                    yield key, message

            backend.messages = counted  # type: ignore[method-assign]
            until = time.monotonic() + 2 + workers / 20
            while backend.idle < workers or time.monotonic() < until:  # until all have started
                assert not list(messages(0.25))
            wall, busy = time.perf_counter(), time.process_time()
            session = Session(sweep, tracker, parent, history, backend, console, DataHashes(console))
            session.train(Sampler(sweep, history))
            wall, busy = time.perf_counter() - wall, time.process_time() - busy
        assert len(session.finished) == trials, session.failed
    median, late = np.percentile(latencies, [50, 99]) * 1000
    rates = f"{workers / simulated_worker.PERIOD:,.0f}", f"{received / wall:,.0f}"
    return [f"{kind}, {workers}", *rates, f"{busy / trials * 1000:.0f}", f"{median:.1f}", f"{late:.0f}"]


def main(words: list[str]) -> None:
    """Measure, and print the table."""
    kinds = [word for word in words if word in BACKENDS] or list(BACKENDS)
    counts = [int(word) for word in words if word not in BACKENDS] or WORKERS
    rows = [measured(kind, workers) for workers in counts for kind in kinds]
    print(hardware() + "\n")
    header = ["workers", "messages/s, if none waited", "messages/s", "parent's ms per run"]
    print_table([*header, "answer, median ms", "99 % within ms"], rows)


if __name__ == "__main__":
    main(sys.argv[1:])
