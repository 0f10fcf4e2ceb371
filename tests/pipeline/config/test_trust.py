from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config import trust
from pipeline.config.checks import ConfigError
from pipeline.config.compose import compose
from pipeline.config.schema import RunConfig
from pipeline.config.trust import is_built_in, require_named

OWN = ["data=python", "data.name=mine", "data.loader=shapes:load", "model=builder", "model.builder=nets:mixer"]


@pytest.mark.parametrize(
    ("files", "overrides", "refused"),
    [
        ({}, [], "data.loader=shapes:load"),
        ({}, ["data.loader=shapes:load"], "model.builder=nets:mixer"),
        ({}, ["data.loader=shapes:load", "model.builder=nets:mixer"], ""),
        ({}, ["data.loader=shapes:other", "model.builder=nets:mixer"], "data.loader=shapes:load"),
        ({"data/shapes.yaml": "loader: shapes:load", "model/mixer.yaml": "{builder: 'nets:mixer'}"}, [], ""),
        ({"data/shapes.yaml": "# loader: shapes:load"}, ["model.builder=nets:mixer"], "data.loader=shapes:load"),
        ({"ablation/a.yaml": "trials: {a: {overrides: ['data.loader=shapes:load']}}"}, [], "model.builder=nets:mixer"),
        ({"data/broken.yaml": "loader: [shapes:load"}, ["model.builder=nets:mixer"], "data.loader=shapes:load"),
    ],
)
def test_only_what_the_user_names_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], overrides: list[str], refused: str
) -> None:
    config = compose(RunConfig, "train", OWN)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(trust, "config_folders", lambda: (tmp_path,))
    if refused:
        with pytest.raises(ConfigError, match=f"{refused} is not imported: only a file says so"):
            require_named(config, overrides)
    else:
        require_named(config, overrides)


def test_only_the_section_that_is_imported_counts() -> None:
    config = compose(RunConfig, "train", OWN[:3])
    require_named(config, [], ("model",))
    with pytest.raises(ConfigError, match=r"data\.loader=shapes:load is not imported"):
        require_named(config, [], ("data",))
    require_named(compose(RunConfig, "train", []), [])


def test_of_our_functions_those_are_trusted_that_our_config_files_name() -> None:
    lenet = "pipeline.models.case_studies.lenet"
    assert is_built_in(f"{lenet}:build")
    assert not is_built_in(f"{lenet}:keras.saving.load_model")
    assert not is_built_in("nets:mixer")
    require_named(compose(RunConfig, "train", ["model=lenet"]), [])
