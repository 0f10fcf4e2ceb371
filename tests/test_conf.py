"""Every YAML in conf/ is composed, checked and, for models, built, because it exists."""

from __future__ import annotations

import re

import pytest

from pipeline.config.compose import compose
from pipeline.config.groups import CONF, config_groups, describe
from pipeline.config.schema import RunConfig
from pipeline.models import layers as model
from pipeline.models.build import build
from sweeps.config.ablation import compose_ablation
from sweeps.config.study import compose_study
from tests.helpers.training import trained

FITTING = {
    "horse_conv": ["data=horse_or_human", "trainer=horse", "optimizer=rmsprop"],
    "line": ["data=line", "trainer=line", "optimizer=sgd"],
    "builder": ["model.builder=tests.helpers.networks:mixer"],
}
KNOWN = ["data.name=mine", "data.shape=[28,28,1]", "data.train_size=9", "data.test_size=9", "data.class_names=[a,b]"]
FOR_STORE = {"server": ["store.tracking_uri=http://host:5000", "store.optuna_url=postgresql://host/optuna"]}
FOR_DATA = {
    "digits": ["model.padding=same"],
    "line": ["model=line"],
    "horse_or_human": ["model=horse_conv"],
    "python": ["data.loader=mine:load", *KNOWN],
    "npz": ["data.path=mine.npz", *KNOWN],
}
# Models that a function builds, of which only Keras knows the layers.
BUILT = [file.stem for file in sorted((CONF / "model").glob("*.yaml")) if "[builder]" in file.read_text()]
RUN_GROUPS = ("data", "model", "optimizer", "trainer", "store")


@pytest.mark.parametrize("option", [f"{g}={o}" for g in RUN_GROUPS for o in config_groups()[g]])
def test_every_option_composes(option: str) -> None:
    group, _, name = option.partition("=")
    fitting = {"model": FITTING, "data": FOR_DATA, "store": FOR_STORE}.get(group, {}).get(name, [])
    config = compose(RunConfig, "train", [option, *fitting])
    layers = model.layers(config.model, config.data)
    assert config.model.builder if layers is None else model.total_params(layers) > 0


@pytest.mark.parametrize("name", [name for name in config_groups()["model"] if name not in BUILT])
def test_every_model_is_built_as_its_table_says(name: str) -> None:
    from pipeline.system.tensorflow import start_tensorflow

    start_tensorflow(1)
    config = compose(RunConfig, "train", [f"model={name}", *FITTING.get(name, [])])
    planned = model.layers(config.model, config.data)
    assert planned is not None
    built = build(config.model, config.data, planned)
    assert [layer.name for layer in built.layers] == [layer.name for layer in planned]
    assert [tuple(layer.output.shape[1:]) for layer in built.layers] == [layer.output_shape for layer in planned]
    assert [layer.count_params() for layer in built.layers] == [layer.params for layer in planned]


@pytest.mark.parametrize("name", BUILT)
def test_every_model_that_a_function_builds_is_trained_a_step(name: str) -> None:
    words = ["data=digits", "data.limit=32", f"model={name}", "trainer.epochs=1", *FITTING.get(name, [])]
    result = trained(compose(RunConfig, "train", words))
    assert 0 < result.final["train_eval/loss"] < 100


@pytest.mark.parametrize("name", config_groups()["ablation"])
def test_every_ablation_composes_and_says_what_it_is(name: str) -> None:
    ablation = compose_ablation(name, [])
    assert ablation.sweep.name == name
    header = (CONF / "ablation" / f"{name}.yaml").read_text()
    for word in ("Reproduces:", "Expected:", "Cost:", f"Command: convsweep ablate {name}"):
        assert word in header
    metrics = {m for trial in ablation.config.trials.values() for told in trial.published.values() for m in told}
    assert all(re.fullmatch(r"(train|test)/(loss|accuracy)(@\d+)?|prediction", metric) for metric in metrics)


@pytest.mark.parametrize("name", config_groups()["study"])
def test_every_study_composes_and_says_what_it_is(name: str) -> None:
    assert compose_study(name, []).name == name
    header = (CONF / "study" / f"{name}.yaml").read_text()
    for word in ("Space:", "Expected:", "Cost:", f"Command: convsweep study {name}"):
        assert word in header or word == "Space:"


@pytest.mark.parametrize("group", ["model", "data", "ablation", "study"])
def test_every_option_describes_itself(group: str) -> None:
    assert all(len(text) > 20 for text in describe(group).values())


def test_every_key_is_commented() -> None:
    for path in ("data/fashion_mnist", "model/conv", "optimizer/adam", "trainer/course", "store/local", "store/server"):
        before = ""
        for line in (CONF / f"{path}.yaml").read_text().splitlines():
            if re.match(r"[a-z_0-9]+:", line) and not line.startswith(("name:", "description:", "defaults:")):
                in_a_commented_group = before.startswith("#") or re.match(r"[a-z_0-9]+:", before)
                assert in_a_commented_group, f"{path}: no comment above {line}"
            before = line
