"""The sentences a page begins with say what the verdicts say, whatever these are, and no more."""

from __future__ import annotations

import re
from itertools import product

import pytest

from pipeline.tracking.reader import TrackedRun
from sweeps.claims.evidence import Outcome
from sweeps.claims.verdicts import CONTRADICTED, INCONCLUSIVE, REPRODUCED, Finding, Question
from sweeps.config.ablation import compose_ablation
from sweeps.config.study import compose_study
from sweeps.reports.findings import AblationFindings
from sweeps.reports.headline import (
    ablation_headline,
    best_in_words,
    claims_in_words,
    grid_headline,
    numbers_in_words,
    study_headline,
)
from sweeps.results import StudyResult, StudyTrial, TrialResult, best_result

VERDICTS = (REPRODUCED, CONTRADICTED, INCONCLUSIVE)
COMBINATIONS = [counts for counts in product(range(4), repeat=3) if sum(counts)]
WORDS = {"holds": REPRODUCED, "hold": REPRODUCED, "cannot be told apart": REPRODUCED, "contradicted": CONTRADICTED}
WORDS |= {"not decided": INCONCLUSIVE}


def finding(verdict: str, n: int = 3, repeats: str = "seeds") -> Finding:
    outcome = Outcome(0, -1, 1, n, 0.01, True, "it is", "", (0, 0), repeats=repeats)
    return Finding(Question("it", "it is", "greater", "", [], []), verdict, "it is.", outcome)


def findings(counts: tuple[int, ...]) -> list[Finding]:
    return [finding(verdict) for verdict, count in zip(VERDICTS, counts, strict=True) for _ in range(count)]


def said(sentence: str, total: int) -> dict[str, int]:
    """How many of each verdict a sentence claims there are."""
    counts = dict.fromkeys(VERDICTS, 0)
    if match := re.match(r"None of the (\d+) \S+( \S+)? is decided", sentence):
        return counts | {INCONCLUSIVE: int(match[1])}
    if whole := re.match(r"The|Both|All (\d+)", sentence):
        count = {"The": 1, "Both": 2}.get(whole[0]) or int(whole[1])
        (verdict,) = {verdict for words, verdict in WORDS.items() if re.search(rf"\b{words}\b", sentence)}
        return counts | {verdict: count}
    assert sentence.startswith(f"Of {total} ")
    for number, words in re.findall(
        r"(\d+) (?:is |are )?(holds?|cannot be told apart|contradicted|not decided)", sentence
    ):
        counts[WORDS[words]] += int(number)
    return counts


@pytest.mark.parametrize("counts", COMBINATIONS)
@pytest.mark.parametrize("in_words", [claims_in_words, numbers_in_words])
def test_it_says_what_the_verdicts_say(counts: tuple[int, ...], in_words: object) -> None:
    sentence = in_words(findings(counts))  # type: ignore[operator]
    assert said(sentence, sum(counts)) == dict(zip(VERDICTS, counts, strict=True))
    assert sentence.count(".") == 1
    if in_words is numbers_in_words:
        assert not re.search(r"\bholds?\b|reproduced|decided at", sentence), "to lie inside an interval proves nothing"


@pytest.mark.parametrize("counts", COMBINATIONS)
def test_only_what_is_decided_is_called_so(counts: tuple[int, ...]) -> None:
    assert ("(decided at 3 seeds)" in claims_in_words(findings(counts))) == (counts[2] == 0)


def test_seeds_and_rounds_are_those_of_the_claims() -> None:
    given = [finding(REPRODUCED, 3), finding(CONTRADICTED, 8), finding(REPRODUCED, 5, "rounds")]
    assert claims_in_words(given).endswith("(decided at 3 to 8 seeds and in 5 rounds of timing).")
    too_few = Finding(given[0].question, INCONCLUSIVE, "n=1 seeds; a verdict needs at least 3.")
    assert claims_in_words([too_few]) == "The claim is not decided."
    assert claims_in_words([]) == numbers_in_words([]) == ""


def trial(label: str, *accuracies: float) -> TrialResult:
    runs = [TrackedRun(f"id{seed}", "FINISHED", {"test/accuracy": value}) for seed, value in enumerate(accuracies)]
    return TrialResult(label, label, list(range(len(runs))), runs)


def test_the_best_config_is_told_by_the_seeds_that_all_have() -> None:
    sweep = compose_ablation("demo", []).sweep
    results = [
        trial("conv_16", 0.90, 0.90, 0.90),
        trial("conv_32", 0.89, 0.89, 0.89, 0.99, 0.99),
        trial("conv_64", 0.99),
    ]
    best = best_result(results, sweep)
    assert best is results[0], "the third lacks seeds of the first look"
    sentence = "Highest mean test accuracy measured: conv_16, 0.9000 over"
    assert best_in_words(results, sweep) == f"{sentence} the first 3 seeds."
    assert best_in_words(results[::2], sweep) == f"{sentence} 3 seeds."
    alone = best_in_words([trial("conv_16", 0.9)], compose_ablation("demo", ["seeds=[0]"]).sweep)
    assert alone == "Highest test accuracy measured: conv_16, 0.9000 with one seed."
    assert ablation_headline(AblationFindings([], []), [], sweep) == "Nothing has finished yet."
    assert "chance is not tested" in grid_headline(results, sweep)


def test_a_search_is_told_with_what_fresh_seeds_gave() -> None:
    sweep = compose_study("smoke", [])
    best = StudyTrial(4, "COMPLETE", [0.97], {}, {}, [0], ["id"])
    study = StudyResult([best, StudyTrial(5, "PRUNED", [], {}, {}, [], [])], [best])
    assert "the best of 1 completed trial: validation accuracy 0.9700." in study_headline(study, [], sweep)
    assert "no fresh seeds have confirmed it" in study_headline(study, [], sweep)
    fresh = [TrackedRun("id", "FINISHED", {"val/accuracy": 0.95, "test/accuracy": 0.93, "test/loss": 0.2})]
    words = "Trained again on 1 fresh seed: validation accuracy 0.9500, test accuracy 0.9300."
    assert study_headline(study, fresh, sweep).endswith(words)
