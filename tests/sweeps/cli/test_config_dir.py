"""A user's own config folder, by every command: found, listed, refused, and needed again for a report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.config.groups import CONF
from sweeps.cli.main import COMMANDS, main

Write = Callable[[str, str], Path]
Printed = pytest.CaptureFixture[str]
TINY = "defaults: [conv]\nname: tiny\ndescription: my own network\nfilters: 2\npadding: same\n"
ABLATION = """\
# @package _global_
defaults:
  - override /data: digits
  - override /model: tiny
ablation:
  name: width
  description: my own ablation
  axis: filters
  trials:
    two: {overrides: [model.filters=2], tick: "2", published: {mine: {test/accuracy: 0.5}}}
    four: {overrides: [model.filters=4], tick: "4", published: {}}
  claims: {}
"""


@pytest.mark.parametrize(
    "words",
    [
        ["--config-dir", "DIR", "train", "model=tiny", "--dry-run"],
        ["train", "--config-dir=DIR", "model=tiny", "--dry-run"],
        ["train", "model=tiny", "--dry-run", "--config-dir", "DIR"],
        ["--config-dir", "elsewhere", "train", "--config-dir", "DIR", "--dry-run", "model=tiny"],
    ],
    ids=" ".join,
)
def test_the_option_may_stand_anywhere(words: list[str], project: Write, tmp_path: Path, capsys: Printed) -> None:
    folder = project("model/tiny.yaml", TINY).parents[1].rename(tmp_path / "configs")
    assert main([word.replace("DIR", str(folder)) for word in [*words, "data=digits"]]) == 0
    assert "data=digits model=tiny" in capsys.readouterr().out


@pytest.mark.parametrize("command", [module.__name__.rpartition(".")[2] for module in COMMANDS])
def test_every_command_takes_it_and_refuses_a_wrong_one(command: str, project: Write, capsys: Printed) -> None:
    name = {"listing": "list", "prune_cache": "prune-cache", "copy_store": "copy-store"}.get(command, command)
    assert main([name, "--config-dir", "nowhere"]) == 2
    assert "nowhere does not exist" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([name, "--help"])
    assert "--config-dir DIR" in capsys.readouterr().out


def test_a_value_must_follow(capsys: Printed) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["list", "--config-dir"])
    assert ended.value.code == 2
    assert "--config-dir: expected one argument" in capsys.readouterr().err


def test_list_says_what_is_the_users(project: Write, capsys: Printed) -> None:
    folder = project("model/tiny.yaml", TINY).parents[1]
    project("model/dense.yaml", TINY.replace("tiny", "dense"))
    project("optimizer/broken.yaml", "\t{")
    assert main(["list"]) == 0
    printed = capsys.readouterr().out
    lines = {line.split()[0]: line.rstrip() for line in printed.splitlines()}
    assert printed.startswith(f"yours: {folder}")
    assert lines["tiny"].endswith("  yours")
    assert "my own network" in lines["tiny"]
    assert lines["dense"].endswith("  yours, instead of ours")
    assert "yours" not in lines["conv"] + lines["adam"]
    assert lines["broken"].endswith("  yours")


def test_a_broken_file_ends_no_other_command(project: Write, capsys: Printed) -> None:
    project("model/broken.yaml", "a: [\n")
    assert main(["train", "data=digits", "model.padding=same", "--dry-run"]) == 0
    assert main(["train", "model=broken"]) == 2
    assert "conf/model/broken.yaml, line 2: " in capsys.readouterr().err


@pytest.mark.slow
def test_an_ablation_of_the_users_is_run_and_reported(
    project: Write, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    folder = project("ablation/width.yaml", ABLATION).parents[1]
    project("model/tiny.yaml", TINY)
    quick = ["trainer.epochs=1", "trainer.threads=1", "data.limit=100"]
    assert main(["ablate", "width", *quick, "seeds=[0]", "workers=1", "store.log_model=none"]) == 0
    grid = ["hydra.sweeper.name=nets", "hydra.sweeper.workers=1", "model=tiny,conv", "data=digits"]
    assert main(["train", "-m", *grid, "model.padding=same", "model.filters=2", *quick]) == 0
    assert main(["report", "width"]) == 0
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    for name, launched in (("width", "ablation=width"), ("nets", "model=tiny")):
        capsys.readouterr()
        assert main(["report", name, f"store.root={root}"]) == 2
        told = capsys.readouterr().err
        assert f"the sweep {name} was launched with {launched}, and {CONF} has no {launched.replace('=', '/')}" in told
        assert "--config-dir DIR" in told
        assert main(["report", name, f"store.root={root}", "--config-dir", str(folder)]) == 0
        assert "report: " in capsys.readouterr().out
