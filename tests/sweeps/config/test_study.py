"""Studies that are refused, and spaces that are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeps.cli.main import main
from sweeps.config.study import compose_study

DIGITS = ["data=digits", "model.padding=same", "trainer.epochs=2", "store.log_model=none"]


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["data.val_fraction=0"], "data.val_fraction=0.0 is not allowed: data.val_fraction must be above 0"),
        (["study.objectives={test/accuracy:maximize}"], "a sampler must not see it"),
        (["study.objectives={val/accuracy:maximize,parameters:minimize}"], "none with several objectives"),
        (["study.objectives={parameters:minimize}"], "one of val/accuracy, val/loss"),
        (["study.confirm_seeds=[0]"], "fresh: [0] chose the config already"),
        (["study.finalist_seeds=[0]"], "fresh: [0] chose the config already"),
        (["study.finalist_seeds=[100]"], "study.confirm_seeds=[100, 101, 102] is not allowed"),
        (["study.finalists=0"], "study.finalists"),
        (["trainer.evaluate_test=true"], "only the confirmation may see the test set"),
        (["study.space={model.filters:'interval(4,6)'}"], "int(interval(low,high))"),
        (["study.objectives={val/acuracy:maximize}", "study.pruner=none"], "did you mean val/accuracy?"),
        (["study.sampler=bo"], "one of tpe, tpe_multivariate, random, qmc, nsga2, cmaes, gp"),
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


SPACE = """{
    optimizer.schedule: 'choice(constant,cosine,exponential)',
    optimizer.final_fraction: {sweep: "choice(0.1,0.2)", when: 'optimizer.schedule==cosine'},
    optimizer.decay_rate: {sweep: "interval(0.5,0.9)", when: 'optimizer.schedule==exponential'}
}""".replace("\n", "")


@pytest.mark.parametrize("first", ["constant,cosine,exponential", "cosine,exponential", "exponential,constant"])
def test_keys_that_only_one_schedule_has_are_searched_with_it(first: str) -> None:
    sweep = compose_study("smoke", [f"study.space={SPACE.replace('constant,cosine,exponential', first)}"])
    assert sweep.space is not None
    assert [parameter.key for parameter in sweep.space.parameters][1:] == [
        "optimizer.final_fraction",
        "optimizer.decay_rate",
    ]
