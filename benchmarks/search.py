"""W3: 30 trials of filters, dropout, learning rate, to a validation accuracy; by Optuna with MLflow and by convsweep.

python benchmarks/search.py [ROUNDS]      # with CONVSWEEP_DATA_DIR, or whatever finds Fashion-MNIST

All use Optuna's TPE sampler, with another seed each round, on the same 10,000 training and 2,000 validation images,
five epochs a trial; the peer in one process without pruning, convsweep as it does by default, and without pruning.
Prints the time until a trial has reached each target, the time of all trials, the best validation accuracy, and what
the best config's test accuracy is when it is trained again with seeds that the search has not seen (not timed).
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import numpy as np
from timed import Measured, asked_rounds, convsweep, fresh, hardware, peer, print_table, ratio_told, seconds_told

TRIALS, EPOCHS, TARGETS, FRESH_SEEDS = 30, 5, (0.865, 0.875), [100, 101, 102, 103, 104]
DATA = ["data.limit=12000", f"data.val_fraction={1 / 6}"]
SPACE = {
    "model.filters": "8,16,32,64",
    "model.dropout": "interval(0,0.5)",
    "optimizer.learning_rate": "tag(log,interval(0.0003,0.01))",
}


def theirs(seed: int, folder: Path) -> Measured:
    """The peer's study."""
    from pipeline.config.compose import compose
    from pipeline.config.schema import RunConfig
    from pipeline.datasets import dataset as data

    config = compose(RunConfig, "train", DATA)
    parts = data.split(data.load(config.data), config.data, config.seed)  # as convsweep splits it
    arrays = {"x_train": parts.train.x, "y_train": parts.train.y, "x_val": parts.val.x, "y_val": parts.val.y}
    np.savez(folder / "data.npz", **arrays)
    return _looked_up(peer("optuna_mlflow_search.py", (seed, TRIALS, EPOCHS), folder), folder / "optuna.db", folder)


def ours(*overrides: str) -> Callable[[int, Path], Measured]:
    """convsweep's search."""

    def run(seed: int, folder: Path) -> Measured:
        settings = {"n_trials": TRIALS, "sampler_seed": seed, "confirm_seeds": [], "name": "search"}
        told = [f"hydra.sweeper.{key}={value}" for key, value in settings.items()]
        space = [f"{key}={values}" for key, values in SPACE.items()]
        found = convsweep(["train", "-m", *space, *DATA, f"trainer.epochs={EPOCHS}", *told, *overrides], folder)
        return _looked_up(found, folder / "mlruns" / "optuna.db", folder)

    return run


CONTENDERS: dict[str, Callable[[int, Path], Measured]] = {
    "Optuna + MLflow, no pruning": theirs,
    "convsweep, no pruning": ours("hydra.sweeper.pruner=none"),
    "convsweep": ours(),
}


def _looked_up(found: Measured, database: Path, folder: Path) -> Measured:
    """`found` with what the study's storage knows: seconds to each target, trials pruned, best, and its test."""
    import optuna

    study = optuna.load_study(study_name="search", storage=f"sqlite:///{database}")
    complete = study.get_trials(states=[optuna.trial.TrialState.COMPLETE])
    for target in TARGETS:
        ends = [t.datetime_complete.timestamp() for t in complete if t.value >= target]
        found.told[f"{target}"] = min(ends, default=float("inf")) - found.began
    best = {key: study.best_params.get(key, study.best_params.get(key.rpartition(".")[2])) for key in SPACE}
    found.told |= {"pruned": TRIALS - len(complete), "best": study.best_value, "tested": _tested(best, folder)}
    return found


def _tested(params: dict[str, object], folder: Path) -> float:
    """Mean test accuracy of a config over fresh seeds."""
    config = [f"{key}={value}" for key, value in params.items()]
    seeds = [f"seed={','.join(map(str, FRESH_SEEDS))}", "hydra.sweeper.name=tested"]
    convsweep(["train", "-m", *config, *DATA, f"trainer.epochs={EPOCHS}", *seeds], folder)
    with (folder / "mlruns" / "reports" / "tested" / "results.csv").open() as file:
        return fmean(float(row["test/accuracy"]) for row in csv.DictReader(file))


def main() -> None:
    """Run the rounds and print the table."""
    rounds = asked_rounds()
    found: dict[str, list[Measured]] = {name: [] for name in CONTENDERS}
    for seed in range(rounds):
        for name in list(CONTENDERS)[:: 1 if seed % 2 else -1]:
            with fresh() as folder:
                each = CONTENDERS[name](seed, folder)
            found[name].append(each)
            print(f"round {seed + 1}, {name}: {each.seconds:.1f} s, {each.told}", file=sys.stderr, flush=True)
    print(f"W3, {rounds} sampler seeds: {hardware()}\n")
    total = {name: [each.seconds for each in found[name]] for name in CONTENDERS}
    rows = []
    for name, each in found.items():
        to_targets = [seconds_told([one.told[f"{target}"] for one in each]) for target in TARGETS]
        accuracies = [", ".join(f"{one.told[key]:.4f}" for one in each) for key in ("best", "tested")]
        pruned = ", ".join(f"{one.told['pruned']}" for one in each)
        times = ratio_told(total[name], total["convsweep"])
        rows.append([name, *to_targets, seconds_told(total[name]), times, pruned, *accuracies])
    header = [
        "",
        *(f"seconds to {target}" for target in TARGETS),
        "seconds for all trials",
        "times convsweep's",
        "pruned",
        "best validation accuracy",
        "its test accuracy, fresh seeds",
    ]
    print_table(header, rows)


if __name__ == "__main__":
    main()
