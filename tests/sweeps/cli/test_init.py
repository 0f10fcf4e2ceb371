"""`convsweep init`: what it writes, what it refuses, and that what it writes runs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.cli.init import write_project
from sweeps.cli.main import main
from sweeps.load import AblationResult, load_results

Write = Callable[[str, str], Path]
Printed = pytest.CaptureFixture[str]
FILES = [
    "README.md",
    *(f"conf/{group}/example.yaml" for group in ("ablation", "data", "model")),
    "nets.py",
    "shapes.py",
]


def written(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


@pytest.mark.parametrize("name", ["mine", "deeper/mine", "."])
def test_a_project_is_written_and_the_next_steps_are_said(name: str, empty: Path, capsys: Printed) -> None:
    assert main(["init", name]) == 0
    assert written(empty / name) == FILES
    assert f"cd {name}\n  convsweep ablate example" in capsys.readouterr().out


def test_the_next_steps_can_be_pasted_into_a_shell(empty: Path, capsys: Printed) -> None:
    assert main(["init", "my project"]) == 0
    assert "  cd 'my project'\n" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["file", "full", "file/below"])
def test_nothing_is_overwritten(name: str, empty: Path, capsys: Printed) -> None:
    (empty / "file").write_text("mine")
    (empty / "full").mkdir()
    (empty / "full" / "nets.py").write_text("mine")
    before = written(empty)
    assert main(["init", name]) == 2
    assert name in capsys.readouterr().err
    assert written(empty) == before
    assert (empty / "full" / "nets.py").read_text() == "mine"


@pytest.mark.parametrize("words", [[], ["one", "two"]])
def test_one_folder_is_needed(words: list[str], empty: Path, capsys: Printed) -> None:
    assert main(["init", *words]) == 2
    assert "init takes one folder" in capsys.readouterr().err
    assert written(empty) == []


@pytest.mark.slow
def test_the_commands_of_its_readme_are_right(project: Write, tmp_path: Path, capsys: Printed) -> None:
    write_project(tmp_path)
    commands = re.findall(
        r"^convsweep ((?:ablate|train|list).*?)(?:  +#.*)?$", (tmp_path / "README.md").read_text(), re.M
    )
    assert len(commands) == 5
    for command in commands:
        words = shlex.split(command)
        assert main([*words, *(["--dry-run"] if words[0] != "list" else [])]) == 0
    printed = capsys.readouterr().out
    assert "9 runs to train" in printed
    assert "yours" in printed


@pytest.mark.slow
def test_its_example_reproduces_what_it_publishes(project: Write, root: Path, tmp_path: Path) -> None:
    write_project(tmp_path / "mine")
    assert main(["ablate", "example", "--config-dir", "mine/conf", "workers=1", "store.log_model=none"]) == 0
    loaded = load_results("example")
    assert isinstance(loaded, AblationResult)
    assert [finding.verdict for finding in loaded.findings.claims] == ["REPRODUCED"] * 2
    assert [finding.verdict for finding in loaded.findings.published] != ["CONTRADICTED"]
