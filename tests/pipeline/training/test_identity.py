from __future__ import annotations

from collections.abc import Callable

import pytest

from pipeline.config.schema import RunConfig
from pipeline.training.identity import resolve
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
        "optimizer=adamw",
        "optimizer.clip_norm=1",
        "optimizer.warmup_epochs=0.5",
        "optimizer.schedule=cosine",
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


# Signature, resume key and cost key, as stores have them since before configs had schedules of the learning rate.
HORSE = ["data=horse_or_human", "model=horse_conv", "trainer=horse", "optimizer=rmsprop"]
STORED = {
    (): ("4828fe9d5aae480f", "75529f1c611c44c0", "7dbbd4df19c26674"),
    ("optimizer=sgd", "optimizer.momentum=0.9", "trainer.epochs=7"): (
        *("f1b99a690eb68071", "cda2b594c0147893", "b97d9d6411793955"),
    ),
    tuple(HORSE): ("b3189044ae61f4d1", "ff4f40521d2be2d4", "11bc696164155a9f"),
    ("data=line", "model=line", "trainer=line", "optimizer=sgd"): (
        *("5bfc92af35e7db5a", "70431b8682b65498", "37c4911acc721aa3"),
    ),
    ("data=digits", "model.padding=same", "model.dropout=0.2", "model.l2=0.001", "seed=3"): (
        *("824033501c8b5ad3", "a4d7941c4286aa77", "64e5bd623a971623"),
    ),
}


@pytest.mark.parametrize("overrides", STORED, ids=" ".join)
def test_keys_that_are_new_change_no_run_of_before(
    overrides: tuple[str, ...], config: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_then = {"keras": "3.15.0", "tensorflow": "2.21.0"}
    monkeypatch.setattr("pipeline.training.identity.versions", lambda: of_then)
    run = resolve(config("trainer.precision=float32", *overrides, base=[]), "data", 1)
    assert tuple(key[:16] for key in (run.signature, run.resume_key, run.cost_key)) == STORED[overrides]


def test_adamw_is_adam_with_weight_decay(config: Compose) -> None:
    assert signature(config("optimizer=adamw")) == signature(config("optimizer.weight_decay=0.004"))
    assert signature(config("optimizer=adamw", "optimizer.weight_decay=0")) == signature(config())
