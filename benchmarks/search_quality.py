"""How good a network each sampler and pruner finds in equal time: searches replayed on real learning curves.

python benchmarks/search_quality.py [SEARCHES]      # with CONVSWEEP_DATA_DIR, or whatever finds Fashion-MNIST

A grid over filters, dropout and learning rate is trained once with two seeds (in mlruns/, so that only the first call
trains). Searches are then replayed, each with another sampler seed. A trial's learning curve is the grid's mean curve,
interpolated, plus what a run drawn at random differs from its mean; an epoch takes the seconds that it took. All go on
for the time in which two workers train 30 trials to their end. What counts is the mean accuracy of the config that a
search chooses, which it does not see: its own best value is flattered by the choice.
"""

from __future__ import annotations

import heapq
import math
import sys
import warnings
from dataclasses import dataclass
from itertools import product
from statistics import fmean, stdev
from typing import Any

import numpy as np
from timed import hardware, print_table

import convsweep
from sweeps.search.samplers import make_pruner, make_sampler

FILTERS, DROPOUTS, RATES = (8, 16, 32, 64), (0.0, 0.17, 0.34, 0.5), (0.0003, 0.0007, 0.0017, 0.0041, 0.01)
EPOCHS, TRIALS, WORKERS, AGAIN = 5, 30, 2, 2
TABLE = {"model.filters": FILTERS, "model.dropout": DROPOUTS, "optimizer.learning_rate": RATES}
BASE = ["data.limit=3000", f"data.val_fraction={1 / 6}", f"trainer.epochs={EPOCHS}", "trainer.evaluate_test=false"]
BASE += ["store.log_model=none"]


@dataclass(frozen=True)
class Plan:
    """A way to search: sampler, pruner, workers, and how many finalists are trained again before one is chosen."""

    sampler: str = "tpe"
    pruner: str = "none"
    workers: int = WORKERS
    finalists: int = 1

    def __str__(self) -> str:
        told = f"{self.sampler}, pruner {self.pruner}, {self.workers} worker{'s' * (self.workers > 1)}"
        return told if self.finalists == 1 else f"{told}, {self.finalists} finalists with {AGAIN} more seeds"


PLANS = [
    *(Plan(workers=workers) for workers in (1, 2, 8)),
    *(Plan(pruner=pruner) for pruner in ("median", "successive_halving", "hyperband", "patient")),
    *(Plan(sampler) for sampler in ("random", "qmc")),
    *(Plan(finalists=finalists) for finalists in (3, 5)),
    *(Plan(pruner="median", finalists=finalists) for finalists in (3, 5)),
]


class Table:
    """The grid's learning curves.

    Attributes:
        means: Validation accuracy, shape (filters, dropouts, rates, epochs).
        noise: What each run differs from its config's mean, scaled to the scatter of one run; shape (runs, epochs).
        seconds: Per epoch, by filters.
    """

    def __init__(self) -> None:
        """Train what is missing of the grid."""
        result = convsweep.grid(TABLE, BASE, seeds=2, name="search_table", progress=True)
        curves = np.array([[c["val/accuracy"] for c in each.curves] for each in result.results])
        self.means = curves.mean(1).reshape(len(FILTERS), len(DROPOUTS), len(RATES), EPOCHS)
        seeds = curves.shape[1]
        self.noise = (curves - curves.mean(1, keepdims=True)).reshape(-1, EPOCHS) * math.sqrt(seeds / (seeds - 1))
        taken = np.array([fmean(each.values("seconds_per_epoch")) for each in result.results])
        self.seconds = dict(zip(FILTERS, taken.reshape(len(FILTERS), -1).mean(1), strict=True))

    def curve(self, params: dict[str, Any]) -> np.ndarray:
        """Return the mean curve of a config, linear in dropout and in the logarithm of the rate."""
        of_filters = self.means[FILTERS.index(params["filters"])]
        places = (_place(params["dropout"], DROPOUTS), _place(math.log(params["rate"]), [*map(math.log, RATES)]))
        corners = product(*(((low, 1 - part), (low + 1, part)) for low, part in places))
        return np.sum([of_filters[i, j] * (a * b) for (i, a), (j, b) in corners], axis=0)


def _place(value: float, grid: Any) -> tuple[int, float]:
    """Return the point of the grid below a value, and the part of the way to the next."""
    low = min(max(int(np.searchsorted(grid, value, side="right")) - 1, 0), len(grid) - 2)
    return low, (value - grid[low]) / (grid[low + 1] - grid[low])


def search(plan: Plan, seed: int, table: Table, until: float) -> tuple[float, int, int]:
    """Return the mean final accuracy of the config chosen at `until` seconds, the trials ended, those pruned."""
    import optuna

    if plan.finalists > 1:  # time is kept for networks of mean size
        until -= plan.finalists * AGAIN * EPOCHS * fmean(table.seconds.values()) / plan.workers
    rng = np.random.default_rng(seed)
    sampler, pruner = make_sampler(plan.sampler, seed), make_pruner(plan.pruner, 1)
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
    true: dict[int, float] = {}
    ends: list[tuple[float, int, int, Any, np.ndarray, float]] = []  # of epochs: when, which trial, which epoch

    def begin(now: float) -> None:
        trial = study.ask()
        params = {
            "filters": trial.suggest_categorical("filters", FILTERS),
            "dropout": trial.suggest_float("dropout", DROPOUTS[0], DROPOUTS[-1]),
            "rate": trial.suggest_float("rate", RATES[0], RATES[-1], log=True),
        }
        curve = table.curve(params)
        true[trial.number] = float(curve[-1])
        seconds = table.seconds[params["filters"]]
        observed = curve + table.noise[rng.integers(len(table.noise))]
        heapq.heappush(ends, (now + seconds, trial.number, 1, trial, observed, seconds))

    for _ in range(plan.workers):
        begin(0.0)
    ended = pruned = 0
    while ends and ends[0][0] <= until:
        now, number, epoch, trial, observed, seconds = heapq.heappop(ends)
        trial.report(float(observed[epoch - 1]), epoch)
        if epoch < EPOCHS and not trial.should_prune():
            heapq.heappush(ends, (now + seconds, number, epoch + 1, trial, observed, seconds))
            continue
        is_pruned = epoch < EPOCHS
        state = optuna.trial.TrialState.PRUNED if is_pruned else optuna.trial.TrialState.COMPLETE
        study.tell(trial, None if is_pruned else float(observed[-1]), state=state)
        ended, pruned = ended + 1, pruned + is_pruned
        begin(now)
    complete = [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
    best = sorted(complete, key=lambda trial: -trial.value)[: plan.finalists]
    runs = [rng.integers(len(table.noise), size=AGAIN * (plan.finalists > 1)) for _ in best]
    means = {
        t.number: np.mean([t.value, *(true[t.number] + table.noise[n, -1])]) for t, n in zip(best, runs, strict=True)
    }
    return true[max(means, key=lambda number: means[number])], ended, pruned


def main() -> None:
    """Replay, and print the table."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    searches = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    table = Table()
    best = float(table.means[..., -1].max())
    until = TRIALS * EPOCHS * fmean(table.seconds.values()) / WORKERS
    default, rows = np.array([]), []
    with warnings.catch_warnings(action="ignore"):  # of what Optuna calls experimental
        for plan in PLANS:
            time = until * WORKERS / plan.workers  # equal work: a worker among eight has a quarter of the time
            found = np.array([search(plan, seed, table, time) for seed in range(searches)])
            short = (best - found[:, 0]) * 100
            default = default if len(default) else short
            against = short - default
            error = 1.96 * stdev(against) / math.sqrt(searches)
            counts = [f"{mean:.0f}" for mean in found[:, 1:].mean(0)]
            quality = [f"{short.mean():.2f}", f"{np.percentile(short, 90):.2f}"]
            rows.append([str(plan), *counts, *quality, f"{against.mean():+.2f} ± {error:.2f}" if rows else "-"])
    scatter = 100 * float(np.std(table.noise[:, -1]))
    print(f"{searches} searches each, {until:.0f} s of two workers; {hardware()}")
    print(f"The best config has {best:.4f}; one seed scatters by {scatter:.2f} points.\n")
    header = ["plan", "trials", "pruned", "points below the best", "in the worst tenth, from", "against the first"]
    print_table(header, rows)


if __name__ == "__main__":
    main()
