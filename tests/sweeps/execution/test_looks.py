"""Which trials get further seeds, look by look, and that a launch with seeds=auto trains those and no others."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from sweeps.claims.evidence import Outcome
from sweeps.claims.verdicts import INCONCLUSIVE, REPRODUCED, Finding, Question
from sweeps.cli.main import main
from sweeps.config.ablation import compose_ablation
from sweeps.execution.looks import first_look, look_in_words, next_look
from sweeps.sweep import Sweep
from tests.conftest import DEMO
from tests.sweeps.reports.test_publish import claims_of


def demo_sweep(*overrides: str) -> Sweep:
    return compose_ablation("demo", ["seeds=auto", *overrides]).sweep


def finding(kind: str, trials: list[str], chance: float, verdict: str = INCONCLUSIVE) -> Finding:
    question = Question("it", "so", kind, "", [], trials)
    return Finding(question, verdict, "", Outcome(0, 0, 0, 3, 1, True, "", "", (0, 0)), 1.0, chance)


def test_trials_of_open_claims_alone_get_further_seeds() -> None:
    sweep = demo_sweep()
    first = first_look(sweep)
    assert [trial.label for trial in first.trials] == ["dense_128", "conv_16", "conv_32", "conv_64"]
    assert first.seeds == [0, 1, 2]
    decided = finding("greater", ["dense_128", "conv_64"], 0, REPRODUCED)
    second = next_look(first, sweep, [decided, finding("greater", ["conv_16", "conv_32"], 0.9)])
    assert second
    assert [trial.label for trial in second.trials] == ["conv_16", "conv_32"]
    assert second.seeds == [0, 1, 2, 3, 4]
    assert next_look(first, sweep, [decided]) is None
    assert next_look(replace(first, seeds=list(range(21))), sweep, [finding("greater", ["conv_16"], 0.9)]) is None


def test_a_claim_that_seeds_would_hardly_decide_gets_none() -> None:
    first, claims = first_look(demo_sweep()), [finding("greater", ["conv_16"], 0.2)]
    assert next_look(first, demo_sweep(), claims) is None
    assert next_look(first, demo_sweep("statistics.give_up=0"), claims)


def test_only_what_more_seeds_might_decide_is_said_to_be_given_up() -> None:
    sweep, given_up = demo_sweep(), finding("greater", ["conv_16"], 0.2)
    assert given_up.outcome
    vague = replace(given_up, outcome=replace(given_up.outcome, vague="not every seed stopped"), chance=0)
    told = look_in_words(first_look(sweep), sweep, [given_up])
    assert told[-1].endswith("(statistics.give_up=0 adds them): it")
    assert look_in_words(first_look(sweep), sweep, [vague]) == ["after 3 seeds: 1 INCONCLUSIVE"]


def test_a_claim_whose_seeds_are_not_all_there_gets_no_more() -> None:
    """A seed that failed for good is never made up for: further ones would be in vain."""
    sweep = demo_sweep()
    second = next_look(first_look(sweep), sweep, [finding("greater", ["conv_16"], 0.9)])
    assert second
    assert next_look(second, sweep, [finding("greater", ["conv_16"], 0.9)]) is None, "judged at 3 of 5 seeds"


def test_claims_of_equality_and_harmlessness_come_first() -> None:
    claims = [
        finding("greater", ["conv_16"], 0.9),
        finding("equal_within", ["conv_32"], 0.9),
        finding("reduces_overfitting", ["conv_64"], 0.9),
    ]
    second = next_look(first_look(demo_sweep()), demo_sweep(), claims)
    assert second
    assert second.first == {"conv_32", "conv_64"}


def test_listed_seeds_are_one_look() -> None:
    sweep = compose_ablation("demo", ["seeds=4"]).sweep
    assert (sweep.seeds, sweep.looks) == ([0, 1, 2, 3], [4])
    assert next_look(first_look(sweep), sweep, [finding("greater", ["conv_16"], 0.9)]) is None


CLAIMS = (
    "ablation.claims={sure: {says: so, kind: greater, metric: parameters, trial: conv_64, than: [dense_128]}, "
    "open: {says: so, kind: greater, metric: test/accuracy, trial: conv_16, than: [conv_32], margin: 0.01}}"
)


@pytest.mark.slow
def test_a_launch_goes_on_look_by_look(empty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["ablate", "demo", *DEMO[:-1], CLAIMS, "statistics.looks=[3,4,5]", "statistics.give_up=0"]
    words += ["store.log_model=none", "store.root=mlruns"]
    assert main([*words, "seeds=auto", "--dry-run"]) == 0
    assert "12 runs to train" in (told := capsys.readouterr().out)
    assert "at most 8 runs more" in told, "two further seeds of each trial"
    assert main([*words, "seeds=3"]) == 0
    assert "seeds=auto adds seeds for what is open" in capsys.readouterr().out
    assert main([*words, "seeds=auto"]) == 0
    told = capsys.readouterr().out
    assert "12 runs, 12 known, 0 to train" in told
    assert "next, 4 seeds of conv_16, conv_32: 2 runs, about" in told
    assert "after 5 seeds: 1 REPRODUCED, 1 INCONCLUSIVE" in told
    claims = claims_of(empty / "mlruns", "demo")
    assert {name: claim["n"] for name, claim in claims.items()} == {"sure": 3, "open": 5}
    lines = (empty / "mlruns" / "reports" / "demo" / "results.csv").read_text().splitlines()[1:]
    assert Counter(line.split(",")[0] for line in lines) == {"dense_128": 3, "conv_16": 5, "conv_32": 5, "conv_64": 3}
    assert main([*words, "seeds=auto"]) == 0
    told = capsys.readouterr().out
    assert "12 runs, 12 known, 0 to train" in told
    assert "after 3 seeds: 1 REPRODUCED, 1 INCONCLUSIVE" in told
    assert "hardly" not in told, "all looks are done"
    assert main(["report", "demo"]) == 0
    assert claims_of(empty / "mlruns", "demo") == claims


def test_a_search_has_no_claims_to_decide(empty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "smoke", "seeds=auto"]) == 2
    assert "seeds=auto is not allowed" in capsys.readouterr().err


@pytest.mark.slow
def test_seeds_of_earlier_launches_count(empty: Path) -> None:
    """A launch says what `report` says after it."""
    words = ["ablate", "demo", *DEMO[:-1], CLAIMS, "statistics.looks=[3,4,5]", "statistics.give_up=0.99"]
    words += ["store.log_model=none"]
    assert main([*words, "seeds=4"]) == 0
    assert main([*words, "seeds=auto"]) == 0
    claims = claims_of(empty / "mlruns", "demo")
    assert {name: claim["n"] for name, claim in claims.items()} == {"sure": 3, "open": 4}
    assert main(["report", "demo"]) == 0
    assert claims_of(empty / "mlruns", "demo") == claims
