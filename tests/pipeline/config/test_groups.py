"""A config folder of the user's before the built-in one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.config.checks import ConfigError
from pipeline.config.compose import compose, compose_run
from pipeline.config.groups import CONF, config_folders, config_groups, describe, owner, use_config_folder
from pipeline.config.schema import RunConfig

Write = Callable[[str, str], Path]
MIXER = 'defaults: [conv]\nname: mixer\ndescription: "mixes"\nfilters: 7\n'


def test_the_folder_one_stands_in_is_searched_first(project: Write) -> None:
    use_config_folder(None)
    assert config_folders() == (CONF,)
    own = project("model/mixer.yaml", MIXER).parents[1]
    use_config_folder(None)
    assert config_folders() == (own, CONF)
    assert sys.path[0] == str(own.parent)
    assert {"mixer", "conv"} <= set(config_groups()["model"])
    assert describe("model")["mixer"] == "mixes"
    assert compose(RunConfig, "train", ["model=mixer"]).model.filters == 7


def test_a_named_folder_wins_over_the_one_stood_in(project: Write, tmp_path: Path) -> None:
    project("model/mixer.yaml", MIXER)
    other = tmp_path / "other" / "configs"
    (other / "model").mkdir(parents=True)
    (other / "model" / "mixer.yaml").write_text(MIXER.replace("7", "9"))
    use_config_folder(other)
    assert compose(RunConfig, "train", ["model=mixer"]).model.filters == 9
    assert sys.path[0] == str(other.parent)
    use_config_folder("other/configs/../../conf")
    assert compose(RunConfig, "train", ["model=mixer"]).model.filters == 7
    assert sys.path[0] == str(tmp_path)
    assert str(other.parent) not in sys.path


def test_a_file_of_the_users_wins_and_is_told_apart(project: Write) -> None:
    project("model/dense.yaml", "defaults: [conv]\nname: dense\nfilters: 5\n")
    project("trainer/short.yaml", "# Short.\ndefaults: [course]\nepochs: 1\n")
    config = compose(RunConfig, "train", ["model=dense", "trainer=short"])
    assert (config.model.filters, config.trainer.epochs) == (5, 1)
    assert owner("model", "dense") == "yours, instead of ours"
    assert (owner("trainer", "short"), owner("model", "conv")) == ("yours", "")
    assert compose(RunConfig, "train", ["model=softmax"]).model.conv_layers == 2, "ours starts from the user's dense"


def test_primary_configs_can_be_the_users_too(project: Write) -> None:
    project("data/.gitkeep", "")
    train = (CONF / "train.yaml").read_text()
    project("train.yaml", train.replace("seed: 0", "seed: 77"))
    assert compose(RunConfig, "train", []).seed == 77


def test_files_are_as_they_are_when_a_launch_composes_its_base(project: Write) -> None:
    project("model/mixer.yaml", MIXER)
    assert compose(RunConfig, "train", ["model=mixer"]).model.filters == 7
    project("model/mixer.yaml", MIXER.replace("7", "11"))
    assert compose_run("train", ["model=mixer"], []).model.filters == 7, "a launch's trials do not change under it"
    assert compose(RunConfig, "train", ["model=mixer"]).model.filters == 11
    project("model/new.yaml", MIXER)
    assert compose(RunConfig, "train", ["model=new"]).model.filters == 7


def test_other_folders_and_editors_files_are_none_of_ours(project: Write, tmp_path: Path) -> None:
    project("models/x.yaml", MIXER)
    use_config_folder(None)
    assert config_folders() == (CONF,)
    project("model/.#x.yaml", MIXER)
    (tmp_path / "conf" / "model" / "folder.yaml").mkdir()
    use_config_folder(None)
    assert config_folders() == (tmp_path / "conf", CONF)
    assert config_groups()["model"] == sorted(file.stem for file in (CONF / "model").glob("*.yaml"))


@pytest.mark.parametrize(
    ("folder", "told"),
    [
        ("nowhere", "does not exist"),
        ("file", "is no folder"),
        ("empty", "at least one of the folders ablation, backend, data"),
        (".", r"did you mean .*/conf\?"),
    ],
)
def test_a_folder_that_is_no_config_folder_is_refused(folder: str, told: str, project: Write, tmp_path: Path) -> None:
    project("model/mixer.yaml", MIXER)
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=told):
        use_config_folder(folder)
    assert compose(RunConfig, "train", ["model=mixer"]).model.filters == 7, "all is as before"


def test_a_file_that_leads_nowhere_is_named(project: Write, tmp_path: Path) -> None:
    project("model/mixer.yaml", MIXER)
    loop = tmp_path / "conf" / "model" / "loop.yaml"
    loop.symlink_to(loop)
    with pytest.raises(ConfigError, match=r"loop\.yaml cannot be read: Too many levels"):
        use_config_folder(None)
    loop.unlink()


def test_our_own_folder_is_not_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CONF.parent)
    before = list(sys.path)
    for folder in (None, CONF):
        use_config_folder(folder)
        assert config_folders() == (CONF,)
    assert sys.path == before
    use_config_folder(None)
