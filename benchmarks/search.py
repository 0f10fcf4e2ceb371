"""W3: a search of filters, dropout, learning rate by Optuna with MLflow and by convsweep: how fast, and how good.

python benchmarks/search.py [ROUNDS]              # 30 trials each; with CONVSWEEP_DATA_DIR, or what finds Fashion-MNIST
python benchmarks/search.py ROUNDS SECONDS        # as many trials as fit into the time, finalists included

All use Optuna's TPE sampler, with another seed each round, on the same 10,000 training and 2,000 validation images,
five epochs a trial; the peer in one process without pruning, convsweep as it does by default, without finalists, and
without pruning, too. Prints the time until a trial has reached each target, that of the whole search, the best
validation accuracy, and the test accuracy of the config that the search chose, trained again with seeds that it has not
seen (not timed).
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
import yaml
from timed import Measured, asked_rounds, convsweep, fresh, hardware, peer, print_table, ratio_told, seconds_told

from pipeline.config.compose import flatten
from sweeps.claims.statistics import interval_of

if TYPE_CHECKING:
    import optuna

TRIALS, EPOCHS, TARGETS, FRESH_SEEDS = 30, 5, (0.865, 0.875), [100, 101, 102, 103, 104]
SECONDS = int(sys.argv[2]) if len(sys.argv) > 2 else None
# What of the time the search itself has, where finalists are trained after it.
BEFORE_FINALISTS = 0.5
if SECONDS:
    TRIALS = 1000  # more than fit
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
    found = peer("optuna_mlflow_search.py", (seed, TRIALS, SECONDS or 86_400, EPOCHS), folder)
    study = _study(folder / "optuna.db")
    return _looked_up(found, study, {key: study.best_params[key.rpartition(".")[2]] for key in SPACE}, folder)


def ours(**settings: object) -> Callable[[int, Path], Measured]:
    """convsweep's search."""

    def run(seed: int, folder: Path) -> Measured:
        given = {"n_trials": TRIALS, "sampler_seed": seed, "confirm_seeds": [], "name": "search", **settings}
        if SECONDS:
            given["timeout"] = SECONDS * (1 if given.get("finalists") == 1 else BEFORE_FINALISTS)
        told = [f"hydra.sweeper.{key}={value}" for key, value in given.items()]
        space = [f"{key}={values}" for key, values in SPACE.items()]
        found = convsweep(["train", "-m", *space, *DATA, f"trainer.epochs={EPOCHS}", *told], folder)
        chosen = yaml.safe_load((folder / "mlruns" / "reports" / "search" / "best.yaml").read_text())
        params = {key: flatten(chosen)[key] for key in SPACE}
        return _looked_up(found, _study(folder / "mlruns" / "optuna.db"), params, folder)

    return run


CONTENDERS: dict[str, Callable[[int, Path], Measured]] = {
    "Optuna + MLflow, no pruning": theirs,
    "convsweep, no pruning, no finalists": ours(pruner="none", finalists=1),
    "convsweep, no finalists": ours(finalists=1),
    "convsweep, no pruning": ours(pruner="none"),
    "convsweep": ours(),
}


def _study(database: Path) -> optuna.Study:
    import optuna

    return optuna.load_study(study_name="search", storage=f"sqlite:///{database}")


def _looked_up(found: Measured, study: optuna.Study, chosen: dict[str, object], folder: Path) -> Measured:
    """`found` with what the study knows: seconds to each target, trials, those pruned, best, and the chosen's test."""
    import optuna

    complete = study.get_trials(states=[optuna.trial.TrialState.COMPLETE])
    for target in TARGETS:
        ends = [t.datetime_complete.timestamp() for t in complete if t.value >= target]
        found.told[f"{target}"] = min(ends, default=float("inf")) - found.began
    pruned = len(study.get_trials(states=[optuna.trial.TrialState.PRUNED]))
    found.told |= {"trials": len(complete) + pruned, "pruned": pruned, "best": study.best_value}
    found.told["tested"] = _tested(chosen, folder)
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
    print(f"W3, {rounds} sampler seeds{f', {SECONDS} s each' if SECONDS else ''}: {hardware()}\n")
    total = {name: [each.seconds for each in found[name]] for name in CONTENDERS}
    rows = []
    for name, each in found.items():
        to_targets = [seconds_told([one.told[f"{target}"] for one in each]) for target in TARGETS]
        counts = [f"{fmean(one.told[key] for one in each):.0f}" for key in ("trials", "pruned")]
        accuracies = [f"{fmean(one.told[key] for one in each):.4f}" for key in ("best", "tested")]
        against = [a.told["tested"] - b.told["tested"] for a, b in zip(each, found["convsweep"], strict=True)]
        interval = interval_of(against, 0.95)
        difference = f"{fmean(against):+.4f}" + (f" ± {(interval[1] - interval[0]) / 2:.4f}" if interval else "")
        times = ratio_told(total[name], total["convsweep"])
        rows.append([name, *to_targets, seconds_told(total[name]), times, *counts, *accuracies, difference])
    header = [
        "",
        *(f"seconds to {target}" for target in TARGETS),
        "seconds in all",
        "times convsweep's",
        "trials",
        "pruned",
        "best validation accuracy",
        "chosen config's test accuracy, fresh seeds",
        "minus convsweep's, by sampler seed",
    ]
    print_table(header, rows)


if __name__ == "__main__":
    main()
