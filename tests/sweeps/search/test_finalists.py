"""Which trials of a search are trained again, and which of them is chosen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.tracking.reader import TrackedRun
from sweeps.config.study import compose_study
from sweeps.reports.headline import study_headline
from sweeps.reports.tables import finalists_table
from sweeps.results import Runs, StudyResult, StudyTrial
from sweeps.search.finalists import finalists_of, with_finalists

SWEEP = compose_study("smoke", [])
FRONT = replace(SWEEP, objectives={"val/accuracy": "maximize", "parameters": "minimize"})


def trial(number: int, accuracy: float, state: str = "COMPLETE") -> StudyTrial:
    values = [accuracy] if state == "COMPLETE" else []
    return StudyTrial(number, state, values, {}, {"0": accuracy}, [0], [f"run-{number}"])


def fresh(number: int, *accuracies: float) -> Runs:
    """Runs of a finalist on the first of the finalists' seeds."""
    runs = {
        seed: TrackedRun(f"fresh-{number}-{seed}", "FINISHED", {"val/accuracy": accuracy})
        for seed, accuracy in zip(SWEEP.finalist_seeds, accuracies, strict=False)
    }
    return {f"{number} finalist": runs}


TRIALS = [trial(0, 0.90), trial(1, 0.96), trial(2, 0.99, "PRUNED"), trial(3, 0.95), trial(4, 0.94)]
STUDY = StudyResult(TRIALS, [TRIALS[1]])


def numbers(trials: list[StudyTrial]) -> list[int]:
    return [trial.number for trial in trials]


def test_the_best_completed_trials_are_finalists_the_best_first() -> None:
    assert numbers(finalists_of(STUDY, SWEEP)) == [1, 3, 4]
    down = replace(SWEEP, objectives={"val/loss": "minimize"})
    assert numbers(finalists_of(STUDY, down)) == [0, 4, 3]


@pytest.mark.parametrize("settings", [{"finalists": 1}, {"finalist_seeds": ()}])
def test_there_are_none_where_none_are_asked_for(settings: dict[str, object]) -> None:
    assert finalists_of(STUDY, replace(SWEEP, **settings)) == []  # type: ignore[arg-type]


def test_there_are_none_where_there_is_nothing_to_choose_between() -> None:
    assert finalists_of(StudyResult(TRIALS[:1], TRIALS[:1]), SWEEP) == []
    assert finalists_of(StudyResult([], []), SWEEP) == []


def test_the_best_mean_over_all_seeds_is_chosen_and_not_the_luckiest_seed() -> None:
    runs = {**fresh(1, 0.90, 0.90), **fresh(3, 0.95, 0.94), **fresh(4, 0.93, 0.93)}
    chosen = with_finalists(STUDY, runs, SWEEP)
    assert numbers(chosen.finalists) == [3, 4, 1]
    (best,) = chosen.best
    assert best.number == 3
    assert best.values == pytest.approx([(0.95 + 0.95 + 0.94) / 3])
    assert best.seeds == [0, 50, 51]
    assert best.run_ids == ["run-3", "fresh-3-50", "fresh-3-51"]
    assert chosen.trials == TRIALS, "the search's own values stay"
    rows = [[cell.text for cell in row.cells[:4]] for row in finalists_table(chosen, SWEEP).rows]
    assert rows[0] == ["3", "0.9500", "0.9467 ± 0.0058", "3"]
    words = "Trial 3 is the best of 3 finalists, of 4 completed trials: validation accuracy 0.9467, mean of 3 seeds."
    assert study_headline(chosen, [], SWEEP).startswith(words)


def test_a_finalist_of_which_a_seed_failed_comes_after_the_others() -> None:
    runs = {**fresh(1, 0.99), **fresh(3, 0.91, 0.91), **fresh(4, 0.92, 0.90)}
    assert numbers(with_finalists(STUDY, runs, SWEEP).finalists) == [3, 4, 1]


def test_without_fresh_runs_and_with_those_of_other_seeds_the_search_stands() -> None:
    assert with_finalists(STUDY, {}, SWEEP) is STUDY
    other = {"3 finalist": {7: TrackedRun("other", "FINISHED", {"val/accuracy": 0.99})}}
    assert with_finalists(STUDY, other, SWEEP) is STUDY


def test_with_several_objectives_the_front_stays_and_its_first_is_chosen() -> None:
    trials = [replace(each, values=[*each.values, 100.0 + each.number]) for each in TRIALS]
    front = StudyResult(trials, [trials[1], trials[3], trials[4], trials[0]])
    assert numbers(finalists_of(front, FRONT)) == [1, 3, 4]
    runs = {**fresh(1, 0.90, 0.90), **fresh(3, 0.95, 0.94), **fresh(4, 0.93, 0.93)}
    chosen = with_finalists(front, runs, FRONT)
    assert numbers(chosen.best) == [3, 4, 1, 0]
    assert chosen.best[0].values[1] == 103.0
    short = with_finalists(StudyResult(trials, [trials[1], trials[3]]), runs, FRONT)
    assert numbers(short.best) == [3, 1], "a front that is all finalists stays whole"
