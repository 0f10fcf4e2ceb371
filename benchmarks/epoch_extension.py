"""W2: epochs 1, 2, 4 and 8 of one config, trained once to the longest, against each trained by itself.

python benchmarks/epoch_extension.py [ROUNDS]      # with CONVSWEEP_DATA_DIR, or whatever finds Fashion-MNIST

Both ways are `convsweep train -m trainer.epochs=1,2,4,8` in a fresh store, one worker, alternating. The second is kept
from joining and continuing by `checkpoints.keep=0` and by a target accuracy that is never passed. Prints seconds and
ratios.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from statistics import median

COMMON = ["trainer.epochs=1,2,4,8", "model.filters=32", "store.log_model=none", "hydra.sweeper.workers=1"]
WAYS = {"once": [], "each by itself": ["checkpoints.keep=0", "trainer.stop_at_accuracy=1.0"]}


def seconds(way: list[str]) -> float:
    """Wall time of one sweep in a fresh store, the database's creation included."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "sweeps.cli", "train", "-m", *COMMON, *way, f"store.root={folder}/mlruns"]
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - start


def main() -> None:
    """Alternate the ways and print what each took."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    times: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(rounds):
        for name, way in WAYS.items():
            times[name].append(seconds(way))
    for name, values in times.items():
        print(f"{name:15} median {median(values):6.1f} s   {', '.join(f'{value:.1f}' for value in values)}")
    ratios = [b / a for a, b in zip(times["once"], times["each by itself"], strict=True)]
    print(f"each by itself / once: median {median(ratios):.2f}   {', '.join(f'{ratio:.2f}' for ratio in ratios)}")


if __name__ == "__main__":
    main()
