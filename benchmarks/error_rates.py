"""How often verdicts are wrong where nothing is to be found, and how many seeds they take where something is.

python benchmarks/error_rates.py [REPEATS]

Synthetic seeds, judged by the code that judges real ones. Prints the tables of docs/explanation/statistics.md.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from timed import print_table

from sweeps.claims.config import StatisticsConfig
from sweeps.claims.statistics import mean_test, t_quantile
from sweeps.claims.verdicts import REPRODUCED, judge
from tests.helpers.evidence import GREATER, accuracies, at
from tests.helpers.nulls import KINDS, LOOKS, NOISES, SCATTER, SEEDS, normal, wrong_verdict

EFFECTS = (0.0, 0.5, 1.0, 2.0, 4.0)
SHARES = {
    "equal": (1, 1, 1, 1, 1),
    "by seeds": LOOKS,
    "most at first": LOOKS[::-1],
    "almost all at last": (1, 1, 1, 1, 16),
}


def wrong_rates(repeats: int) -> None:
    """Print the share of sweeps with a wrong verdict at any look, by claim and scatter."""
    rows = []
    for name in KINDS:
        rng = np.random.default_rng(1)
        rates = [np.mean([wrong_verdict(name, noise, rng) for _ in range(repeats)]) for noise in NOISES.values()]
        rows.append([name, *(f"{rate:.1%}" for rate in rates)])
    print(f"Wrong verdicts, stopping at any look, {repeats} sweeps each:\n")
    print_table(["claim", *NOISES], rows)


def auto(effect: float, settings: StatisticsConfig, rng: np.random.Generator) -> tuple[bool, int]:
    """Add seeds until one claim is decided, or given up; return whether it is, rightly if it can be, and the seeds."""
    differences = SCATTER * (rng.standard_normal(SEEDS) + effect)
    for look in settings.looks:
        evidence = accuracies(a=list(0.9 + differences[:look]), b=[0.9] * look)
        (finding,) = judge({"it": GREATER}, evidence, settings)
        if not finding.is_open or finding.chance <= settings.give_up:
            break
    return (finding.verdict == REPRODUCED if effect else not finding.is_open), look


def uncorrected(repeats: int) -> None:
    """Print how often looks are wrong whose p-values are not corrected for looking, for one claim."""
    plans = {"3 and 5": (3, 5), "3, 5, 8, 13 and 21": LOOKS, "every number from 3 to 20": tuple(range(3, 21))}
    rows = []
    for name, looks in plans.items():
        rng, wrong = np.random.default_rng(1), 0
        for _ in range(repeats):
            evidence = accuracies(a=normal(rng, 0.9), b=normal(rng, 0.9))
            wrong += any(not judge({"it": GREATER}, evidence, at(look))[0].is_open for look in looks)
        rows.append([name, f"{wrong / repeats:.1%}"])
    print("Wrong verdicts without correction for looks:\n")
    print_table(["looks at", "wrong"], rows)


def power(repeats: int) -> None:
    """Print how often an effect is found and after how many seeds, by its size in standard deviations."""
    plans = {
        "looks": at(*LOOKS),
        "looks, none given up": replace(at(*LOOKS), give_up=0.0),
        "looks at 3, 5 and 8": at(3, 5, 8),
        **{f"{seeds} seeds": at(seeds) for seeds in (3, 5, 13, 21)},
    }
    rows = []
    for name, settings in plans.items():
        rng, row = np.random.default_rng(1), [name]
        for effect in EFFECTS:
            found, seeds = np.mean([auto(effect, settings, rng) for _ in range(repeats)], axis=0)
            row.append(f"{found:.1%} ({seeds:.1f})")
        rows.append(row)
    print("Effect found, and seeds on average:\n")
    print_table(["plan", *(f"{effect:g} SD" for effect in EFFECTS)], rows)


def spending(repeats: int) -> None:
    """Print the same for other ways to share the error among the looks, none given up."""
    rows = []
    for name, shares in SHARES.items():
        rng, row = np.random.default_rng(1), [name]
        for effect in EFFECTS:
            results = []
            for _ in range(repeats):
                values = rng.standard_normal(SEEDS) + effect
                for look, share in zip(LOOKS, shares, strict=True):
                    level = 0.05 * share / sum(shares)
                    test = mean_test(values[:look], 0.95)
                    if abs(test.mean) / test.error > t_quantile(1 - level / 2, look - 1):
                        break
                else:
                    results.append((False, look))
                    continue
                results.append((test.mean > 0 or not effect, look))
            found, seeds = np.mean(results, axis=0)
            row.append(f"{found:.1%} ({seeds:.1f})")
        rows.append(row)
    print("The same with other shares of the error, none given up:\n")
    print_table(["share", *(f"{effect:g} SD" for effect in EFFECTS)], rows)


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 4000
    wrong_rates(count)
    uncorrected(count)
    power(count)
    spending(count)
