"""What a run costs beside training, by where it is kept: a folder, PostgreSQL, MLflow's server before it.

python benchmarks/stores.py [ROUNDS] [TRIALS]      # PostgreSQL must be installed

Trials of five epochs that take no time, one run each, with params, metrics, tags, a figure and three files: all that
convsweep does but training. The stores take turns within a round, each with a new sweep. Prints milliseconds per run,
the median of the rounds and the rounds, and how they compare with the folder's in the same round.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich.console import Console

from pipeline.tracking.tracker import Tracker
from sweeps.config.study import compose_study
from sweeps.execution.session import DataHashes, Session
from sweeps.search.history import History
from sweeps.search.proposers import Sampler
from sweeps.search.storage import open_study
from tests.helpers.fakes import FakeBackend
from tests.helpers.servers import mlflow_service, postgres, running


def milliseconds_per_run(name: str, trials: int, store: list[str]) -> float:
    """Run a search of so many trials in the store; return what each took."""
    settings = [f"study.name={name}", f"study.n_trials={trials}", "study.sampler=random", "study.pruner=none"]
    sweep, console = compose_study("smoke", [*settings, "store.log_model=none", *store]), Console(quiet=True)
    history, tracker = History(open_study(sweep), sweep), Tracker(sweep.store)
    parent = tracker.open_sweep(sweep.name, {})
    session = Session(sweep, tracker, parent, history, FakeBackend(), console, DataHashes(console))
    start = time.perf_counter()
    session.train(Sampler(sweep, history))
    return (time.perf_counter() - start) * 1000 / trials


def main(rounds: int, trials: int) -> None:
    """Measure all stores in turn, and print the table."""
    with tempfile.TemporaryDirectory() as scratch, postgres() as database:
        folder = Path(scratch)
        for each in ("mlflow", "direct", "optuna", "optuna_direct"):
            database.create(each)
        with running(mlflow_service(folder / "server", database.url("mlflow"))) as server:
            direct = f"store.tracking_uri={database.url('direct')}"
            stores = {
                "SQLite in a folder": [f"store.root={folder / 'sqlite'}"],
                "PostgreSQL, without a server": [
                    *(f"store.root={folder / 'direct'}", direct),
                    f"store.optuna_url={database.url('optuna_direct')}",
                ],
                "MLflow's server and PostgreSQL": [
                    *("store=server", f"store.root={folder / 'client'}"),
                    f"store.tracking_uri=http://127.0.0.1:{server.port}",
                    f"store.optuna_url={database.url('optuna')}",
                ],
            }
            for name, store in stores.items():
                milliseconds_per_run("warm", 2, store)  # makes the databases, and fills caches
                print(f"warm: {name}", file=sys.stderr, flush=True)
            times: dict[str, list[float]] = {name: [] for name in stores}
            for number in range(rounds):
                for name, store in stores.items():
                    times[name].append(milliseconds_per_run(f"round_{number}", trials, store))
                    print(f"round {number}: {name}: {times[name][-1]:.0f} ms", file=sys.stderr, flush=True)
    first = next(iter(times.values()))
    print(f"| store | ms per run, {trials} runs, median of {rounds} rounds | of a folder's, pairwise |")
    print("| --- | --- | --- |")
    for name, each in times.items():
        ratios = [one / other for one, other in zip(each, first, strict=True)]
        told = ", ".join(f"{value:.0f}" for value in each)
        paired = f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"| {name} | {median(each):.0f} ({told}) | {paired} |")


if __name__ == "__main__":
    asked = [int(word) for word in sys.argv[1:]]
    main(asked[0] if asked else 5, asked[1] if len(asked) > 1 else 60)
