"""Errors of the user's own config files: one message each, with the file and, where there is one, the line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.version import VersionBase

from pipeline.config.checks import ConfigError
from pipeline.config.compose import compose, compose_run
from pipeline.config.groups import config_files
from pipeline.config.schema import RunConfig
from sweeps.config.ablation import AblationSweepConfig

Write = Callable[[str, str], Path]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: x\na:\n\t- b\n", r"/conf/model/x\.yaml, line 3: found character '\\t'"),
        ("name: x\n  a: 1\n", r"/conf/model/x\.yaml, line 2: mapping values are not allowed"),
        ("name: x\nname: y\n", r"/conf/model/x\.yaml, line 2: found duplicate key name"),
        ("name: !!python/object/apply:os.getcwd []\n", r"/conf/model/x\.yaml, line 1: could not determine"),
        ("defaults: [x]\nname: x\n", r"/conf/model/x\.yaml: its defaults lead back to it$"),
        ("defaults: [y]\nname: x\n", r"/conf/model/y\.yaml: its defaults lead back to it$"),
        ("defaults: [conw]\nname: x\n", r"x\.yaml: its defaults name model/conw, which is not there \(did you mean co"),
        ("defaults: 5\n", r"/conf/model/x\.yaml: Invalid defaults list"),
        ("defaults: [conv]\nname: x\nfilers: 3\n", r"x\.yaml, line 3: model\.filers is not a config key \(did you"),
        ("defaults: [conv]\nname: x\nfilters: 0\n", r"x\.yaml, line 3: model\.filters=0 is not allowed"),
        ("defaults: [conv]\naugmentation: {shift: 2}\n", r"x\.yaml, line 2: model\.augmentation\.shift=2\.0 is not"),
        ("defaults: [conv]\nname: ${nothing}\n", r"x\.yaml, line 2: model\.name=\$\{nothing\} is not allowed"),
        ("defaults: [conv]\nname: ${oc.env:NOT_SET}\n", r"x\.yaml: .*Environment variable 'NOT_SET' not found"),
        ("defaults: [conv]\nname: ${\n", r"/conf/model/x\.yaml: no viable alternative"),
        ("name: x\n", r"/conf/model/x\.yaml: model\.description is missing"),
        ("- a\n- b\n", r"/conf/model/x\.yaml: model=\['a', 'b'\] is not allowed: model must be a section"),
        ("name: &a [*a]\n", r"/conf/model/x\.yaml"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_name(text: str, told: str, project: Write) -> None:
    project("model/x.yaml", text)
    project("model/y.yaml", "defaults: [x]\nname: y\n")
    with pytest.raises(ConfigError, match=told) as raised:
        compose(RunConfig, "train", ["model=x"])
    assert "\n" not in str(raised.value)


def test_bytes_that_are_no_text_are_said_with_their_file(project: Write) -> None:
    project("model/x.yaml", "").write_bytes(b"name: \xff\n")
    with pytest.raises(ConfigError, match=r"/conf/model/x\.yaml cannot be read: invalid start byte"):
        compose(RunConfig, "train", ["model=x"])


def test_a_file_of_the_users_cannot_start_from_ours_of_the_same_name(project: Write) -> None:
    project("model/conv.yaml", "defaults: [conv]\nfilters: 3\n")
    with pytest.raises(ConfigError, match=r"conf/model/conv\.yaml: its defaults lead back .* give yours another name"):
        compose(RunConfig, "train", [])


def test_an_ablation_of_the_users_is_named_too(project: Write) -> None:
    project("ablation/wide.yaml", "# @package _global_\nablation: {name: wide}\ntrainer:\n  epochs: none\n")
    config_files(afresh=True)
    with pytest.raises(ConfigError, match=r"/conf/ablation/wide\.yaml, line 4: trainer\.epochs=none"):
        compose_run("ablation", ["ablation=wide"], [])


@pytest.mark.parametrize("start", ["", "defaults: [override /data: digits]\n"])
def test_an_ablation_without_its_first_line_is_said_to_lack_it(start: str, project: Write) -> None:
    project("ablation/wide.yaml", f"{start}ablation: {{name: wide}}\n")
    config_files(afresh=True)
    with pytest.raises(ConfigError, match=r"/conf/ablation/wide\.yaml.* must be: # @package _global_$"):
        compose(AblationSweepConfig, "ablation", ["ablation=wide"])


def test_an_ablation_sets_what_all_ablations_begin_with(project: Write) -> None:
    project(
        "ablation/mine.yaml",
        "# @package _global_\ndefaults: [demo]\nseeds: [4, 5]\nstrict: true\ntiming: {rounds: 7}\n",
    )
    config_files(afresh=True)
    config = compose(AblationSweepConfig, "ablation", ["ablation=mine"])
    assert (config.seeds, config.strict, config.timing.rounds) == ([4, 5], True, 7)
    assert compose(AblationSweepConfig, "ablation", ["ablation=mine", "seeds=auto"]).seeds == "auto"


def test_an_override_is_not_the_files_fault(project: Write) -> None:
    project("model/x.yaml", "defaults: [conv]\nname: x\nfilters: 3\n")
    with pytest.raises(ConfigError, match=r"^model\.filters=0 is not allowed"):
        compose(RunConfig, "train", ["model=x", "model.filters=0"])


def test_hydra_is_left_as_a_program_that_uses_it_has_set_it(project: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = VersionBase()
    monkeypatch.setattr(VersionBase, "instance", lambda: settings)
    unset = settings.version_base
    project("model/fresh.yaml", "defaults: [conv]\nname: fresh\n")
    assert compose(RunConfig, "train", ["model=fresh", "seed=987654"]).seed == 987654
    assert settings.version_base is unset
    assert not GlobalHydra.instance().is_initialized()
