"""Views of a sweep in MLflow's pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.tracking.tracker import Tracker
from sweeps.config.ablation import compose_ablation
from sweeps.config.study import compose_study
from sweeps.sweep import Sweep
from sweeps.views import BEGIN, MOST_CHARACTERS, NOTE, save_notes, sweep_views, with_part


def titles(sweep: Sweep, is_folded: bool = False) -> list[str]:
    """Titles of the sections of the first view that are folded, or are not."""
    return [each.title for each in sweep_views(sweep, lambda metric: [])[0].sections if each.is_folded == is_folded]


def test_what_a_sweep_is_about_comes_first(root: Path) -> None:
    demo, smoke = compose_ablation("demo", ["trainer.gradient_norms=true"]).sweep, compose_study("smoke", [])
    assert titles(demo) == ["Test", "Training", "Overfitting and cost"]
    assert titles(demo, is_folded=True) == ["Training images, dropout off", "test/accuracy", "gradient_norm"]
    assert titles(smoke) == ["Validation", "Training", "Overfitting and cost"]
    assert titles(smoke, is_folded=True) == ["Test", "Training images, dropout off", "test/accuracy"]
    orders = [(view.name, view.order_by, view.ascending) for view in sweep_views(smoke, lambda metric: [])]
    best = ("val/accuracy", False)
    assert orders == [("curves", *best), ("ranking", *best), ("cost", "seconds_per_epoch", True)]


@pytest.mark.parametrize(
    ("values", "bounds"),
    [
        ([0.87, 0.91], (0.868, 0.912)),
        ([0.87, float("nan"), float("inf")], (0.8265, 0.9135)),
        ([0.0], (-1.0, 1.0)),
        ([], None),
    ],
)
def test_axes_show_the_differences(values: list[float], bounds: tuple[float, float] | None, root: Path) -> None:
    curves, *_ = sweep_views(compose_ablation("demo", []).sweep, lambda metric: values)
    assert {chart.bounds for chart in curves.sections[0].charts} == {bounds}
    assert {chart.bounds for chart in curves.sections[2].charts} == {None}


def test_a_users_words_around_our_part_of_a_note_stay() -> None:
    first = with_part("", "one")
    assert with_part(f"above\n{first}\nbelow", "two") == f"above\n{first.replace('one', 'two')}\nbelow"
    assert with_part("mine", "one") == f"{first}\n\nmine"
    assert with_part("[curves](#/experiments/1/runs?a=b&viewStateShareKey=curves)", "one") == first
    assert with_part(f"{BEGIN} cut off", "one") == f"{first}\n\n{BEGIN} cut off"


def test_notes_are_written_anew_in_mlflow_but_for_a_users_words(root: Path) -> None:
    sweep = compose_ablation("demo", []).sweep
    tracker = Tracker(sweep.store)
    parent = tracker.open_sweep("demo", {})

    def notes() -> list[str]:
        experiment = tracker.client.get_experiment(tracker.experiment("demo"))
        return [experiment.tags[NOTE], tracker.get(parent).tags[NOTE]]

    save_notes(sweep, tracker, parent, "short", "long")
    of_experiment, of_run = notes()
    tracker.client.set_experiment_tag(tracker.experiment("demo"), NOTE, f"{of_experiment}\nmine")
    tracker.tag(parent, {NOTE: f"mine\n{of_run}"})
    save_notes(sweep, tracker, parent, "shorter", "longer")
    assert notes() == [f"{with_part('', 'shorter')}\nmine", f"mine\n{with_part('', 'longer')}"]
    save_notes(sweep, tracker, parent, "shorter", "long" * MOST_CHARACTERS)
    assert notes()[1] == f"mine\n{with_part('', 'shorter')}"
