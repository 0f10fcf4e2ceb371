"""What an ablation's runs say about its documents: the findings, and what its page says about them in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sweeps.claims.verdicts import CONTRADICTED, Finding, judge, judge_published
from sweeps.config.ablation import Ablation, DiscussionConfig
from sweeps.evidence import SweepEvidence
from sweeps.results import TrialResult


@dataclass(frozen=True)
class AblationFindings:
    """A finding per claim and per published number of an ablation, in the order of its file."""

    claims: list[Finding]
    published: list[Finding]

    @property
    def all(self) -> list[Finding]:
        """Return all of them, claims first."""
        return [*self.claims, *self.published]

    @property
    def contradicted(self) -> list[str]:
        """Return the names of the claims and published numbers that are CONTRADICTED."""
        return [finding.question.name for finding in self.all if finding.verdict == CONTRADICTED]


def judge_ablation(
    ablation: Ablation, results: Sequence[TrialResult], timings: Mapping[str, list[float]]
) -> AblationFindings:
    """Judge the claims, and the published numbers unless other configs than the documents' were run.

    `timings` are seconds per epoch, round by round, of trials whose speed a claim compares.
    """
    evidence = evidence_of(ablation, results, timings)
    published = [] if ablation.changed else ablation.config.published
    return AblationFindings(
        judge(ablation.config.claims, evidence, ablation.statistics),
        judge_published(published, evidence, ablation.statistics),
    )


def evidence_of(
    ablation: Ablation, results: Sequence[TrialResult], timings: Mapping[str, list[float]]
) -> SweepEvidence:
    """Return what the runs of an ablation say to its claims; of `timings` see `judge_ablation`."""
    configs = {trial.label: trial.base for trial in ablation.sweep.trials or []}
    return SweepEvidence(ablation.sweep.seeds, results, configs, timings)


def note(ablation: Ablation) -> str:
    """Return what to say if this is another experiment than the documents'; empty if it is theirs."""
    if not ablation.changed:
        return ""
    return (
        f"This is not the documents' experiment: {', '.join(ablation.changed)}. Their numbers are shown, not judged, "
        "and the claims are judged for what was run here."
    )


def discussion(ablation: Ablation, findings: AblationFindings) -> DiscussionConfig | None:
    """Return the authors' discussion if the verdicts are those it was written for; else None."""
    discussion = ablation.config.discussion
    verdicts = {finding.question.name: finding.verdict for finding in findings.all}
    is_theirs = discussion and discussion.fits(verdicts, ablation.config.claims)
    return discussion if is_theirs and not ablation.changed else None
