"""What seeds=auto has trained for the verdicts of a store, beside five seeds of every config.

python benchmarks/auto_seeds.py STORE ABLATION...      # where `convsweep ablate ABLATION... store.root=STORE` has ended

Nothing is trained. Seconds are those that the runs took. A run that an ablation shares with an earlier one counts for
the first; of runs that go on from one another the longest counts, since it has the seconds of the others in it. "Open
at 5" are the claims that five seeds leave undecided, judged once by them; what three seeds have decided counts as so.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from statistics import fmean

from timed import hardware, print_table

import convsweep
from pipeline.tracking.reader import TrackedRun
from sweeps.claims.verdicts import INCONCLUSIVE
from sweeps.config.ablation import compose_ablation
from sweeps.load import ablation_results
from sweeps.reports.findings import judge_ablation
from sweeps.results import tracked_runs
from sweeps.sweep_result import AblationResult

SEEDS = 5
# What a run can have more of without being trained anew.
ADDED = ("seed", "trainer.epochs", "trainer.test_shifts", "trainer.test_sizes")


def config_of(run: TrackedRun) -> tuple[tuple[str, str], ...]:
    """Return what is trained, but for its seed and number of epochs."""
    return tuple(sorted((key, value) for key, value in run.params.items() if key not in ADDED))


def open_at_five(result: AblationResult, store: str) -> int:
    """Return how many claims a single look at five seeds leaves open."""
    overrides = [f"seeds={SEEDS}", f"statistics.looks=[{SEEDS}]", f"store.root={store}"]
    ablation = compose_ablation(result.name, overrides)
    runs, _ = tracked_runs(result.tracker, result.parent, ablation.sweep)
    findings = judge_ablation(ablation, ablation_results(ablation, runs, result.tracker), result.timings)
    judged = [finding for finding in findings.claims if finding.outcome and finding.outcome.n >= SEEDS]
    return sum(finding.verdict == INCONCLUSIVE for finding in judged)


def main() -> None:
    """Print a row per ablation, and their sum."""
    store, *names = sys.argv[1:]
    rows, total = [], Counter[str]()
    taken: dict[tuple[tuple[str, str], ...], dict[str, float]] = defaultdict(dict)
    before = (0.0, 0.0)
    for name in names:
        result = convsweep.load_results(name, [f"store.root={store}"])
        assert isinstance(result, AblationResult)
        claims = Counter(finding.verdict for finding in result.findings.claims)
        numbers = Counter(finding.verdict for finding in result.findings.published)
        runs = [run for trial in result.results for run in trial.runs]
        for run in runs:
            by_seed = taken[config_of(run)]
            by_seed[run.params["seed"]] = max(by_seed.get(run.params["seed"], 0.0), run.metrics["seconds"])
        seeds = sorted(len(trial.runs) for trial in result.results)
        now = (
            sum(sum(each.values()) for each in taken.values()),
            sum(SEEDS * fmean(each.values()) for each in taken.values()),
        )
        auto, fixed = (b - a for a, b in zip(before, now, strict=True))
        before = now
        given = {
            "claims": sum(claims.values()),
            "open": claims[INCONCLUSIVE],
            "open at five": open_at_five(result, store),
            "numbers": sum(numbers.values()),
            "open numbers": numbers[INCONCLUSIVE],
            "runs": len(runs),
        }
        total.update(given)
        rows.append([name, *map(str, given.values()), f"{seeds[0]} to {seeds[-1]}", f"{auto:.0f}", f"{fixed:.0f}"])
    rows.append(["all", *map(str, total.values()), "", *(f"{seconds:.0f}" for seconds in before)])
    print(f"{hardware()}\n")
    header = ["ablation", "claims", "open", f"open at {SEEDS}", "published numbers", "open", "runs", "seeds per config"]
    print_table([*header, "seconds of training", f"of {SEEDS} seeds each"], rows)


if __name__ == "__main__":
    main()
