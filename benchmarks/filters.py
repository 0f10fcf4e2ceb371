"""W1: filters 16, 32, 64 with seeds 0 and 1, two epochs of 60,000 images, tracked; by the peers and by convsweep.

python benchmarks/filters.py [ROUNDS]      # with CONVSWEEP_DATA_DIR, or whatever finds Fashion-MNIST

Every contender runs once per round, in a fresh folder with an empty MLflow database, from its command to its end; the
order turns from round to round, and every second one is reversed. Prints wall times, ratios within each round, peak
memory, test accuracies, and the floor: the arithmetic that the model cannot do without over the rate of a large matrix
product.
"""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from timed import Measured, asked_rounds, convsweep, fresh, hardware, peer, print_table, ratio_told, seconds_told

EPOCHS, FILTERS, SEEDS = 2, (16, 32, 64), (0, 1)
RATE = """
import os, sys, time
from pipeline.system.tensorflow import start_tensorflow
start_tensorflow(None)
import tensorflow as tf
a = tf.cast(tf.random.normal((2048, 2048)), sys.argv[1])
product = tf.function(lambda: tf.matmul(a, a))
def once():
    start = time.perf_counter()
    product().numpy()
    return 2.0 * 2048**3 / (time.perf_counter() - start)
print(max(once() for _ in range(30)))
"""


def course(folder: Path) -> Measured:
    """The course's script, once per config, one after the other, into one database."""
    each = [peer("course.py", (filters, seed, EPOCHS), folder) for seed in SEEDS for filters in FILTERS]
    return sum(each[1:], each[0])


def ours(*overrides: str) -> Callable[[Path], Measured]:
    """The grid as one command of convsweep's."""

    def run(folder: Path) -> Measured:
        told = ["train", "-m", f"model.filters={','.join(map(str, FILTERS))}", f"hydra.sweeper.seeds={list(SEEDS)}"]
        found = convsweep([*told, f"trainer.epochs={EPOCHS}", "hydra.sweeper.name=filters", *overrides], folder)
        with (folder / "mlruns" / "reports" / "filters" / "results.csv").open() as file:
            for row in csv.DictReader(file):
                filters = row["trial"].partition("=")[2]
                found.told[f"{filters}/{row['seed']}"] = float(row["test/accuracy"])
        return found

    return run


CONTENDERS: dict[str, Callable[[Path], Measured]] = {
    "course script, once per config": course,
    "Optuna + MLflow": lambda folder: peer("optuna_mlflow.py", (EPOCHS,), folder),
    "KerasTuner": lambda folder: peer("keras_tuner_grid.py", (EPOCHS,), folder),
    "Ray Tune": lambda folder: peer("ray_tune_grid.py", (EPOCHS,), folder),
    "convsweep, float32": ours("trainer.precision=float32"),
    "convsweep": ours(),
}


def floor(precision: str) -> float:
    """Seconds that the arithmetic alone takes at the rate of a matrix product of side 2048 with all cores."""
    from pipeline.config.compose import compose
    from pipeline.config.schema import RunConfig
    from pipeline.models import layers as model

    operations = 0.0
    for filters in FILTERS:
        config = compose(RunConfig, "train", [f"model.filters={filters}"])
        stack = model.optimized_layers(config.model, config.data, model.layers(config.model, config.data))
        forward = model.multiplications(stack)
        first = forward - model.multiplications([layer for layer in stack if layer.name != "conv_1"])
        # Backward: as much for the weights, as much for the inputs, of which the first layer's are not wanted.
        each = (3 * forward - first) * 60_000 * EPOCHS + forward * (10_000 * EPOCHS + 10_000)
        operations += 2.0 * each * len(SEEDS)
    kind = "bfloat16" if precision == "mixed_bfloat16" else "float32"
    done = subprocess.run([sys.executable, "-c", RATE, kind], capture_output=True, text=True, check=True)
    rate = float(done.stdout.split()[-1])
    print(f"floor in {kind}: {operations / 1e12:.1f} Tflop at {rate / 1e9:.0f} Gflop/s = {operations / rate:.1f} s")
    return operations / rate


def main() -> None:
    """Run the rounds and print the tables."""
    rounds = asked_rounds()
    names = list(CONTENDERS)
    found: dict[str, list[Measured]] = {name: [] for name in names}
    for turn in range(rounds):
        order = names[turn % len(names) :] + names[: turn % len(names)]
        for name in order[:: -1 if turn % 2 else 1]:
            with fresh() as folder:
                found[name].append(CONTENDERS[name](folder))
            print(f"round {turn + 1}, {name}: {found[name][-1].seconds:.1f} s", file=sys.stderr, flush=True)
    times = {name: [each.seconds for each in found[name]] for name in names}
    print(f"W1, {rounds} rounds: {hardware()}\n")
    header = [
        "",
        "seconds, median (each round)",
        "times convsweep's (each round)",
        "times float32's",
        "GiB of the largest process",
    ]
    rows = []
    for name in names:
        peak = f"{max(each.peak for each in found[name]):.2f}"
        ratios = [ratio_told(times[name], times[us]).partition(" ") for us in ("convsweep", "convsweep, float32")]
        rows.append([name, seconds_told(times[name]), "".join(ratios[0]), ratios[1][0], peak])
    print_table(header, rows)
    print("Test accuracy after the last epoch, filters/seed:\n")
    keys = [f"{filters}/{seed}" for filters in FILTERS for seed in SEEDS]
    print_table(["", *keys], [[name, *(f"{found[name][-1].told[key]:.4f}" for key in keys)] for name in names])
    from pipeline.system.hardware import resolve_precision

    for name, precision in (("convsweep", resolve_precision("auto")), ("convsweep, float32", "float32")):
        least = floor(precision)
        best = min(times[name])
        print(f"{name}: best {best:.1f} s, of which the floor is {least / best:.0%}")


if __name__ == "__main__":
    main()
