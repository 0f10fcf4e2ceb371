"""Changed test images: how they look, what is measured on them, and that nothing else is changed by that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.checks import ConfigError
from pipeline.config.compose import compose
from pipeline.config.schema import RunConfig
from pipeline.datasets import dataset as data
from pipeline.training.changed_images import change_metrics, resized, shifted
from pipeline.training.checkpoints import CheckpointStore
from pipeline.training.cost import why_missing
from pipeline.training.identity import resolve
from pipeline.training.result import RunResult
from pipeline.training.trainer import restore_model
from tests.helpers.training import resume_key, signature, trained

Compose = Callable[..., RunConfig]
# In float32: in another precision Keras rounds where convsweep does not.
FLOAT32 = "trainer.precision=float32"
ASKED = ["trainer.test_shifts=[0.125,0.25]", "trainer.test_sizes=[0.75]"]
CHANGES = ("shift_0.125", "shift_0.25", "size_0.75")


def images(*rows: list[int], kind: type = np.uint8, count: int = 1) -> np.ndarray:
    return np.repeat(np.array([rows], kind)[..., None], count, axis=0)


def changed(result: RunResult) -> dict[str, float]:
    return {name: value for name, value in result.final.items() if name.startswith(("test_", "gap_"))}


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_images_move_up_down_left_and_right_in_turn(kind: type) -> None:
    x = images([1, 2, 3], [4, 5, 6], [7, 8, 9], kind=kind, count=5)
    moved = shifted(x, (1, 2))
    assert moved.dtype == x.dtype
    up, down = [[4, 5, 6], [7, 8, 9], [0, 0, 0]], [[0, 0, 0], [1, 2, 3], [4, 5, 6]]
    left, right = [[3, 0, 0], [6, 0, 0], [9, 0, 0]], [[0, 0, 1], [0, 0, 4], [0, 0, 7]]
    assert moved[..., 0].tolist() == [up, down, left, right, up]


def test_half_the_size_is_the_mean_of_four_pixels_about_the_centre() -> None:
    x = images([10, 20, 30, 40], [50, 60, 70, 80], [90, 100, 110, 120], [130, 140, 150, 161])
    small = [[0, 0, 0, 0], [0, 35, 55, 0], [0, 115, 135, 0], [0, 0, 0, 0]]
    assert resized(x, 0.5, 1)[0, ..., 0].tolist() == small  # 135.25 is rounded
    floats = resized(x.astype(np.float32), 0.5, 1)
    assert floats.dtype == np.float32
    assert floats[0, 2, 2, 0] == 135.25


def test_twice_the_size_is_the_centre_enlarged() -> None:
    x = images([0, 0, 0, 0, 0], [0, 8, 16, 8, 0], [0, 16, 32, 16, 0], [0, 8, 16, 8, 0], [0, 0, 0, 0, 0])
    large = [[8, 12, 16, 12, 8], [12, 18, 24, 18, 12], [16, 24, 32, 24, 16], [12, 18, 24, 18, 12], [8, 12, 16, 12, 8]]
    assert resized(x, 2.0, 1)[0, ..., 0].tolist() == large


def test_images_are_resized_by_height_and_width_channel_by_channel_in_any_number_at_once() -> None:
    x = np.random.default_rng(0).integers(0, 256, (5, 6, 9, 3), np.uint8)
    at_once = resized(x, 0.7, 5)
    assert at_once.shape == x.shape
    assert (resized(x, 0.7, 2) == at_once).all()
    assert (resized(x[3:4, ..., 1:2], 0.7, 1) == at_once[3:4, ..., 1:2]).all()
    mirrored = resized(x[:, ::-1, ::-1], 0.7, 5)[:, ::-1, ::-1].astype(int)
    assert abs(mirrored - at_once).max() <= 1, "the centre stays where it is"


def test_a_run_is_evaluated_on_them_and_trained_as_without(config: Compose, tmp_path: Path) -> None:
    settings = config(*ASKED, FLOAT32)
    result = trained(settings, checkpoints=CheckpointStore(tmp_path))
    assert [*changed(result)] == [
        f"{kind}_{change}/{what}"
        for change in CHANGES
        for kind, what in (("test", "accuracy"), ("test", "loss"), ("gap", "accuracy"))
    ]
    without = trained(config(FLOAT32))
    assert (result.history, changed(without)) == (without.history, {})
    checkpoint = CheckpointStore(tmp_path).latest(2)
    assert checkpoint is not None
    net, test = restore_model(resolve(settings, "data"), checkpoint), data.load(settings.data).test
    said = np.asarray(net(shifted(test.x, (2, 2)) / np.float32(settings.data.scale))).argmax(axis=1)
    accuracy = float(np.mean(said == test.y))
    assert result.final["test_shift_0.25/accuracy"] == pytest.approx(accuracy)
    lost = result.history["test/accuracy"][-1] - accuracy
    assert result.final["gap_shift_0.25/accuracy"] == pytest.approx(lost)
    assert lost > 0.05


def test_a_finished_run_is_only_evaluated_for_them(config: Compose, tmp_path: Path) -> None:
    trained(config(), checkpoints=CheckpointStore(tmp_path))
    steps: list[int] = []
    resumed = trained(
        config(*ASKED),
        on_steps=lambda epoch, step, steps_, metrics: steps.append(step),
        checkpoints=CheckpointStore(tmp_path),
    )
    assert not steps
    assert changed(resumed) == changed(trained(config(*ASKED))) != {}


def test_a_run_with_them_is_another_that_shares_the_checkpoints(config: Compose) -> None:
    assert signature(config(*ASKED)) != signature(config())
    assert resume_key(config(*ASKED)) == resume_key(config())


def test_a_regression_has_a_loss_alone(config: Compose) -> None:
    settings = config("data.task=regression", "data.class_names=[]", "trainer.epochs=1", *ASKED)
    assert [*changed(trained(settings))] == [f"test_{change}/loss" for change in CHANGES]
    assert "has no accuracy" in why_missing("test_size_0.75/accuracy", settings)


def test_where_the_test_set_is_left_out_so_are_its_changes(config: Compose) -> None:
    unseen = config("trainer.evaluate_test=false", "trainer.epochs=1", *ASKED)
    assert changed(trained(unseen)) == {}
    for metric in change_metrics(unseen.trainer):
        assert "leaves the test set out" in why_missing(metric, unseen)


def test_why_a_change_has_no_metric(config: Compose) -> None:
    asked = config(*ASKED)
    assert not any(why_missing(metric, asked) for metric in change_metrics(asked.trainer))
    why = why_missing("test_shift_0.1/accuracy", asked)
    has = "trainer.test_shifts=[0.125, 0.25] and trainer.test_sizes=[0.75] give test_shift_0.125/loss, "
    assert why.startswith(has)
    assert why_missing("gap_shift_0.125/loss", asked)
    assert why_missing("test_size_0.75/loss", config()).endswith("give no changed images")
    assert why_missing("train_eval/loss", asked) == ""


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.test_shifts=[0]", "must be shares of height and width above 0 and below 1"),
        ("trainer.test_shifts=[1]", "must be shares of height and width above 0 and below 1"),
        ("trainer.test_shifts=[0.2,0.2]", "each above the one before"),
        ("trainer.test_shifts=[0.2,0.2000001]", "each above the one before"),
        ("trainer.test_shifts=[0.2,0.1]", "each above the one before"),
        ("trainer.test_shifts=0.1", "must be a list of numbers"),
        ("trainer.test_sizes=[0]", "must be factors above 0 other than 1"),
        ("trainer.test_sizes=[0.5,1]", "must be factors above 0 other than 1"),
        ("trainer.test_sizes=[1.5,1.5]", "each above the one before"),
        ("trainer.test_shifts=[0.05]", r"=0.05 is not allowed: .* must be 1 pixel or more of .* data=digits, \[8, 8\]"),
        ("trainer.test_shifts=[0.1,0.95]", r"=0.95 is not allowed: .*, rounded, and not all"),
        ("trainer.test_sizes=[0.05]", r"=0.05 is not allowed: .* must be 1 pixel or more"),
    ],
)
def test_changes_that_cannot_be_made_are_refused(config: Compose, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(override)


@pytest.mark.parametrize("override", ["trainer.test_shifts=[0.1]", "trainer.test_sizes=[0.5]"])
def test_examples_that_are_no_images_are_refused(override: str) -> None:
    with pytest.raises(ConfigError, match=r"must be \[\] with data=line, whose examples are no images$"):
        compose(RunConfig, "train", ["data=line", "model=line", override])


def test_ones_own_data_is_checked_once_it_is_read(config: Compose) -> None:
    unread = config("data=python", "data.name=mine", "data.loader=mine:load", "model=dense", *ASKED)
    read = replace(unread.data, shape=[64], train_size=9, test_size=9, class_names=["a", "b"])
    with pytest.raises(ConfigError, match=r"whose examples are no images$"):
        replace(unread, data=read)
    with pytest.raises(ConfigError, match=r"no images; of grey images say data.shape=\[8,8,1\]"):
        replace(unread, data=replace(read, shape=[8, 8]))
    assert replace(unread, data=replace(read, shape=[8, 8, 1])).trainer.test_shifts == [0.125, 0.25]
