from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from pipeline.config import ConfigError, RunConfig
from sweeps.study import Study, Sweep, Trial


@pytest.fixture
def sweep(root: Path, config: Callable[..., RunConfig]) -> Sweep:
    base = config()
    trials = [Trial(f"conv_{n}", (f"model.filters={n}",), {"model.filters": n}, base) for n in (4, 8)]
    identity = {"base": {"trainer.epochs": 2}, "space": {t.label: list(t.overrides) for t in trials}}
    return Sweep("some", trials, [0, 1], 1, base.store, None, "test/accuracy", "maximize", identity)


def states(root: Path) -> list[str]:
    return [
        t.state.name for t in optuna.load_study(study_name="some", storage=f"sqlite:///{root / 'optuna.db'}").trials
    ]


def test_a_told_trial_is_complete_for_these_seeds_and_fewer(sweep: Sweep) -> None:
    study, trial = Study(sweep), sweep.trials[1]
    assert not study.is_complete(trial)
    asked = study.ask(trial)
    assert asked.params == {"model.filters": 8}
    study.complete(asked, 0.5, {"seeds": [0, 1]})
    assert Study(sweep).is_complete(trial)
    assert Study(replace(sweep, seeds=[1])).is_complete(trial)
    assert not Study(replace(sweep, seeds=[0, 1, 2])).is_complete(trial)
    assert not Study(sweep).is_complete(sweep.trials[0])


def test_what_a_process_left_open_is_failed_and_asked_again(sweep: Sweep, root: Path) -> None:
    Study(sweep).ask(sweep.trials[0])
    again = Study(sweep)
    again.close_abandoned()
    again.study.enqueue_trial({"model.filters": 8}, user_attrs={"label": "gone"})
    study_trial = again.ask(sweep.trials[0])
    again.complete(study_trial, 0.1, {"seeds": [0, 1]})
    assert states(root) == ["FAIL", "FAIL", "COMPLETE"]


def test_another_base_space_or_direction_is_refused_with_the_difference(sweep: Sweep) -> None:
    Study(sweep)
    other = replace(sweep, identity=sweep.identity | {"base": {"trainer.epochs": 3}})
    with pytest.raises(ConfigError, match=r"trainer.epochs: 2 -> 3(.|\n)*ablation.name=some_2"):
        Study(other)
    with pytest.raises(ConfigError, match="direction: maximize -> minimize"):
        Study(replace(sweep, direction="minimize"))
