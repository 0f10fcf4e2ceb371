"""The lecture's case studies (L13): sizes as computed, and code that is ours although a builder names it."""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.config import source
from pipeline.config.checks import ConfigError
from pipeline.config.code import code_sha256
from pipeline.config.schema import RunConfig
from pipeline.models.build import build
from pipeline.models.builder import has_own_code, layers_of
from pipeline.models.layers import Layer
from pipeline.system.tensorflow import start_tensorflow
from sweeps.backends.ray.shipping import packed
from sweeps.config.ablation import compose_ablation

Compose = Callable[..., RunConfig]
LENET = "pipeline.models.case_studies.lenet:build"


@pytest.fixture
def layers(config: Compose) -> Callable[..., list[Layer]]:
    """The layers of a config's network, without the task's activation."""

    def built(*overrides: str) -> list[Layer]:
        start_tensorflow(1)
        composed = config(*overrides, base=[])
        net = build(composed.model, composed.data, None)
        assert not has_own_code(net), "a file holds it: predict needs no --trust"
        return layers_of(net)[:-1]

    return built


@pytest.mark.parametrize("side", [28, 32])
def test_lenet_has_61706_parameters(layers: Callable[..., list[Layer]], side: int) -> None:
    stack = layers("model=lenet", f"data.shape=[{side},{side},1]")
    shapes = [(32, 32, 1), (28, 28, 6), (14, 14, 6), (10, 10, 16), (5, 5, 16), (1, 1, 120), (120,), (84,), (10,)]
    assert [layer.output_shape for layer in stack] == shapes
    assert [layer.params for layer in stack if layer.params] == [156, 2_416, 48_120, 10_164, 850]
    assert sum(layer.params for layer in stack) == 61_706


def test_lenet_puts_the_border_around_the_image(config: Compose) -> None:
    start_tensorflow(1)
    composed = config("model=lenet", base=[])
    net = next(layer for layer in build(composed.model, composed.data, None).layers if hasattr(layer, "layers"))
    bordered = np.asarray(net.get_layer("border")(np.ones((1, 28, 28, 1))), np.float32)[0, :, :, 0]
    assert bordered[2:30, 2:30].all()
    assert bordered.sum() == 28 * 28


def test_alexnet_small_is_as_its_header_says(layers: Callable[..., list[Layer]]) -> None:
    stack = layers("model=alexnet_small")
    pooled = [layer.output_shape for layer in stack if layer.name.startswith("pool")]
    assert pooled == [(14, 14, 24), (7, 7, 64), (3, 3, 64)]
    names = [layer.name.partition("_")[0] for layer in stack if layer.params]
    assert names == ["conv"] * 5 + ["dense"] * 2 + ["output"]
    assert sum(layer.params for layer in stack) == 423_994


@pytest.mark.parametrize("shortcuts", ["true", "false"])
@pytest.mark.parametrize(("convolutions", "parameters"), [(2, 12_650), (8, 26_570), (32, 82_250)])
def test_shortcuts_have_no_parameters(
    layers: Callable[..., list[Layer]], convolutions: int, parameters: int, shortcuts: str
) -> None:
    args = [f"model.args.convolutions={convolutions}", f"model.args.shortcuts={shortcuts}"]
    stack = layers("model=residual", *args)
    assert sum(layer.kind == "Conv2D" for layer in stack) == convolutions + 1
    # 160 of the first convolution, 16 * 16 * 9 + 16 of each in the stack, 7 * 7 * 16 * 10 + 10 of the output layer.
    assert sum(layer.params for layer in stack) == 160 + 2_320 * convolutions + 7_850 == parameters


@pytest.mark.parametrize("shortcuts", [True, False])
def test_a_stack_whose_convolutions_give_nothing_hands_its_input_on_by_its_shortcuts(shortcuts: bool) -> None:
    start_tensorflow(1)
    import keras

    from pipeline.models.case_studies.residual import build as residual

    net = residual((28, 28, 1), 10, convolutions=6, shortcuts=shortcuts)
    for number in range(1, 7):
        for variable in net.get_layer(f"conv_{number}").weights:
            variable.assign(np.zeros(variable.shape))
    ends = keras.Model(net.inputs, [net.get_layer(name).output for name in ("pool", "relu_6")])
    before, after = ends.predict_on_batch(np.random.default_rng(0).random((2, 28, 28, 1)))
    assert before.any()
    assert (after == (before if shortcuts else 0)).all()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model=lenet", "data.shape=[33,28,1]"], "up to 32x32 pixels; the data has the shape"),
        (["model=alexnet_small", "data.shape=[28,7,1]"], "8x8 pixels or more; the data has the shape"),
        (["model=alexnet_small", "data=line"], "8x8 pixels or more; the data has the shape"),
        (["model=residual", "model.args.convolutions=7"], "convolutions come in pairs: 2, 4, 6, ...; not 7"),
        (["model=residual", "model.args.convolutions=0"], "convolutions come in pairs: 2, 4, 6, ...; not 0"),
        (["model=lenet", "model.args.filters=3"], "unexpected keyword argument 'filters'"),
    ],
)
def test_what_a_case_study_is_not_made_for_is_refused(config: Compose, overrides: list[str], message: str) -> None:
    composed = config(*overrides, base=[])
    with pytest.raises(ConfigError, match=message):
        build(composed.model, composed.data, None)


def test_its_own_source_is_in_the_signature_wherever_one_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    before = code_sha256("model.builder", LENET)
    monkeypatch.setattr(sys, "path", [])
    assert code_sha256("model.builder", LENET) == before
    assert code_sha256("model.builder", LENET.replace("lenet", "alexnet_small")) != before
    with pytest.raises(ConfigError, match=r"there is no module pipeline\.models\.builder with a source"):
        code_sha256("model.builder", "pipeline.models.builder:build_own")


def test_other_modules_of_ours_are_not_in_the_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    """TRAINING_VERSION stands for them; a checkout has the same signatures as a wheel."""
    file = source.find_source("pipeline.models.case_studies.lenet")
    assert file is not None
    assert not source.is_of_project(file)
    changed = file.read_text() + "\nfrom pipeline.models import layers\n"
    monkeypatch.setattr(Path, "read_bytes", lambda path: (changed if path == file else path.name).encode())
    with_import = source.module_sha256("pipeline.models.case_studies.lenet")
    monkeypatch.setattr(Path, "read_bytes", lambda path: (changed if path == file else "other").encode())
    assert source.module_sha256("pipeline.models.case_studies.lenet") == with_import


def test_ray_workers_get_it_with_our_packages_and_nothing_else() -> None:
    sweep = compose_ablation("mnist_ladder", []).sweep
    with zipfile.ZipFile(io.BytesIO(packed(sweep).content)) as archive:
        names = archive.namelist()
    assert "pipeline/models/case_studies/lenet.py" in names
    assert {name.partition("/")[0] for name in names} == {"pipeline", "sweeps"}
