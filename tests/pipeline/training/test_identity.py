from __future__ import annotations

from collections.abc import Callable

import pytest

from pipeline.config.schema import RunConfig
from tests.helpers.training import signature

Compose = Callable[..., RunConfig]


@pytest.mark.parametrize(
    "other",
    [
        "model.filters=5",
        "model.l2=0.1",
        "model.activation=elu",
        "model.dropout=0.1",
        "seed=1",
        "data.limit=100",
        "trainer.epochs=3",
        "trainer.batch_size=16",
        "trainer.shuffle=once",
        "trainer.precision=float32",
        "optimizer.learning_rate=0.01",
    ],
)
def test_what_decides_numbers_changes_it(config: Compose, other: str) -> None:
    assert signature(config("trainer.precision=mixed_bfloat16"), "d") != signature(
        config("trainer.precision=mixed_bfloat16", other), "d"
    )
    assert signature(config(), "d") != signature(config(), "e")


@pytest.mark.parametrize(
    "other",
    ["store.root=elsewhere", "trainer.threads=2", "model.name=other", "data.cache=elsewhere", "model.pool_size=2"],
)
def test_what_decides_nothing_does_not(config: Compose, other: str) -> None:
    assert signature(config(), "d") == signature(config(other), "d")


def test_keys_without_a_layer_do_not(config: Compose) -> None:
    dense = ["model=dense", "data=digits"]
    assert signature(config(base=dense), "d") == signature(config("model.kernel_size=5", base=dense), "d")


def test_another_version_of_the_training_changes_it(config: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    before = signature(config(), "d")
    monkeypatch.setattr("pipeline.training.identity.TRAINING_VERSION", 0)
    assert signature(config(), "d") != before


def test_a_limit_and_a_fraction_of_the_same_size_are_different_runs(config: Compose) -> None:
    assert signature(config("data.limit=718"), "d") != signature(config("data.train_fraction=0.5"), "d")
    assert signature(config("data.limit=99999"), "d") == signature(config(), "d"), "without effect"
