"""Norms of the gradient before the first step: right, and without a trace in what is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.schema import RunConfig
from pipeline.models.build import build
from pipeline.training.checkpoints import CheckpointStore
from pipeline.training.cost import why_missing
from pipeline.training.identity import resolve
from pipeline.training.result import RunResult
from pipeline.training.trainer import seed_everything
from tests.helpers.training import resume_key, signature, trained

Compose = Callable[..., RunConfig]
ASKED = "trainer.gradient_norms=true"
LINE = ["data=line", "model=line", "trainer=line", "optimizer=sgd", "trainer.precision=float32", "trainer.epochs=1"]
RESIDUAL = ["data=digits", "data.limit=100", "model=residual", "trainer.epochs=1", "trainer.threads=1", ASKED]


def norms(result: RunResult) -> dict[str, float]:
    return {name: value for name, value in result.final.items() if name.startswith("gradient_norm/")}


def test_of_a_line_they_are_as_worked_out_by_hand(config: Compose) -> None:
    settings = config(ASKED, base=LINE)
    run = resolve(settings, "data")
    seed_everything(run)
    weight, bias = (np.asarray(v).item() for v in build(settings.model, settings.data, run.layers).trainable_variables)
    x = np.arange(1, 7)
    errors = weight * x + bias - (0.5 * x + 0.5)
    by_hand = np.hypot(2 * np.mean(errors * x), 2 * np.mean(errors))
    assert norms(trained(settings)) == {"gradient_norm/output": pytest.approx(by_hand, rel=1e-5)}


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_what_is_trained_is_the_same_bit_for_bit(config: Compose, precision: str) -> None:
    """Although a step draws for dropout, and moves the averages of batch normalization."""
    words = ["data=digits", "data.limit=100", "model=builder", "model.builder=tests.helpers.networks:mixer"]
    words += ["model.augmentation.shift=0.1", "trainer.epochs=2", "trainer.threads=1", f"trainer.precision={precision}"]
    without, asked = trained(config(base=words)), trained(config(ASKED, base=words))
    assert asked.history == without.history
    assert not norms(without)
    names = {"dense", "dense_1", "dense_2", "batch_normalization"}
    assert {name.rpartition("/")[2] for name in norms(asked)} == names
    assert all(value > 0 for value in norms(asked).values())


def test_a_resumed_run_has_those_of_its_first_weights(config: Compose, tmp_path: Path) -> None:
    fresh = trained(config(base=RESIDUAL))
    trained(config("trainer.gradient_norms=false", base=RESIDUAL), checkpoints=CheckpointStore(tmp_path))
    resumed = trained(config(base=RESIDUAL), checkpoints=CheckpointStore(tmp_path))
    assert norms(resumed) == norms(fresh) != {}
    assert resumed.history == fresh.history


def test_they_vanish_in_a_deep_plain_stack_and_not_in_a_residual_one(config: Compose) -> None:
    first = {
        shortcuts: norms(
            trained(config("model.args.convolutions=24", f"model.args.shortcuts={shortcuts}", base=RESIDUAL))
        )
        for shortcuts in ("true", "false")
    }
    assert first["true"]["gradient_norm/conv_0"] > 0.1
    assert first["false"]["gradient_norm/conv_0"] < 0.001


def test_a_run_with_them_is_another_that_shares_the_checkpoints(config: Compose) -> None:
    assert signature(config(ASKED)) != signature(config())
    assert resume_key(config(ASKED)) == resume_key(config())
    assert why_missing("gradient_norm/conv_1", config(ASKED)) == ""
    assert "trainer.gradient_norms=false" in why_missing("gradient_norm/conv_1", config())
