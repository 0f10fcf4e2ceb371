"""What the engine costs per trial beside training: 1,000 trials whose runs take no time, on real stores.

python benchmarks/engine_overhead.py [TRIALS]
"""

from __future__ import annotations

import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import fmean

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich.console import Console

from pipeline.tracking.tracker import Tracker
from sweeps.config.study import compose_study
from sweeps.execution.session import DataHashes, Session
from sweeps.search.history import History
from sweeps.search.proposers import Outcome, Sampler
from sweeps.search.storage import open_study
from sweeps.sweep import Trial
from tests.helpers.fakes import FakeBackend


class Timed(Sampler):
    """A sampler that notes when each trial was recorded."""

    times: list[float]

    def record(self, trial: Trial, outcome: Outcome) -> None:
        """Record, and note the time."""
        super().record(trial, outcome)
        self.times.append(time.perf_counter())


def main(trials: int) -> None:
    """Run the sweep and print the cost per trial, of the first and of the last tenth."""
    with tempfile.TemporaryDirectory() as root:
        overrides = [f"store.root={root}", f"study.n_trials={trials}", "store.log_model=none", "study.sampler=random"]
        sweep, console = compose_study("smoke", overrides), Console(quiet=True)
        history, tracker = History(open_study(sweep), sweep), Tracker(sweep.store)
        parent = tracker.open_sweep(sweep.name, {})
        sampler = Timed(sweep, history)
        sampler.times = times = [time.perf_counter()]
        Session(sweep, tracker, parent, history, FakeBackend(), console, DataHashes(console)).train(sampler)
    each = [(after - before) * 1000 for before, after in pairwise(times)]
    tenth = max(1, len(each) // 10)
    first, last = fmean(each[:tenth]), fmean(each[-tenth:])
    print(f"{len(each)} trials: {fmean(each):.0f} ms per trial; first tenth {first:.0f} ms, last tenth {last:.0f} ms")
    print(f"last / first: {last / first:.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
