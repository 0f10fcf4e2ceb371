from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipeline.config.checks import ConfigError
from pipeline.config.compose import compose, compose_from, compose_run, flatten, to_dict
from pipeline.config.schema import RunConfig


def test_overrides_and_groups_compose() -> None:
    config = compose(RunConfig, "train", ["model=dense", "model.dense_units=[512,256]", "data=mnist", "seed=3"])
    assert (config.model.dense_units, config.data.name, config.seed) == ([512, 256], "mnist", 3)
    assert (config.trainer.epochs, config.trainer.batch_size) == (5, 32)


def test_a_section_given_as_a_whole_keeps_its_other_keys() -> None:
    told = compose(RunConfig, "train", ["model.augmentation={flip: horizontal, shift: 0.1}"]).model.augmentation
    assert (told.flip, told.shift, told.rotate, told.zoom) == ("horizontal", 0.1, 0.0, 0.0)
    with pytest.raises(ConfigError, match="no images"):
        compose(RunConfig, "train", ["data=line", "model=line", "model.augmentation.zoom=0.1"])


def test_data_dir_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVSWEEP_DATA_DIR", "/somewhere")
    assert compose(RunConfig, "train", []).data.dir == "/somewhere"
    monkeypatch.delenv("CONVSWEEP_DATA_DIR")
    assert compose(RunConfig, "train", []).data.dir is None


def test_a_run_of_a_sweep_is_composed_without_the_sweep() -> None:
    base = ["ablation=demo", "timing.rounds=9", "~ablation.claims.more_filters_fit_better", "trainer.epochs=9"]
    config = compose_run("ablation", base, ["model=dense", "model.dense_units=[7]"])
    assert (config.model.name, config.model.dense_units, config.trainer.epochs) == ("dense", [7], 9)
    assert config.data.name == "digits", "as the ablation's file says"
    with pytest.raises(ConfigError, match=r"timing.rounds is not a config key"):
        compose_run("ablation", base, ["timing.rounds=5"])


def test_flat_keys_are_dotted_and_lists_are_values() -> None:
    assert flatten({"a": {"b": [1, 2], "c": {"d": None}}, "e": 1}) == {"a.b": [1, 2], "a.c.d": None, "e": 1}


def test_from_takes_single_keys_and_only_a_run_config(tmp_path: Path) -> None:
    file = tmp_path / "best.yaml"
    config = compose(RunConfig, "train", ["model=dense", "trainer.epochs=9", "store.root=there"])
    file.write_text(yaml.safe_dump(to_dict(config)))
    again = compose_from(file, ["seed=4"])
    assert (again.model, again.trainer, again.seed) == (config.model, config.trainer, 4)
    assert again.store.root == "mlruns", "where results go is this machine's affair"
    with pytest.raises(ConfigError, match="groups cannot"):
        compose_from(file, ["model=conv"])
    with pytest.raises(ConfigError, match=r"trainer.epochs=0 is not allowed"):
        compose_from(file, ["trainer.epochs=0"])
    file.write_text("a: 1")
    with pytest.raises(ConfigError, match="holds no run config"):
        compose_from(file, [])
    with pytest.raises(ConfigError, match="cannot be read"):
        compose_from(tmp_path / "none.yaml", [])
    for odd in (None, 5, "abc"):
        file.write_text(yaml.safe_dump(to_dict(config) | {"data": odd}))
        with pytest.raises(ConfigError, match="--from"):
            compose_from(file, [])
