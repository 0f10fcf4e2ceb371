"""W4: a network and arrays of one's own, three widths with two seeds each, by KerasTuner and by convsweep.

python benchmarks/own_model.py [ROUNDS]      # with CONVSWEEP_DATA_DIR, or whatever finds Fashion-MNIST

The network is the function `mixer` of examples/mixer/nets.py, the arrays are 10,000 + 10,000 images of Fashion-MNIST in
an .npz file; both tools are given that function and that file, in a fresh folder, and take turns. Both compute in
float32, with Adam, the same epochs and batches. Prints wall times, ratios within each round, processor times, and test
accuracies.
"""

from __future__ import annotations

import csv
import shutil
import sys
from pathlib import Path

import numpy as np
from timed import ROOT, Measured, asked_rounds, convsweep, fresh, hardware, peer, print_table, ratio_told, seconds_told

EPOCHS, BATCH_SIZE, WIDTHS, SEEDS, IMAGES = 2, 128, (16, 32, 64), (0, 1), 10_000


def prepare(folder: Path) -> None:
    """Put the network's module and the arrays into the folder."""
    from pipeline.config.compose import compose
    from pipeline.config.schema import RunConfig
    from pipeline.datasets import dataset as data

    sets = data.load(compose(RunConfig, "train", []).data)
    arrays = {"x_train": sets.train.x[:IMAGES], "y_train": sets.train.y[:IMAGES]}
    np.savez(folder / "data.npz", **arrays, x_test=sets.test.x, y_test=sets.test.y)
    shutil.copy(ROOT / "examples" / "mixer" / "nets.py", folder)


def theirs(folder: Path) -> Measured:
    """KerasTuner's grid search."""
    widths, seeds = (",".join(map(str, values)) for values in (WIDTHS, SEEDS))
    return peer("keras_tuner_own.py", (EPOCHS, BATCH_SIZE, widths, seeds), folder)


def ours(folder: Path) -> Measured:
    """convsweep's grid, as one command."""
    data = ["data=npz", "data.name=subset", f"data.path={folder / 'data.npz'}", "data.scale=255.0"]
    model = ["model=builder", "model.builder=nets:mixer", f"model.args.width={','.join(map(str, WIDTHS))}"]
    trainer = [f"trainer.epochs={EPOCHS}", f"trainer.batch_size={BATCH_SIZE}", "trainer.precision=float32"]
    sweep = [f"hydra.sweeper.seeds={list(SEEDS)}", "hydra.sweeper.name=own"]
    found = convsweep(["train", "-m", *data, *model, *trainer, *sweep], folder)
    with (folder / "mlruns" / "reports" / "own" / "results.csv").open() as file:
        for row in csv.DictReader(file):
            found.told[f"{row['trial'].partition('=')[2]}/{row['seed']}"] = float(row["test/accuracy"])
    return found


CONTENDERS = {"KerasTuner": theirs, "convsweep": ours}


def main() -> None:
    """Run the rounds and print the tables."""
    rounds = asked_rounds()
    found: dict[str, list[Measured]] = {name: [] for name in CONTENDERS}
    for turn in range(rounds):
        for name in list(CONTENDERS)[:: -1 if turn % 2 else 1]:
            with fresh() as folder:
                prepare(folder)
                found[name].append(CONTENDERS[name](folder))
            print(f"round {turn + 1}, {name}: {found[name][-1].seconds:.1f} s", file=sys.stderr, flush=True)
    times = {name: [each.seconds for each in found[name]] for name in CONTENDERS}
    print(f"W4, {rounds} rounds: {hardware()}\n")
    busy = {name: [each.processor for each in found[name]] for name in CONTENDERS}
    rows = [
        [name, seconds_told(times[name]), ratio_told(times[name], times["convsweep"]), seconds_told(busy[name])]
        for name in CONTENDERS
    ]
    header = ["", "seconds, median (each round)", "times convsweep's (each round)", "seconds of processor time"]
    print_table(header, rows)
    print("Test accuracy, width/seed:\n")
    keys = [f"{width}/{seed}" for width in WIDTHS for seed in SEEDS]
    print_table(["", *keys], [[name, *(f"{found[name][-1].told[key]:.4f}" for key in keys)] for name in CONTENDERS])


if __name__ == "__main__":
    main()
