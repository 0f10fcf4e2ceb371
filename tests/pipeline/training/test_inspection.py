from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from pipeline.config.checks import ConfigError
from pipeline.config.schema import RunConfig
from pipeline.training.identity import resolve
from pipeline.training.inspection import inspect
from tests.helpers.network_names import BAD, GOOD

Compose = Callable[..., RunConfig]


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_networks_that_fit_are_described(own: Compose, name: str, precision: str) -> None:
    run = resolve(own(name, f"trainer.precision={precision}"), "data")
    inspection = inspect(run, timed=True)
    assert sum(layer.params for layer in inspection.layers) > 0
    assert inspection.layers[-1].output_shape == (10,)
    assert inspection.seconds_per_step is not None
    assert 0 < inspection.seconds_per_step < 5


def test_networks_that_overflow_on_constants_are_timed(own: Compose) -> None:
    assert inspect(resolve(own("normalized", "trainer.precision=float32"), "data"), timed=True).seconds_per_step


def test_a_rate_that_diverges_on_noise_is_timed(own: Compose) -> None:
    rate = ("optimizer=sgd", "optimizer.learning_rate=1e30", "trainer.precision=float32")
    assert inspect(resolve(own("mixer", *rate), "data"), timed=True).seconds_per_step


def test_a_network_that_noise_does_not_suit_is_not_timed(own: Compose) -> None:
    with pytest.raises(ConfigError, match=r"logarithmic cannot be timed: .* not finite, since step 1;"):
        inspect(resolve(own("logarithmic"), "data"), timed=True)


@pytest.mark.parametrize(("name", "message"), BAD.items())
def test_networks_that_do_not_fit_are_refused(own: Compose, name: str, message: str) -> None:
    run = resolve(own(name), "data")
    with pytest.raises(ConfigError, match=message) as error:
        inspect(run)
    assert re.search(rf"model.builder=tests.helpers.networks:{name}\b", str(error.value))
    for place in ("pipeline/", "site-packages"):
        assert place not in str(error.value), "the user's own lines, not ours nor Keras's"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.args.widht=3", r"unexpected keyword argument 'widht' \(did you mean width\?\)"),
        ("model.args.width=wide", "model.args.width=wide is not allowed: model.args.width must be a whole number"),
        ("model.args.rate=[0.1]", "model.args.rate=.* is not allowed"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_with_the_signature(own: Compose, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        inspect(resolve(own("mixer", override), "data"))
    assert "The function is mixer(input_shape" in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.filters=8"], "model.filters=8 is not allowed: model.filters must be null with model.builder"),
        (["model.dropout=0.5"], "model.dropout must be 0 with model.builder"),
        (["model.l2=0.1"], "model.l2"),
        (["model.builder=networks"], r"model.builder must be the path of a function, MODULE:FUNCTION as in nets:mixer"),
        (["model=conv", "model.builder=null", "model.args.width=3"], "model.args must be {} without model.builder"),
    ],
)
def test_keys_without_effect_are_refused(own: Compose, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message) if "{}" in message else message):
        own("mixer", *overrides)


def test_a_builder_must_be_named(config: Compose) -> None:
    nameless = config("model=builder", base=())  # as the base of trials that differ in it
    with pytest.raises(ConfigError, match=r"model\.builder must be the path of a function, MODULE:FUNCTION"):
        resolve(nameless, "data")
