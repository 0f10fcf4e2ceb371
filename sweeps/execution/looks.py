"""Look after look: which trials are trained with further seeds until an ablation's claims are decided."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from sweeps.claims.kinds import KINDS
from sweeps.claims.verdicts import Finding, count_verdicts
from sweeps.claims.words import plural
from sweeps.execution.plan import in_words, parallel
from sweeps.results import TrialResult
from sweeps.search.proposers import Batch
from sweeps.sweep import Sweep, trials_of


def first_look(sweep: Sweep) -> Batch:
    """Return what is trained first: all trials."""
    return Batch(sweep.trials or [], sweep.seeds[: sweep.looks[0]])


def next_look(look: Batch, sweep: Sweep, claims: Sequence[Finding]) -> Batch | None:
    """Return what is trained for the next look: the trials of those undecided claims that it may decide.

    Args:
        look: The look before.
        sweep: The sweep; of its settings `give_up` says which claims get no further seeds.
        claims: What that look has found.

    Returns:
        Trials and seeds, claims of equality and harmlessness first; None if nothing is to be trained any more.
    """
    later = [seeds for seeds in sweep.looks if seeds > len(look.seeds)]
    promising = promising_claims(look, sweep, claims)
    if not later or not promising:
        return None
    named = _trials_of(promising, sweep)
    slow = [finding for finding in promising if KINDS[finding.question.kind].is_slow]
    trials = [trial for trial in sweep.trials or [] if trial.label in named]
    return Batch(trials, sweep.seeds[: later[0]], _trials_of(slow, sweep))


def promising_claims(look: Batch, sweep: Sweep, claims: Sequence[Finding]) -> list[Finding]:
    """Return the claims that a look has judged and not decided, but a later one may."""
    settings = sweep.config.statistics
    reached = max((seeds for seeds in settings.looks if seeds <= len(look.seeds)), default=settings.looks[0])
    judged = [finding for finding in claims if finding.outcome and finding.outcome.n >= reached]
    return [finding for finding in judged if finding.is_open and finding.chance > settings.give_up]


def look_in_words(look: Batch, sweep: Sweep, claims: Sequence[Finding]) -> list[str]:
    """Return lines that say what a look has found, and what is open."""
    counts = count_verdicts(finding.verdict for finding in claims) or "no claims"
    lines = [f"after {plural(len(look.seeds), 'seed{s}')}: {counts}"]
    if promising := promising_claims(look, sweep, claims):
        lines.append(f"  open: {_names(promising)}")
    if given_up := [finding for finding in claims if finding.chance > 0 and finding not in promising]:
        lines.append(f"  more seeds are unlikely to decide (statistics.give_up=0 adds them): {_names(given_up)}")
    return lines


def next_in_words(look: Batch, results: Sequence[TrialResult], workers: int) -> str:
    """Return a line that says what a look to come takes, by the runs of its trials so far."""
    labels = [trial.label for trial in look.trials]
    seconds = [
        fmean(result.values("seconds"))
        for result in results
        for seed in look.seeds
        if result.label in labels and result.runs and seed not in result.seeds
    ]
    cost = f"{len(seconds)} runs, about {in_words(sum(seconds) / parallel(workers, len(seconds)))}"
    return f"  next, {len(look.seeds)} seeds of {', '.join(labels)}: {cost}"


def _trials_of(findings: Sequence[Finding], sweep: Sweep) -> set[str]:
    labels = [trial.label for trial in sweep.trials or []]
    return set(trials_of([name for finding in findings for name in finding.question.trials], labels))


def _names(findings: Sequence[Finding]) -> str:
    return ", ".join(finding.question.name for finding in findings)
