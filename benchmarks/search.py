"""W3: 30 trials of filters, dropout, learning rate, to a validation accuracy; by Optuna with MLflow and by convsweep.

python benchmarks/search.py [ROUNDS]      # with CONVSWEEP_DATA_DIR, or whatever finds Fashion-MNIST

Both use Optuna's TPE sampler, with another seed each round, on the same 10,000 training and 2,000 validation pictures,
five epochs a trial; the peer in one process without pruning, convsweep as it does by default. Prints the time until a
trial has reached the target, the time of all trials, and the best accuracy.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from timed import Measured, asked_rounds, convsweep, fresh, hardware, peer, print_table, ratio_told, seconds_told

TRIALS, EPOCHS, TARGET = 30, 5, 0.865
DATA = ["data.limit=12000", f"data.val_fraction={1 / 6}"]
SPACE = [
    "model.filters=8,16,32,64",
    "model.dropout=interval(0,0.5)",
    "optimizer.learning_rate=tag(log,interval(0.0003,0.01))",
]


def theirs(seed: int, folder: Path) -> Measured:
    """The peer's study."""
    from pipeline import data
    from pipeline.config import RunConfig, compose

    config = compose(RunConfig, "train", DATA)
    parts = data.split(data.load(config.data), config)  # as convsweep splits it
    arrays = {"x_train": parts.train.x, "y_train": parts.train.y, "x_val": parts.val.x, "y_val": parts.val.y}
    np.savez(folder / "data.npz", **arrays)
    return peer("optuna_mlflow_search.py", (seed, TRIALS, EPOCHS, TARGET), folder)


def ours(seed: int, folder: Path) -> Measured:
    """convsweep's search; when it reached the target is in its Optuna storage."""
    settings = {"n_trials": TRIALS, "sampler_seed": seed, "confirm_seeds": [], "name": "search"}
    told = [f"hydra.sweeper.{key}={value}" for key, value in settings.items()]
    found = convsweep(["train", "-m", *SPACE, *DATA, f"trainer.epochs={EPOCHS}", *told], folder)
    import optuna

    trials = optuna.load_study(study_name="search", storage=f"sqlite:///{folder}/mlruns/optuna.db").get_trials()
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    reached = [t.datetime_complete.timestamp() for t in complete if t.value >= TARGET]
    found.told = {"best": max(t.value for t in complete), "trials": len(trials), "complete": len(complete)}
    found.told |= {"reached": min(reached)} if reached else {}
    return found


def main() -> None:
    """Run the rounds and print the table."""
    rounds = asked_rounds()
    ways = {"Optuna + MLflow, no pruning": theirs, "convsweep": ours}
    found: dict[str, list[Measured]] = {name: [] for name in ways}
    for seed in range(rounds):
        for name in list(ways)[:: 1 if seed % 2 else -1]:
            with fresh() as folder:
                each = ways[name](seed, folder)
            found[name].append(each)
            print(f"round {seed + 1}, {name}: {each.seconds:.1f} s, {each.told}", file=sys.stderr, flush=True)
    print(f"W3, {rounds} sampler seeds, target {TARGET}: {hardware()}\n")
    reached = {n: [e.told.get("reached", float("inf")) - e.began for e in found[n]] for n in ways}
    total = {n: [e.seconds for e in found[n]] for n in ways}
    us = "convsweep"
    rows = []
    for name in ways:
        best = ", ".join(f"{each.told['best']:.4f}" for each in found[name])
        to_target = [seconds_told(reached[name]), ratio_told(reached[name], reached[us])]
        rows.append([name, *to_target, seconds_told(total[name]), ratio_told(total[name], total[us]), best])
    header = [
        "",
        "seconds to target",
        "times convsweep's",
        "seconds for all trials",
        "times convsweep's",
        "best accuracy",
    ]
    print_table(header, rows)


if __name__ == "__main__":
    main()
