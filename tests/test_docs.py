"""README and docs/: links, commands, make targets, tables, and pages that are written by a script."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from pipeline.config.compose import compose
from pipeline.config.groups import CONF, use_config_folder
from pipeline.config.schema import RunConfig
from sweeps.claims.kinds import KINDS
from sweeps.cli.init import write_project
from sweeps.cli.main import _parse
from sweeps.config.ablation import compose_ablation
from sweeps.config.multirun import compose_multirun, divide_settings
from sweeps.config.study import compose_study

ROOT = CONF.parent
FRONT = [ROOT / name for name in ("README.md", "README.ko.md", "CONTRIBUTING.md", "CHANGELOG.md")]
EXAMPLES = sorted((ROOT / "examples").rglob("README.md"))
PAGES = [*FRONT, *sorted((ROOT / "docs").rglob("*.md")), *EXAMPLES]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
# What pages say as if it were the reader's; it is nowhere.
READERS = re.compile(r"mixer|shapes|cbf|timeseries|store=server|--from")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^`([\w./]+)`[^\n]*\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def script(name: str) -> Any:
    """Return a module of docs/scripts/."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def prose(page: Path) -> str:
    """A page's text without its blocks of code."""
    return BLOCK.sub("", page.read_text())


@cache
def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as git hosts and MkDocs make them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", re.sub(r"`", "", each)).lower().replace(" ", "-") for each in headings}


def lines(page: Path) -> Iterator[str]:
    """Yield every line of a page's blocks of shell commands, without comments' continuation."""
    for language, block in BLOCK.findall(page.read_text()):
        if language in ("", "sh"):
            yield from re.sub(r"\\\n *", "", block).splitlines()


def commands(page: Path) -> Iterator[list[str]]:
    """Yield the words after `convsweep` of every command of a page's blocks."""
    for line in lines(page):
        if line.startswith("convsweep "):
            yield shlex.split(line, comments=True)[1:]


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?://|data:)([^)#\s]*)(?:#([^)\s]+))?\)", prose(page)):
        file = Path(os.path.normpath(page.parent / target)) if target else page
        assert file.exists(), f"{page.name} links to {target}, which does not exist"
        if anchor:
            assert anchor in anchors(file), f"{target} has no heading #{anchor}"


def test_no_page_is_more_than_two_clicks_from_the_readme() -> None:
    for readme in FRONT[:2]:
        linked = set(re.findall(r"\]\((docs/[^)#]+\.md)", readme.read_text()))
        assert linked >= {name for name in NAMES if name.startswith("docs/")} - TWO_CLICKS
        assert (ROOT / "docs" / "images").exists()


# From the pages on clusters, stores and Python.
TWO_CLICKS = {"docs/explanation/scaling.md", "docs/reference/functions.md"}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_command_is_right(page: Path, project: Callable[..., Path], tmp_path: Path) -> None:
    """Commands are parsed; those that train are composed, with the project that `init` writes and the page's files."""
    write_project(tmp_path)
    for name, text in FILE.findall(page.read_text()):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if not (tmp_path / name).exists():
            (tmp_path / name).write_text(text)
    use_config_folder(None)
    for inline in re.findall(r"`convsweep ([^`\n]+)`", prose(page)):
        _parse(shlex.split(inline))
    for words in commands(page):
        parsed = _parse(words)
        if not READERS.search(" ".join(words)):
            compose_command(words[0], parsed)


def compose_command(name: str, parsed: Any) -> None:
    """Compose what a command would train; raise ConfigError for what is wrong."""
    if name == "train" and parsed.multirun:
        compose_multirun(*divide_settings(parsed.overrides))
    elif name == "train":
        compose(RunConfig, "train", parsed.overrides)
    elif name in ("ablate", "study"):
        of_sweeps = {"ablate": compose_ablation, "study": compose_study}[name]
        for sweep in (word for word in parsed.words if "=" not in word):
            of_sweeps(sweep, [word for word in parsed.words if "=" in word])


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_targets_and_scripts_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = page.read_text()
    assert set(re.findall(r"^make ([a-z-]+)|`make ([a-z-]+)", text, re.MULTILINE)) <= {
        pair for target in targets for pair in ((target, ""), ("", target))
    }
    for path in re.findall(r"(?:python |`)((?:benchmarks|docs/scripts)/\w+\.py)", text):
        assert (ROOT / path).exists()


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_python_is_python(page: Path) -> None:
    for language, block in BLOCK.findall(page.read_text()):
        if language == "python":
            compile(block, page.name, "exec")


@pytest.mark.parametrize("name", ["config.md", "commands.md", "functions.md"])
def test_what_a_script_writes_is_in_step(name: str) -> None:
    reference = script("reference")
    page = ROOT / "docs" / "reference" / name
    if page.read_text() != reference.PAGES[page]():
        pytest.fail(
            f"docs/reference/{name} is out of step with the code; python docs/scripts/reference.py writes it again"
        )


def test_the_readme_is_short_and_says_the_same_in_korean() -> None:
    english, korean = (page.read_text() for page in FRONT[:2])
    assert len(english.splitlines()) <= 110
    assert set(re.findall(r"\]\((docs/[^)]+)\)", english)) == set(re.findall(r"\]\((docs/[^)]+)\)", korean))
    plain = [[re.sub(r" *#.*", "", line) for line in lines(page)] for page in FRONT[:2]]
    assert plain[0] == plain[1]


def test_a_terminal_is_recorded(tmp_path: Path) -> None:
    terminal = script("terminal")
    frames = terminal.chosen(terminal.record(["init", "mine"], str(tmp_path)))
    drawn = terminal.svg(frames, "convsweep init mine")
    assert (tmp_path / "mine" / "nets.py").exists()
    shown = "".join(ElementTree.fromstring(drawn).itertext())
    assert "convsweep init mine" in shown
    assert "convsweep ablate example" in shown
    assert "http" not in drawn.replace('xmlns="http://www.w3.org/2000/svg"', "")


def test_every_ablation_is_listed() -> None:
    text = (ROOT / "docs" / "how-to" / "ablations.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == {
        path.stem for path in (CONF / "ablation").glob("*.yaml")
    }


def test_every_kind_of_claim_is_explained() -> None:
    table = (ROOT / "docs" / "reference" / "claims.md").read_text()
    for name, kind in KINDS.items():
        (row,) = re.findall(rf"^\| `{name}` \|.*$", table, re.MULTILINE)
        for key in (*kind.needed, *kind.optional):
            assert f"`{key}`" in row


@pytest.mark.parametrize(
    ("page", "pattern"),
    [("mlflow", r'"(convsweep\.[a-z_0-9]+)"'), ("files", r"\b(?:CONVSWEEP|PG)[A-Z_]+(?<!_)\b")],
)
def test_tags_and_variables_are_explained(page: str, pattern: str) -> None:
    code = "\n".join(path.read_text() for folder in ("pipeline", "sweeps") for path in (ROOT / folder).rglob("*.py"))
    text = (ROOT / "docs" / "reference" / f"{page}.md").read_text()
    assert {name for name in re.findall(pattern, code) if name not in text} <= OF_OPTUNA


OF_OPTUNA = {"convsweep.lost", "convsweep.identity", "convsweep.copied_trials", "convsweep.chain"}  # and of old stores


@pytest.mark.slow
def test_the_readmes_program_runs(root: Path) -> None:
    (program,) = [block for language, block in BLOCK.findall(FRONT[0].read_text()) if language == "python"]
    (root.parent / "program.py").write_text(program)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "program.py"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "width=64" in done.stdout
