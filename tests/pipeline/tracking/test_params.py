"""Which keys of a config are params in MLflow."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pipeline.config.schema import RunConfig
from pipeline.tracking.params import params_of, rests


def test_what_rests_or_decides_no_number_is_no_param(config: Callable[..., RunConfig]) -> None:
    params = params_of(config("data=digits", "model.dropout=0.1", "optimizer.weight_decay=0.01"))
    assert len(params) < 42
    assert params["model.dropout"] == "0.1"
    assert params["optimizer.weight_decay"] == "0.01"
    assert not {"data.limit", "optimizer.schedule", "data.cache", "checkpoints.max_gib", "store.root"} & params.keys()


def test_what_is_overridden_is_a_param_wherever_it_rests(config: Callable[..., RunConfig]) -> None:
    words = ["data=digits", "optimizer.nesterov=false", "data.limit=null"]
    params = params_of(config(*words), words)
    assert params["optimizer.nesterov"] == "False"
    assert params["data.limit"] == "null"


@pytest.mark.parametrize(
    ("key", "value", "at_rest"),
    [
        ("data.limit", None, True),
        ("model.args.width", 8, False),
        ("optimizer.schedule", "constant", True),
        ("optimizer.schedule", "cosine", False),
        ("model.dropout", 0.0, False),
        ("model.args", {}, True),
    ],
)
def test_what_is_empty_or_at_its_default_rests(key: str, value: object, at_rest: bool) -> None:
    assert rests(key, value) == at_rest
