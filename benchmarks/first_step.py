"""From the command to the end of its first training step, in a store that is new and in one that is there.

python benchmarks/first_step.py [ROUNDS]      # with CONVSWEEP_DATA_DIR, or whatever finds Fashion-MNIST

An epoch of one step on 32 images, evaluated on 32: seconds until its line is printed, beside the import of TensorFlow
alone.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from timed import ROOT, asked_rounds, fresh, hardware, print_table, seconds_told

ONE_STEP = ["data.limit=32", "trainer.epochs=1", "trainer.steps_per_epoch=1", "store.log_model=none"]
COMMANDS = {"convsweep train": ["train"], "a sweep of two runs": ["train", "-m", "seed=0,1"]}


def seconds(command: list[str], until: str) -> float:
    """Seconds until the command prints a line with `until` in it; or, where that is empty, until it ends."""
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = []
    for line in process.stdout or []:
        lines.append(line)
        if until and until in line:
            found = time.perf_counter() - start
            process.communicate()
            return found
    if until or process.wait():
        sys.exit(f"{' '.join(command)} failed:\n{''.join(lines)}")
    return time.perf_counter() - start


def first_step(command: list[str], folder: Path) -> float:
    """Seconds from a command of convsweep's to the line of its first epoch."""
    store = [*ONE_STEP, f"store.root={folder}/mlruns"]
    return seconds([sys.executable, "-m", "sweeps.cli.main", *command, *store], "epoch 1/1")


def main() -> None:
    """Take turns and print the table."""
    rounds = asked_rounds()
    alone = "TensorFlow's import"
    kinds = [f"{name}, {kind}" for name in COMMANDS for kind in ("new store", "migrated store")]
    times: dict[str, list[float]] = {name: [] for name in [alone, *kinds]}
    for _ in range(rounds):
        times[alone].append(seconds([sys.executable, "-c", "import tensorflow"], ""))
        for name, command in COMMANDS.items():
            with tempfile.TemporaryDirectory() as scratch:
                times[f"{name}, new store"].append(first_step(command, Path(scratch)))
            with fresh() as folder:
                times[f"{name}, migrated store"].append(first_step(command, folder))
    print(f"First step, {rounds} rounds: {hardware()}\n")
    print_table(["", "seconds"], [[name, seconds_told(each)] for name, each in times.items()])


if __name__ == "__main__":
    main()
