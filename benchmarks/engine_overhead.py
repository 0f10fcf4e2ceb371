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

from pipeline.tracking.tracker import Tracker
from sweeps.config.study import compose_study
from sweeps.execution.engine import Engine
from sweeps.search.optuna_study import Study
from tests.helpers.fakes import FakePool


def main(trials: int) -> None:
    """Run the sweep and print the cost per trial, of the first and of the last tenth."""
    with tempfile.TemporaryDirectory() as root:
        overrides = [f"store.root={root}", f"study.n_trials={trials}", "store.log_model=none", "study.sampler=random"]
        sweep = compose_study("smoke", overrides)[1]
        study, tracker = Study(sweep), Tracker(sweep.store)
        parent = tracker.open_sweep(sweep.name, {})
        times = [time.perf_counter()]
        complete, prune = study.complete, study.prune

        def noted(tell):  # type: ignore[no-untyped-def]
            def told(*arguments):  # type: ignore[no-untyped-def]
                tell(*arguments)
                times.append(time.perf_counter())

            return told

        study.complete, study.prune = noted(complete), noted(prune)  # type: ignore[method-assign]
        with Engine(sweep, tracker, study, parent, lambda config: "data", FakePool()) as engine:
            engine.run()
    each = [(after - before) * 1000 for before, after in pairwise(times)]
    tenth = max(1, len(each) // 10)
    first, last = fmean(each[:tenth]), fmean(each[-tenth:])
    print(f"{len(each)} trials: {fmean(each):.0f} ms per trial; first tenth {first:.0f} ms, last tenth {last:.0f} ms")
    print(f"last / first: {last / first:.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
