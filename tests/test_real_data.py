"""The real MNIST, horses and humans (`make test-data`): without the files these tests fail and say what to set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.config.compose import compose
from pipeline.config.schema import RunConfig
from pipeline.datasets import dataset as data
from pipeline.datasets.dataset import Examples
from sweeps.cli.main import main
from tests.pipeline.tracking.test_tracker import runs
from tests.pipeline.training.test_checkpoints import continues_bit_for_bit

pytestmark = pytest.mark.real_data
MNIST = ["data=mnist", "model=week3_conv"]
HORSE = ["data=horse_or_human", "model=horse_conv", "trainer=horse", "optimizer=rmsprop"]


@pytest.fixture(params=[MNIST, HORSE], ids=["mnist", "horse_or_human"])
def net(request: pytest.FixtureRequest) -> list[str]:
    """Overrides of a set and its network; an error that says what helps where the set cannot be had."""
    overrides: list[str] = request.param
    data.load(compose(RunConfig, "train", overrides).data)
    return overrides


def counts(examples: Examples) -> list[int]:
    return np.bincount(examples.y).tolist()


def test_mnist_is_as_published() -> None:
    found = data.load(compose(RunConfig, "train", MNIST).data)
    assert (found.train.x.shape, found.test.x.shape) == ((60_000, 28, 28, 1), (10_000, 28, 28, 1))
    assert counts(found.train) == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert counts(found.test) == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert found.train.y[:5].tolist() == [5, 0, 4, 1, 9], "in the published order"


def test_horses_and_humans_are_as_published(capsys: pytest.CaptureFixture[str]) -> None:
    settings = compose(RunConfig, "train", HORSE).data
    found = data.load(settings)
    assert (found.train.x.shape, found.test.x.shape) == ((1_027, 300, 300, 3), (256, 300, 300, 3))
    assert (counts(found.train), counts(found.test)) == ([500, 527], [128, 128])
    assert "left out" not in capsys.readouterr().out, "every image can be read"
    assert data.load(settings).sha256 == found.sha256 == data.data_sha256(settings)


def test_a_short_run_is_tracked_with_its_data(net: list[str], root: Path) -> None:
    short = ["data.limit=256", "trainer.epochs=2", "store.log_model=none"]
    assert main(["train", *net, *short]) == 0
    (run,) = runs(root)
    assert (run.info.status, run.data.metrics["epochs"]) == ("FINISHED", 2)
    assert run.data.tags["convsweep.data_sha256"] == data.data_sha256(compose(RunConfig, "train", net).data)


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_continues_bit_for_bit(net: list[str], precision: str, tmp_path: Path) -> None:
    short = ["data.limit=48", "trainer.batch_size=16", f"trainer.precision={precision}"]
    continues_bit_for_bit([*net, *short], tmp_path)
