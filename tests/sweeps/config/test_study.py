"""Studies that are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeps.cli.main import main

DIGITS = ["data=digits", "model.padding=same", "trainer.epochs=2", "store.log_model=none"]


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["data.val_fraction=0"], "data.val_fraction=0.0 is not allowed: data.val_fraction must be above 0"),
        (["study.objectives={test/accuracy:maximize}"], "a sampler must not see it"),
        (["study.objectives={val/accuracy:maximize,parameters:minimize}"], "none with several objectives"),
        (["study.objectives={parameters:minimize}"], "one of val/accuracy, val/loss"),
        (["study.confirm_seeds=[0]"], "fresh: [0] chose the config already"),
        (["trainer.evaluate_test=true"], "only the confirmation may see the test set"),
        (["study.space={model.filters:'interval(4,6)'}"], "int(interval(low,high))"),
        (["study.objectives={val/acuracy:maximize}", "study.pruner=none"], "did you mean val/accuracy?"),
        (["study.sampler=gp"], "one of tpe, random, qmc, nsga2"),
        (["study.pruner=wilcoxon"], "another with fewer than 5 seeds"),
        (["study.pruner=medain"], "did you mean median?"),
        (["study.n_trials=0"], "study.n_trials=0"),
        (["data.limit=2"], "val/accuracy is not measured: data.val_fraction=0.2 of 2 examples is none"),
        (["data.val_fraction=0.0001"], "val/accuracy is not measured"),
        (["study.space={seed:'choice(1,2)'}"], "a trial has no seed of its own"),
        (["study.space={store.root:'choice(a,b)'}"], "a sweep is kept in one store"),
        (["study.n_trials=null"], "unless study.timeout, budget or the like ends the study"),
        (["study.space={model.fliters:'choice(1,2)'}"], "did you mean model.filters?"),
        (["study.space={model.l2:'choice(1'}"], "not in Hydra's sweep grammar"),
        (["study.space={model.l1:'interval(-1,1)'}"], "in the space: model.l1=-1.0 is not allowed"),
        (["model.filters=3"], "is what the study varies"),
        (["budget=soon"], "a time as in 30min, 2h or 90s"),
        (["retries=-1"], "retries=-1"),
        (["workers_max_memory=0"], "workers_max_memory=0.0"),
    ],
)
def test_bad_studies_are_refused_before_anything_starts(
    empty: Path, overrides: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", "smoke", *overrides]) == 2
    assert told in capsys.readouterr().err
    assert list(empty.iterdir()) == []
