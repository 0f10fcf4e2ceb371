"""Accuracy by class: what its metrics are called, what they are, and that no further pass over the test set is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow.utils.validation import _validate_metric_name

from pipeline.config.compose import compose
from pipeline.config.data import DataConfig
from pipeline.config.schema import RunConfig
from pipeline.datasets import dataset as data
from pipeline.training.by_class import accuracy_by_class, class_metrics
from pipeline.training.checkpoints import CheckpointStore
from pipeline.training.cost import why_missing
from pipeline.training.identity import resolve
from pipeline.training.result import RunResult
from pipeline.training.trainer import restore_model
from tests.conftest import SMALL
from tests.helpers.training import trained

Compose = Callable[..., RunConfig]
NUMBERED = ["test/accuracy/class 0", "test/accuracy/class 1"]


def with_classes(*names: str) -> DataConfig:
    return replace(compose(RunConfig, "train", SMALL).data, format="python", loader="m:f", class_names=list(names))


def by_class(result: RunResult) -> dict[str, float]:
    return {name: value for name, value in result.final.items() if name.startswith("test/accuracy/")}


def test_the_courses_classes_have_their_names() -> None:
    fashion = class_metrics(compose(RunConfig, "train", []).data)
    assert [fashion[0], fashion[9]] == ["test/accuracy/T-shirt_top", "test/accuracy/Ankle boot"]
    horses = ["data=horse_or_human", "model=horse_conv"]
    assert class_metrics(compose(RunConfig, "train", horses).data) == ["test/accuracy/horses", "test/accuracy/humans"]
    assert class_metrics(compose(RunConfig, "train", ["data=line", "model=line"]).data) == []


@pytest.mark.parametrize(
    ("names", "metrics"),
    [
        (["cat@2", "d:o*g"], ["test/accuracy/cat_2", "test/accuracy/d_o_g"]),
        (["Käse", "猫"], ["test/accuracy/Käse", "test/accuracy/猫"]),
        (["..", "b"], NUMBERED),
        (["", "b"], NUMBERED),
        (["<", ">"], NUMBERED),
        (["a", "A"], NUMBERED),  # MySQL takes them for one
        (["a/b", "a_b"], NUMBERED),
        (["a/../../b", "c\nd"], ["test/accuracy/a_.._.._b", "test/accuracy/c_d"]),
        (["x" * 300, "y"], ["test/accuracy/" + "x" * 200, "test/accuracy/y"]),
    ],
)
def test_every_metric_can_be_tracked_and_is_a_classes_own(names: list[str], metrics: list[str]) -> None:
    assert class_metrics(with_classes(*names)) == metrics
    for metric in metrics:
        _validate_metric_name(metric)
        assert len(metric) <= 250


def test_a_hundred_classes_have_metrics_and_more_have_none() -> None:
    assert len(class_metrics(with_classes(*map(str, range(100))))) == 100
    assert class_metrics(with_classes(*map(str, range(101)))) == []


def test_a_class_without_examples_has_no_accuracy() -> None:
    found = accuracy_by_class(with_classes("a", "b", "c"), np.array([0, 0, 2], np.uint8), np.array([1.0, 0.0, 1.0]))
    assert found == {"test/accuracy/a": 0.5, "test/accuracy/c": 1.0}


@pytest.mark.parametrize("limit", [[], ["data.limit=50"]])
def test_it_is_what_the_models_predictions_say(config: Compose, tmp_path: Path, limit: list[str]) -> None:
    run, store = (
        resolve(config("trainer.precision=float32", "trainer.eval_batch_size=7", *limit), "data"),
        CheckpointStore(tmp_path),
    )
    result = trained(run.config, checkpoints=store)
    checkpoint = store.latest(2)
    assert checkpoint is not None
    test = data.split(data.load(run.config.data), run.config.data, 0).test
    said = restore_model(run, checkpoint).predict_on_batch(test.x.astype(np.float32) / 16).argmax(axis=1)
    wanted = {f"test/accuracy/{c}": float(np.mean(said[test.y == c] == c)) for c in range(10) if (test.y == c).any()}
    assert by_class(result) == pytest.approx(wanted)
    weights = [float(np.mean(test.y == c)) for c in range(10)]
    mean = sum(weights[int(name.rpartition("/")[2])] * value for name, value in by_class(result).items())
    assert mean == pytest.approx(result.history["test/accuracy"][-1])


def test_two_classes_have_one_each(config: Compose, coloured: list[str]) -> None:
    result = trained(config(base=[*coloured, "model=softmax", "trainer.epochs=1"]))
    assert list(by_class(result)) == ["test/accuracy/class_0", "test/accuracy/class_1"]
    assert np.mean(list(by_class(result).values())) == pytest.approx(result.history["test/accuracy"][-1])


def test_the_test_set_is_passed_once_per_epoch(
    config: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.training.loop import Evaluation

    sizes: list[int] = []
    counted = Evaluation.counted

    def counting(self: Any, examples: Any) -> Any:
        sizes.append(len(examples))
        return counted(self, examples)

    monkeypatch.setattr(Evaluation, "counted", counting)
    first = trained(config(), checkpoints=CheckpointStore(tmp_path))
    assert sizes == [360, 360, 1437], "two epochs and the slice of the training set"
    sizes.clear()
    again = trained(config(), checkpoints=CheckpointStore(tmp_path))
    assert sorted(sizes) == [360, 1437], "nothing was trained: the restored model is evaluated once"
    assert by_class(again) == by_class(first) != {}
    longer = trained(config("trainer.epochs=3"), checkpoints=CheckpointStore(tmp_path))
    assert by_class(longer) == by_class(trained(config("trainer.epochs=3")))


def test_where_the_test_set_is_left_out_so_is_each_class(config: Compose) -> None:
    assert by_class(trained(config("trainer.evaluate_test=false", "trainer.epochs=1"))) == {}


def test_why_a_class_has_no_metric() -> None:
    run = compose(RunConfig, "train", ["data=horse_or_human", "model=horse_conv"])
    assert why_missing("test/accuracy/humans", run) == ""
    has = "data=horse_or_human has test/accuracy/horses, test/accuracy/humans"
    assert why_missing("test/accuracy/people", run) == has
    assert why_missing("test/accuracy@5", run) == ""
    assert why_missing("test/accuracy@6", run) == "trainer.epochs=5 has no epoch 6"
    assert why_missing("val/accuracy/humans", replace(run, data=replace(run.data, val_fraction=0.1))) != ""
    unseen = replace(run, trainer=replace(run.trainer, evaluate_test=False))
    assert "leaves the test set out" in why_missing("test/accuracy/humans", unseen)
    line = compose(RunConfig, "train", ["data=line", "model=line"])
    assert "has no accuracy" in why_missing("test/accuracy/x", line)
    many = replace(run, data=with_classes(*map(str, range(101))))
    assert "more than 100 classes" in why_missing("test/accuracy/7", many)
