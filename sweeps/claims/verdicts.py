"""Verdicts: what our seeds say about published sentences and numbers, all of an ablation's judged together.

They are judged at planned numbers of seeds, the looks, each on that many first seeds alone. The first look that
decides a claim stands; later ones judge what is still open. Each has an equal share of the error, (1 - confidence) /
looks, for all that is open then: p-values are corrected together (Holm 1979, with directional decisions as in Shaffer
1980). Until the first wrong verdict every true null hypothesis is open, so each look is wrong with a chance of at most
its share. By the union bound the chance of any wrong verdict is at most 1 - confidence, however often one looks and
however seeds are added.

Published numbers are judged among themselves in the same way, so that the chance of calling any further run of ours
contradicted is at most that. REPRODUCED decides nothing: it says that a number cannot be told apart from a further run
of ours, known to within a few tolerances. So the number stays open, and more seeds may contradict it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from sweeps.claims.config import ClaimConfig, Published, StatisticsConfig
from sweeps.claims.evidence import Evidence, Outcome, TooFewError
from sweeps.claims.hypothesis_tests import near
from sweeps.claims.kinds import KINDS
from sweeps.claims.looks import at_look, chance_to_decide
from sweeps.claims.statistics import holm
from sweeps.claims.words import metric_in_words

REPRODUCED, CONTRADICTED, INCONCLUSIVE = "REPRODUCED", "CONTRADICTED", "INCONCLUSIVE"
NEAR = "near"

# Raises TooFewError.
Test = Callable[[Evidence], Outcome]


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
        outcome: What the test gave at the look that decided, else at the last one; None if there were too few seeds.
        p_adjusted: The outcome's p-value after Holm's correction within the family (claims, or published numbers),
            times the number of looks.
        chance: The chance that a later look decides, seen optimistically; 0 where it is decided or none is left.
    """

    question: Question
    verdict: str
    sentence: str
    outcome: Outcome | None = None
    p_adjusted: float | None = None
    chance: float = 0.0

    @property
    def is_open(self) -> bool:
        """Whether it is not decided."""
        return self.verdict == INCONCLUSIVE

    @property
    def lead(self) -> str:
        """What was measured, in words; why there are too few seeds where nothing was."""
        return self.outcome.summary if self.outcome else self.sentence

    @property
    def statistics(self) -> str:
        """What the sentence says beside that: over how many seeds, and the p-value."""
        return self.sentence.removeprefix(self.lead).strip(" ;")

    def as_dict(self) -> dict[str, object]:
        """Return all of it as one flat dictionary, for JSON."""
        measured = {key: getattr(self.outcome, key, None) for key in ("estimate", "low", "high", "unit", "n", "p")}
        judged = {"verdict": self.verdict, "sentence": self.sentence}
        return asdict(self.question) | judged | measured | {"p_adjusted": self.p_adjusted}


def judge(claims: Mapping[str, ClaimConfig], evidence: Evidence, settings: StatisticsConfig) -> list[Finding]:
    """Return a finding per claim, in order; p-values corrected over all of them and for all looks."""
    tests = [
        (
            Question(name, claim.says, claim.kind, claim.reference, list(claim.source), claim.trials),
            _of_claim(claim, settings),
        )
        for name, claim in claims.items()
    ]
    return _decide(tests, evidence, settings, "claim")


def judge_published(published: Sequence[Published], evidence: Evidence, settings: StatisticsConfig) -> list[Finding]:
    """Return a finding per published number, in order; p-values corrected over all of them and for all looks."""
    tests = []
    for number in published:
        says = f"{metric_in_words(number.metric)} of {number.trial} is {number.value:.4f}"
        question = Question(number.name, says, NEAR, number.name, [number.source], [number.trial])
        tests.append((question, _of_number(number, settings)))
    return _decide(tests, evidence, settings, "published number")


def _of_claim(claim: ClaimConfig, settings: StatisticsConfig) -> Test:
    return lambda evidence: KINDS[claim.kind].test(claim, evidence, settings)


def _of_number(number: Published, settings: StatisticsConfig) -> Test:
    return lambda evidence: near(number, evidence, settings)


def count_verdicts(verdicts: Iterable[str]) -> str:
    """Return how many of each verdict there are, as in `5 REPRODUCED, 1 CONTRADICTED`; empty for none."""
    counts = Counter(verdicts)
    return ", ".join(f"{counts[v]} {v}" for v in (REPRODUCED, CONTRADICTED, INCONCLUSIVE) if counts[v])


def _decide(
    tests: Sequence[tuple[Question, Test]], evidence: Evidence, settings: StatisticsConfig, family: str
) -> list[Finding]:
    """Judge at one look after the other what is still open; return what follows."""
    findings: dict[str, Finding] = {}
    for seeds in settings.looks:
        undecided = [each for each in tests if not _is_closed(findings.get(each[0].name))]
        outcomes = [_outcome(question, test, evidence, seeds) for question, test in undecided]
        # What has too few seeds for this look counts as if its p-value were 1.
        adjusted = holm([outcome.p if isinstance(outcome, Outcome) else 1.0 for outcome in outcomes])
        look = _Look(seeds, len(undecided), family, settings)
        for (question, _), outcome, p in zip(undecided, outcomes, adjusted, strict=True):
            if isinstance(outcome, Outcome):
                findings[question.name] = look.finding(question, outcome, min(1.0, p * len(settings.looks)))
            else:
                findings.setdefault(question.name, Finding(question, INCONCLUSIVE, outcome + "."))
    return [findings[question.name] for question, _ in tests]


def _is_closed(finding: Finding | None) -> bool:
    """Return whether a look has decided; lying inside an interval decides nothing, and leaves the family as it is."""
    if finding is None or finding.is_open:
        return False
    return finding.question.kind != NEAR or finding.verdict == CONTRADICTED


def _outcome(question: Question, test: Test, evidence: Evidence, look: int) -> Outcome | str:
    """Return what a test of the first `look` seeds gives, or why it gives nothing."""
    is_timed = question.kind in KINDS and KINDS[question.kind].is_timed
    try:
        return test(evidence if is_timed else at_look(evidence, question.trials, look))
    except TooFewError as error:
        return str(error)


@dataclass(frozen=True)
class _Look:
    """A look at so many seeds, when so many questions of the family are open."""

    seeds: int
    undecided: int
    family: str
    settings: StatisticsConfig

    def finding(self, question: Question, outcome: Outcome, p: float) -> Finding:
        """Return what follows from an outcome and its adjusted p-value."""
        looks, error = self.settings.looks, 1 - self.settings.confidence
        verdict, reason = self._verdict(question, outcome, p)
        is_over_seeds, is_decided = outcome.repeats == "seeds", verdict != INCONCLUSIVE
        is_final = is_decided and is_over_seeds and not (question.kind == NEAR and outcome.supports)
        sentence = f"{outcome.summary} ({'decided at ' if is_final else 'n='}{outcome.n} {outcome.repeats}){reason}."
        may_change = is_over_seeds and not is_decided and not outcome.vague
        later = [look for look in looks if look > self.seeds and may_change]
        chance = chance_to_decide(outcome.p, outcome.n, later, error / len(looks) / self.undecided)
        return Finding(question, verdict, sentence, outcome, p, chance)

    def _verdict(self, question: Question, outcome: Outcome, p: float) -> tuple[str, str]:
        """Return the verdict, and what the sentence says for it."""
        if outcome.vague:
            return INCONCLUSIVE, f"; {outcome.vague}"
        if question.kind == NEAR and outcome.supports:
            return REPRODUCED, ""  # it lies inside the interval: there is nothing to reject
        looks = len(self.settings.looks)
        many = f"{self.undecided} {self.family}{'s' * (self.undecided > 1)}" + (
            f" and {looks} looks" if looks > 1 else ""
        )
        corrected = f"; p={p:.2g} after correction for {many}"
        if p >= 1 - self.settings.confidence:
            return INCONCLUSIVE, f"{corrected}: not decided"
        return (REPRODUCED if outcome.supports else CONTRADICTED), corrected
