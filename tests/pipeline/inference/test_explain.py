"""What `explain` draws of a network that is small, on scikit-learn's digits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rich.console import Console

from pipeline.config.schema import RunConfig
from pipeline.inference.explain import explain


def test_a_single_convolution_is_drawn(config: Callable[..., RunConfig], tmp_path: Path) -> None:
    import keras

    inputs = keras.Input((8, 8, 1))
    maps = keras.layers.GlobalMaxPooling2D()(keras.layers.Conv2D(2, 3)(inputs))
    net = keras.Model(inputs, keras.layers.Dense(10, "softmax")(maps))
    saved: Any = SimpleNamespace(config=config(), run=SimpleNamespace(run_id="0123456789"), net=net, trust=False)
    figures = explain(saved, [0, 1], 1, tmp_path / "figures", Console(quiet=True))
    assert [figure.stem for figure in figures] == ["activations", "filters", "confusion", "mistakes"]
    assert all(figure.stat().st_size > 0 for figure in figures)
