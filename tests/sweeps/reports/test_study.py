"""What the pages of studies and grids show beside their charts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.tracking.reader import TrackedRun
from sweeps.config.multirun import compose_multirun
from sweeps.config.study import compose_study
from sweeps.reports.context import ReportContext
from sweeps.reports.factorial import explained, importance_drawings
from sweeps.reports.study import best_card, best_trials, count_states, curves_drawing, runs_by_trial
from sweeps.reports.tables import means_table, trials_table
from sweeps.results import StudyResult, StudyTrial, TrialResult
from sweeps.search.optuna_figures import draw_grid

SWEEP = compose_study("smoke", [])
POINT = {"model.conv_layers": 1, "model.filters": 8, "model.dropout": 0.1, "optimizer.learning_rate": 0.0123456}
TRIALS = [
    StudyTrial(0, "COMPLETE", [0.90], POINT, {"0": 0.90}, [0], ["run-of-0"]),
    StudyTrial(1, "PRUNED", [0.30], {"model.conv_layers": 0}, {}, [], []),
    StudyTrial(2, "FAIL", [], POINT, {}, [], [], "seed=0: the loss is not finite"),
    StudyTrial(3, "COMPLETE", [0.95], POINT, {"0": 0.95}, [0], ["run-of-3"]),
]
STUDY = StudyResult(TRIALS, [TRIALS[3]])


def run(trial: str, status: str = "FINISHED", **metrics: float) -> TrackedRun:
    named = {name.replace("_", "/"): value for name, value in metrics.items()} | {"epochs": 5.0}
    return TrackedRun(f"run-of-{trial}", status, named, {"convsweep.trial": trial}, {"seed": "0"})


class Tracker:
    """A store with a run per trial, the newest first."""

    def children(self, parent: str, sweep: str) -> list[TrackedRun]:
        return [run("3", val_accuracy=0.95), run("1", "KILLED", val_accuracy=0.30), run("0", val_accuracy=0.90)]

    def history(self, run_id: str) -> dict[str, list[float]]:
        return {"val/accuracy": [0.5, 0.6]}


CONTEXT: ReportContext = SimpleNamespace(tracker=Tracker(), parent="parent", sweep=SWEEP)  # type: ignore[assignment]


def test_every_trial_is_listed_with_how_it_ended_and_its_run() -> None:
    runs = runs_by_trial(CONTEXT)
    rows = trials_table(STUDY, SWEEP, runs, lambda each: f"/{each.run_id}").rows
    assert [row.cells[1].text for row in rows] == ["complete", "pruned", "fail", "complete"]
    assert rows[2].cells[1].beneath == "seed=0: the loss is not finite"
    assert [row.cells[-1].link for row in rows] == ["/run-of-0", "/run-of-1", "", "/run-of-3"]
    assert count_states(STUDY) == [(4, "trials"), (2, "complete"), (1, "fail"), (1, "pruned")]
    assert [result.label for result in best_trials(STUDY, SWEEP, runs)] == ["trial 3", "trial 0"]
    assert [drawing.file for drawing in curves_drawing(CONTEXT, STUDY, runs)] == ["trials.png"]


def test_finalists_come_first_with_all_their_seeds() -> None:
    class Again(Tracker):
        def children(self, parent: str, sweep: str) -> list[TrackedRun]:
            fresh = replace(run("0 finalist", val_accuracy=0.96), params={"seed": "50"})
            return [fresh, *super().children(parent, sweep)]

    context: ReportContext = SimpleNamespace(tracker=Again(), parent="parent", sweep=SWEEP)  # type: ignore[assignment]
    runs = runs_by_trial(context)
    chosen = replace(TRIALS[0], values=[0.93], seeds=[0, 50], run_ids=["run-of-0", "run-of-0 finalist"])
    study = replace(STUDY, best=[chosen], finalists=[chosen])
    results = best_trials(study, SWEEP, runs)
    assert [(result.label, result.seeds) for result in results] == [("trial 0", [0, 50]), ("trial 3", [0])]
    assert results[0].values("val/accuracy") == [0.90, 0.96]


def test_the_best_config_is_told_with_what_it_reached_and_how_to_train_it_again() -> None:
    fresh = [run("3 confirmed", val_accuracy=0.93, test_accuracy=0.92), run("3", val_accuracy=0.91, test_accuracy=0.90)]
    card = dict(best_card(STUDY, fresh, SWEEP))
    assert card["config"] == "trial 3: conv_layers 1, filters 8, dropout 0.1, learning_rate 0.01235"
    assert card["validation accuracy"] == "0.9500 when it was chosen; 0.9200 ± 0.0141 on 2 fresh seeds"
    assert card["test accuracy"] == "0.9100 ± 0.0141 on 2 fresh seeds"
    assert card["selection bias"].startswith("+0.0300")
    assert "convsweep train --from best.yaml" in card.values()
    assert "test accuracy" not in dict(best_card(STUDY, [], SWEEP))


def test_a_grid_has_a_mean_for_each_value_of_each_parameter() -> None:
    swept = ["data=digits", "model.padding=same", "model.filters=2,4", "model.activation=relu,tanh"]
    sweep = compose_multirun(swept, {})
    results = [
        TrialResult(trial.label, trial.label, [0], [run(trial.label, test_accuracy=0.8 + 0.05 * place)])
        for place, trial in enumerate(sweep.trials or [])
    ]
    rows = [[cell.text for cell in row.cells] for row in means_table(results, sweep).rows]
    assert rows == [
        ["model.filters", "2", "0.8250", "2"],
        ["model.filters", "4", "0.9250", "2"],
        ["model.activation", "relu", "0.8500", "2"],
        ["model.activation", "tanh", "0.9000", "2"],
    ]
    assert explained(results, sweep) == pytest.approx({"model.filters": 0.8, "model.activation": 0.2})
    assert explained(results[1:], sweep) == {}, "of a part of a grid, effects cannot be told apart"


def test_a_grid_is_drawn_by_its_parameters_where_it_has_several(tmp_path: Path) -> None:
    swept = ["data=digits", "model.padding=same", "model.filters=2,4"]
    for more, drawn in (["model.activation=relu,tanh"], ["parallel_coordinate.png"]), ([], []):
        sweep = compose_multirun([*swept, *more], {})
        results = [
            TrialResult(it.label, it.label, [0], [run(it.label, test_accuracy=0.8)]) for it in sweep.trials or []
        ]
        assert draw_grid(results, sweep, tmp_path) == draw_grid([], sweep, tmp_path) == []
        assert [path.name for path in tmp_path.iterdir()] == drawn
        assert importance_drawings(results, sweep) == [], "where all are equal, nothing is to explain"
        (tmp_path / "parallel_coordinate.png").unlink(missing_ok=True)
