from __future__ import annotations

import pytest

from pipeline.config.checks import ConfigError
from pipeline.config.compose import compose
from pipeline.config.schema import RunConfig

PIECEWISE = "optimizer.schedule=piecewise optimizer.boundaries=[2,4]"
REFUSED = [
    ("optimizer=adamw optimizer.momentum=0.9", "optimizer.momentum=0.9", "0.0 with optimizer=adamw, which has none"),
    ("optimizer.nesterov=true", "optimizer.nesterov=true", "optimizer=sgd and optimizer.momentum above 0"),
    ("optimizer=sgd optimizer.nesterov=true", "optimizer.nesterov=true", "optimizer.momentum above 0"),
    ("optimizer=rmsprop optimizer.momentum=0.9 optimizer.nesterov=true", "optimizer.nesterov=true", "optimizer=sgd"),
    ("optimizer.weight_decay=-1", "optimizer.weight_decay=-1", "from 0"),
    ("optimizer.clip_norm=0", "optimizer.clip_norm=0", "above 0, or null"),
    ("optimizer.schedule=cosin", "optimizer.schedule=cosin", "did you mean cosine?"),
    ("optimizer.warmup_epochs=-0.5", "optimizer.warmup_epochs=-0.5", "a number of epochs from 0"),
    ("optimizer.schedule=cosine optimizer.warmup_epochs=5", "optimizer.warmup_epochs=5", "below trainer.epochs=5"),
    ("optimizer.final_fraction=0.1", "optimizer.final_fraction=0.1", "schedule=constant: only cosine has it"),
    ("optimizer.schedule=cosine optimizer.final_fraction=1", "optimizer.final_fraction=1", "not including 1"),
    ("optimizer.schedule=cosine optimizer.decay_rate=0.5", "optimizer.decay_rate=0.5", "only exponential has it"),
    ("optimizer.decay_epochs=2", "optimizer.decay_epochs=2", "only exponential has it"),
    ("optimizer.schedule=exponential", "optimizer.decay_rate=1.0", "below 1 with optimizer.schedule=exponential"),
    ("optimizer.boundaries=[2]", "optimizer.boundaries=[2]", "[] with optimizer.schedule=constant: only piecewise"),
    ("optimizer.schedule=cosine optimizer.factors=[0.1]", "optimizer.factors=[0.1]", "only piecewise has it"),
    ("optimizer.schedule=piecewise", "optimizer.boundaries=[]", "at least one epoch"),
    (f"{PIECEWISE} optimizer.factors=[0.1]", "optimizer.factors=[0.1]", "one per boundary, 2"),
    (f"{PIECEWISE} optimizer.factors=[0.1,0]", "optimizer.factors=[0.1, 0.0]", "above 0"),
    (f"{PIECEWISE} optimizer.factors=[1,2] optimizer.warmup_epochs=2.5", "optimizer.warmup_epochs=2.5", "at most 2"),
    ("optimizer.schedule=piecewise optimizer.boundaries=[4,2]", "optimizer.boundaries=[4, 2]", "above the one before"),
    ("optimizer.schedule=piecewise optimizer.boundaries=[2,2]", "optimizer.boundaries=[2, 2]", "above the one before"),
    ("optimizer.schedule=piecewise optimizer.boundaries=[0.5]", "optimizer.boundaries=[0.5]", "whole numbers"),
]


@pytest.mark.parametrize(("overrides", "told", "allowed"), REFUSED, ids=[r[0] for r in REFUSED])
def test_what_does_not_go_together_or_has_no_effect_is_refused(overrides: str, told: str, allowed: str) -> None:
    with pytest.raises(ConfigError) as refused:
        compose(RunConfig, "train", overrides.split())
    assert told in str(refused.value)
    assert allowed in str(refused.value)


@pytest.mark.parametrize(
    "overrides",
    [
        "optimizer.schedule=cosine optimizer.warmup_epochs=4.5",
        f"{PIECEWISE} optimizer.factors=[0.1,0.01] optimizer.warmup_epochs=2",
        "optimizer.warmup_epochs=99",  # a run may be extended until it has them
        "optimizer=sgd optimizer.momentum=0.9 optimizer.nesterov=true",
        "optimizer=adamw optimizer.weight_decay=0",
    ],
)
def test_what_goes_together_is_composed(overrides: str) -> None:
    compose(RunConfig, "train", overrides.split())


def test_adamw_decays_as_keras_does_by_default() -> None:
    import keras

    told = compose(RunConfig, "train", ["optimizer=adamw"]).optimizer
    theirs = keras.optimizers.AdamW()
    assert (told.weight_decay, told.learning_rate) == (theirs.weight_decay, pytest.approx(float(theirs.learning_rate)))
