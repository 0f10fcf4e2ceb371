"""Verdicts: what our seeds say about published sentences and numbers, all of an ablation's judged together.

The two-sided p-values of all claims are corrected together (Holm 1979, with directional decisions as in Shaffer 1980),
so that the chance of any wrong verdict among them is at most 1 - confidence. Published numbers are corrected among
themselves in the same way, so that the chance of calling any further run of ours contradicted is at most that;
REPRODUCED says only that a number cannot be told apart from a further run of ours, known to within a few tolerances.
Below `min_seeds` seeds there is no verdict.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial

from sweeps.claims.config import ClaimConfig, Published, StatisticsConfig
from sweeps.claims.kinds import KINDS, Evidence, Outcome, TooFewError, near
from sweeps.claims.statistics import holm

REPRODUCED, CONTRADICTED, INCONCLUSIVE = "REPRODUCED", "CONTRADICTED", "INCONCLUSIVE"
NEAR = "near"


@dataclass(frozen=True)
class Question:
    """What is judged: a claim, or a published number (kind `near`)."""

    name: str
    says: str
    kind: str
    reference: str
    source: list[str]
    trials: list[str]


@dataclass(frozen=True)
class Finding:
    """What our seeds say about one claim or published number.

    Attributes:
        question: The claim, or the published number.
        verdict: REPRODUCED, CONTRADICTED or INCONCLUSIVE.
        sentence: Its reason in plain words.
        outcome: What the test gave; None if there were too few seeds for one.
        p_adjusted: The outcome's p-value after Holm's correction within the family (claims, or published numbers).
    """

    question: Question
    verdict: str
    sentence: str
    outcome: Outcome | None = None
    p_adjusted: float | None = None

    def as_dict(self) -> dict[str, object]:
        """Return all of it as one flat dictionary, for JSON."""
        measured = {key: getattr(self.outcome, key, None) for key in ("estimate", "low", "high", "unit", "n", "p")}
        judged = {"verdict": self.verdict, "sentence": self.sentence}
        return asdict(self.question) | judged | measured | {"p_adjusted": self.p_adjusted}


def judge(claims: Mapping[str, ClaimConfig], evidence: Evidence, settings: StatisticsConfig) -> list[Finding]:
    """Return a finding per claim, in order; p-values corrected over all of them."""
    tests = [
        (
            Question(name, claim.says, claim.kind, claim.reference, list(claim.source), claim.trials),
            partial(KINDS[claim.kind].test, claim, evidence, settings),
        )
        for name, claim in claims.items()
    ]
    return _decide(tests, settings, "claims")


def judge_published(published: Sequence[Published], evidence: Evidence, settings: StatisticsConfig) -> list[Finding]:
    """Return a finding per published number, in order; p-values corrected over all of them."""
    tests = []
    for number in published:
        says = f"{number.metric} of {number.trial} is {number.value:.4f}"
        question = Question(number.name, says, NEAR, number.name, [number.source], [number.trial])
        tests.append((question, partial(near, number, evidence, settings)))
    return _decide(tests, settings, "published numbers")


def count_verdicts(verdicts: Iterable[str]) -> str:
    """Return how many of each verdict there are, as in `5 REPRODUCED, 1 CONTRADICTED`; empty for none."""
    counts = Counter(verdicts)
    return ", ".join(f"{counts[v]} {v}" for v in (REPRODUCED, CONTRADICTED, INCONCLUSIVE) if counts[v])


def _decide(
    tests: Sequence[tuple[Question, Callable[[], Outcome]]], settings: StatisticsConfig, family: str
) -> list[Finding]:
    """Run the tests, correct their p-values for each other, and return what follows from them."""
    outcomes = [(question, _outcome(test)) for question, test in tests]
    adjusted = iter(holm([outcome.p for _, outcome in outcomes if isinstance(outcome, Outcome)]))
    size = sum(isinstance(outcome, Outcome) for _, outcome in outcomes)
    findings = []
    for question, outcome in outcomes:
        if isinstance(outcome, str):
            findings.append(Finding(question, INCONCLUSIVE, outcome + "."))
            continue
        p = next(adjusted)
        verdict, reason = _verdict(outcome, p, settings, question.kind, f"{size} {family}")
        sentence = f"{outcome.summary} (n={outcome.n} {outcome.repeats}){reason}."
        findings.append(Finding(question, verdict, sentence, outcome, p))
    return findings


def _outcome(test: Callable[[], Outcome]) -> Outcome | str:
    try:
        return test()
    except TooFewError as error:
        return str(error)


def _verdict(outcome: Outcome, p: float, settings: StatisticsConfig, kind: str, family: str) -> tuple[str, str]:
    """Return the verdict, and what the sentence says for it."""
    if outcome.vague:
        return INCONCLUSIVE, f"; {outcome.vague}"
    if kind == NEAR and outcome.supports:
        return REPRODUCED, ""  # it lies inside the interval: there is nothing to reject
    corrected = f"; p={p:.2g} after correction for {family}"
    if p >= 1 - settings.confidence:
        return INCONCLUSIVE, f"{corrected}: not decided"
    return (REPRODUCED if outcome.supports else CONTRADICTED), corrected
