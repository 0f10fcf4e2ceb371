"""Sweeps of `train -m`: refused, named, seeded."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config.checks import ConfigError
from sweeps.cli.main import main
from sweeps.config.multirun import compose_multirun, divide_settings

DIGITS = ["data=digits", "model.padding=same", "trainer.epochs=2", "store.log_model=none"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["model.filters=4"], "sweeps over nothing"),
        (["model.fliters=4,8"], "did you mean model.filters?"),
        (["model.padding=same", "model.filters=4,0"], "model.filters=0 is not allowed"),
        (["model.dropout=interval(0,0.5)"], "data.val_fraction must be above 0 where a sampler searches"),
        (["model.filters=4,8", "hydra.sweeper.n_trails=3"], "did you mean hydra.sweeper.n_trials?"),
        (["model.conv_layers=1,9"], "window does not fit"),
        (
            ["model.padding=same", "trainer.evaluate_test=true,false"],
            "leaves the test set out",
        ),
        (["model=line", "data=digits,line"], "data=line is a regression, which has no accuracy"),
        (["hydra.job.chdir=true", "model.filters=4,8"], "only hydra.sweeper.KEY=... can be set"),
        (
            ["model.filters=range(1,900)", "model.conv_layers=range(12)"],
            "10,788 points",
        ),
        (["model.filters=range(1,99)", "seed=range(900)"], "98 points of 900 seeds each"),
        (["model.filters=4,8", "hydra.sweeper.seeds=5"], "a list of whole numbers"),
        (["model.filters=4,8", "hydra.sweeper.objectives=val/loss"], "must be a mapping"),
        (["model.filters=4,8", "hydra.sweeper.n_trials=abc"], "must be a whole number"),
        (["model.filters=4,8", "hydra.sweeper.timeout=1"], "has no effect on a grid"),
        (["model.filters=4,8", "hydra.sweeper.workers=1000"], "workers must be a whole number from 1 to 256"),
    ],
)
def test_bad_hydra_sweeps_are_refused(
    empty: Path, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "-m", "data=digits", *arguments]) == 2
    assert told in capsys.readouterr().err
    assert list(empty.iterdir()) == []


def test_a_hydra_search_has_one_identity_whatever_its_number_of_trials() -> None:
    overrides = ["data.val_fraction=0.1", "model.filters=4,8", "model.dropout=interval(0,0.5)"]
    names = [compose_multirun(overrides, {"n_trials": n}).name for n in (5, 50)]
    assert names[0] == names[1]
    assert compose_multirun([*overrides, "trainer.epochs=3"], {}).name != names[0]
    sweep = compose_multirun(overrides, {"n_trials": 7})
    assert sweep.limits.n_trials == 7
    assert sweep.trials is None
    assert not sweep.config.trainer.evaluate_test


def test_a_grid_with_objectives_needs_no_limit_as_a_search_does() -> None:
    fixed = ["data.val_fraction=0.1", "trainer.evaluate_test=false", "model.filters=2,4"]
    sweep = compose_multirun(fixed, {"objectives": {"val/accuracy": "maximize"}})
    assert sweep.objectives == {"val/accuracy": "maximize"}


def test_the_command_that_a_launch_tags_composes_the_same_sweep() -> None:
    settings = {"objectives": {"val/accuracy": "maximize", "parameters": "minimize"}, "name": "x", "timeout": 1.5}
    sweep = compose_multirun(["model.dropout=interval(0,0.5)", "data.val_fraction=0.1", "seed=0,1"], settings)
    assert compose_multirun(*divide_settings(sweep.command[2:])) == sweep


def test_swept_seeds_are_seeds_of_every_config() -> None:
    sweep = compose_multirun(["model.filters=4,8", "seed=0,1"], {})
    assert ([trial.label for trial in sweep.trials or []], sweep.seeds) == (["filters=4", "filters=8"], [0, 1])
    alone = compose_multirun(["seed=range(3)"], {})
    assert ([trial.label for trial in alone.trials or []], alone.seeds) == (["base"], [0, 1, 2])
    searched = compose_multirun(["seed=0,1", "model.dropout=interval(0,0.5)", "data.val_fraction=0.1"], {})
    assert searched.seeds == [0, 1]
    assert compose_multirun(["model.filters=4,8", "seed=5"], {}).seeds == [5]
    assert compose_multirun(["model.filters=4,8", "++seed=3,4"], {}).seeds == [3, 4]
    twice = ["seed=1", "seed=1,2"]
    for overrides, settings in ((["seed=0,1"], {"seeds": [0]}), (["seed=interval(0,1)"], {}), (twice, {})):
        with pytest.raises(ConfigError, match="give the seeds once"):
            compose_multirun(["model.filters=4,8", *overrides], settings)
