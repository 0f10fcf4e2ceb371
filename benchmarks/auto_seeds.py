"""How many claims of a store seeds=auto leaves open, and after how much training, beside other plans of seeds.

python benchmarks/auto_seeds.py STORE ABLATION...      # where `convsweep ablate ABLATION... store.root=STORE` has ended

The ablations are those with seeds=auto. Nothing is trained: each plan is replayed, look by look, with the runs that are
there. Seconds are those that the runs took; a run that is not there, since its claims were decided before, counts as
its config's mean, and its claims as decided. A run that an ablation shares with an earlier one counts for the first; of
runs that go on from one another the longest counts, since it has the seconds of the others in it.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from timed import hardware, print_table

import convsweep
from pipeline.tracking.reader import TrackedRun
from sweeps.claims.verdicts import Finding, judge
from sweeps.config.ablation import Ablation, compose_ablation
from sweeps.execution.looks import first_look, next_look
from sweeps.reports.findings import evidence_of
from sweeps.results import TrialResult
from sweeps.search.proposers import Batch
from sweeps.sweep_result import AblationResult

PLANS = {"auto": [], "looks=[3,5,8]": ["statistics.looks=[3,5,8]"], "five each": ["statistics.looks=[5]"]}
# What a run can have more of without being trained anew.
ADDED = ("seed", "trainer.epochs", "trainer.test_shifts", "trainer.test_sizes")

Config = tuple[tuple[str, str], ...]


def config_of(run: TrackedRun) -> Config:
    """Return what is trained, but for its seed and number of epochs."""
    return tuple(sorted((key, value) for key, value in run.params.items() if key not in ADDED))


def replayed(result: AblationResult, plan: list[str]) -> tuple[list[Finding], dict[str, set[int]]]:
    """Return what seeds=auto finds with a plan's overrides, and which seeds of each trial it trains."""
    ablation = compose_ablation(result.name, ["seeds=auto", *plan])
    trained = defaultdict[str, set[int]](set)
    look: Batch | None = first_look(ablation.sweep)
    claims: list[Finding] = []
    while look:
        for trial in look.trials:
            trained[trial.label] |= {*look.seeds}
        results = [_only(each, trained[each.label]) for each in result.results]
        claims = _judge(ablation, results, result.timings)
        look = next_look(look, ablation.sweep, claims)
    return claims, trained


def _judge(ablation: Ablation, results: Sequence[TrialResult], timings: Mapping[str, list[float]]) -> list[Finding]:
    """Return findings on the claims that have the runs; the others, decided with fewer, are corrected for no more."""
    claims, evidence = ablation.config.claims, evidence_of(ablation, results, timings)
    found = judge(claims, evidence, ablation.statistics)
    known = {finding.question.name: claims[finding.question.name] for finding in found if finding.outcome}
    return judge(known, evidence, ablation.statistics)


def _only(result: TrialResult, seeds: set[int]) -> TrialResult:
    """Return the result with these seeds alone."""
    kept = [index for index, seed in enumerate(result.seeds) if seed in seeds]
    return replace(
        result,
        seeds=[result.seeds[index] for index in kept],
        runs=[result.runs[index] for index in kept],
        curves=[result.curves[index] for index in kept if result.curves],
    )


def training(result: AblationResult, trained: dict[str, set[int]]) -> Iterator[tuple[tuple[Config, int], float]]:
    """Yield config, seed and seconds of each run with these seeds of each trial."""
    for trial in result.results:
        seconds = trial.by_seed("seconds")
        for seed in trained[trial.label]:
            yield (config_of(trial.runs[0]), seed), seconds.get(seed, fmean(seconds.values()))


def main() -> None:
    """Print a row per ablation, and their sum."""
    store, *names = sys.argv[1:]
    taken: dict[str, dict[tuple[Config, int], float]] = {plan: {} for plan in PLANS}
    rows, total = [], Counter[str]()
    for name in names:
        result = convsweep.load_results(name, [f"store.root={store}"])
        assert isinstance(result, AblationResult)
        counts, ranges = Counter({"claims": len(result.findings.claims)}), []
        for plan, overrides in PLANS.items():
            claims, trained = replayed(result, overrides)
            counts[f"{plan}, open"] = sum(finding.is_open for finding in claims)
            before = sum(taken[plan].values())
            for run, took in training(result, trained):
                taken[plan][run] = max(taken[plan].get(run, 0.0), took)
            counts[f"{plan}, seconds"] = round(sum(taken[plan].values()) - before)
            sizes = [len(seeds) for seeds in trained.values()]
            ranges.append(f"{min(sizes)} to {max(sizes)}")
        total += counts
        rows.append([name, *map(str, _in_order(counts)), ranges[0]])
    print(f"{hardware()}\n")
    header = ["claims", *(f"open, {plan}" for plan in PLANS), *(f"seconds, {plan}" for plan in PLANS)]
    rows.append(["all", *map(str, _in_order(total)), ""])
    print_table(["ablation", *header, "seeds per config, auto"], rows)


def _in_order(counts: Counter[str]) -> list[int]:
    return [counts["claims"], *(counts[f"{plan}, {what}"] for what in ("open", "seconds") for plan in PLANS)]


if __name__ == "__main__":
    main()
