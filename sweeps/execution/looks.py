"""Look after look: which trials are trained with further seeds until an ablation's claims are decided."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from sweeps.claims.kinds import KINDS
from sweeps.claims.verdicts import Finding, count_verdicts
from sweeps.execution.plan import in_words, parallel
from sweeps.results import TrialResult
from sweeps.search.proposers import Look
from sweeps.sweep import Sweep


def first_look(sweep: Sweep) -> Look:
    """Return what is trained first: all trials."""
    return Look(sweep.trials or [], sweep.seeds[: sweep.looks[0]])


def next_look(look: Look, sweep: Sweep, claims: Sequence[Finding]) -> Look | None:
    """Return what is trained for the next look: the trials of those undecided claims that it may decide.

    Args:
        look: The look before.
        sweep: The sweep; of its settings `give_up` says which claims get no further seeds.
        claims: What that look has found.

    Returns:
        Trials and seeds, claims of equality and harmlessness first; None if nothing is to be trained any more.
    """
    later = [seeds for seeds in sweep.looks if seeds > len(look.seeds)]
    promising = promising_claims(claims, sweep)
    if not later or not promising:
        return None
    named = {label for finding in promising for label in finding.question.trials}
    slow = [finding for finding in promising if KINDS[finding.question.kind].is_slow]
    first = {label for finding in slow for label in finding.question.trials}
    return Look([trial for trial in sweep.trials or [] if trial.label in named], sweep.seeds[: later[0]], first)


def promising_claims(claims: Sequence[Finding], sweep: Sweep) -> list[Finding]:
    """Return the claims that are not decided, but may be at a later look."""
    least = sweep.config.statistics.give_up
    return [finding for finding in claims if finding.is_open and finding.chance > least]


def look_in_words(look: Look, claims: Sequence[Finding]) -> str:
    """Return a line that says what a look has found."""
    return f"look at {len(look.seeds)} seeds: {count_verdicts(finding.verdict for finding in claims) or 'no claims'}"


def next_in_words(
    look: Look, sweep: Sweep, claims: Sequence[Finding], results: Sequence[TrialResult], workers: int
) -> list[str]:
    """Return lines that say what is open before a look, and what that costs, by the runs of its trials so far."""
    promising = promising_claims(claims, sweep)
    lines = [f"  open: {names_of(promising)}"]
    if others := [finding for finding in claims if finding.is_open and finding not in promising]:
        lines.append(f"  further seeds would hardly decide: {names_of(others)}")
    labels = [trial.label for trial in look.trials]
    seconds = [
        fmean(result.values("seconds"))
        for result in results
        for seed in look.seeds
        if result.label in labels and result.runs and seed not in result.seeds
    ]
    cost = f"{len(seconds)} runs, about {in_words(sum(seconds) / parallel(workers, len(seconds)))}"
    return [*lines, f"  next, {len(look.seeds)} seeds of {', '.join(labels)}: {cost}"]


def names_of(findings: Sequence[Finding]) -> str:
    """Return the names of claims, for a line."""
    return ", ".join(finding.question.name for finding in findings)
