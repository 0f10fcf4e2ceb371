"""What `explain` draws of a network that is small, on scikit-learn's digits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from pipeline.config.checks import ConfigError
from pipeline.config.schema import RunConfig
from pipeline.inference.explain import explain


def saved_model(config: RunConfig, *hidden: int) -> Any:
    import keras

    inputs = keras.Input((8, 8, 1))
    x = keras.layers.GlobalMaxPooling2D()(keras.layers.Conv2D(2, 3, name="only")(inputs))
    for units in hidden:
        x = keras.layers.Dense(units)(x)
    net = keras.Model(inputs, keras.layers.Dense(10, "softmax")(x))
    return SimpleNamespace(config=config, run=SimpleNamespace(run_id="0123456789"), net=net, trust=False)


@pytest.mark.parametrize(("hidden", "dense"), [((), []), ((5,), ["dense"])])
def test_a_single_convolution_is_drawn(
    hidden: tuple[int, ...], dense: list[str], config: Callable[..., RunConfig], tmp_path: Path
) -> None:
    found = explain(saved_model(config(), *hidden), [0, 1], 1, tmp_path / "figures", Console(quiet=True))
    figures = list(found.figures)
    maps = ["activations", "layer", "filters", "edges"]
    assert [figure.stem for figure in figures] == ["confusion", "mistakes", *maps, *dense]
    assert "of 360 test images right" in found.findings[0]
    assert all(figure.stat().st_size > 0 for figure in figures)


def test_a_layer_without_maps_is_refused(config: Callable[..., RunConfig], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--layer onli is not allowed \(did you mean only\?\): .* are only"):
        explain(saved_model(config()), [0], 1, tmp_path / "figures", Console(quiet=True), "onli")
    assert not (tmp_path / "figures").exists()
