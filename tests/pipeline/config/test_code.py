import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.checks import ConfigError
from pipeline.config.code import call, check_arguments, code_sha256, import_function, use_project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the import path, whose modules are forgotten afterwards."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    use_project(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def build(input_shape: tuple[int, ...], outputs: int, width: int = 8, rate: float = 0.1, name: str = "x") -> None:
    """Stand for a user's builder."""


def test_function_is_imported_from_the_project(project: Path) -> None:
    (project / "nets_a.py").write_text("class Mixer:\n    @staticmethod\n    def build(width):\n        return width\n")
    assert import_function("model.builder", "nets_a:Mixer.build")(3) == 3


@pytest.mark.parametrize(
    ("source", "path", "message"),
    [
        (None, "nets_gone:build", "there is no module nets_gone"),
        ("def mixer(): ...", "nets_b:mixr", r"has no function mixr \(did you mean mixer\?\). It has: mixer"),
        ("mixer = 3", "nets_b:mixer", "must be a function; nets_b:mixer is a int"),
        ("x = 1 +", "nets_b:mixer", r"importing nets_b fails: SyntaxError.*nets_b.py, line 1: x = 1 \+"),
        ("import nothing_such", "nets_b:mixer", "ModuleNotFoundError.*nets_b.py, line 1, in <module>"),
        ("print('hello')\nraise SystemExit(3)", "nets_b:mixer", "SystemExit: 3.*line 2.*it printed:\n  hello"),
    ],
)
def test_what_cannot_be_imported_is_said_with_the_users_own_lines(
    project: Path, source: str | None, path: str, message: str
) -> None:
    if source is not None:
        (project / "nets_b.py").write_text(source)
    with pytest.raises(ConfigError, match=re.compile(message, re.DOTALL)) as error:
        import_function("model.builder", path)
    assert "importlib" not in str(error.value)
    assert "pipeline/config" not in str(error.value)


def test_nothing_is_imported_for_the_hash(project: Path) -> None:
    (project / "nets_c.py").write_text("raise RuntimeError('imported')")
    assert len(code_sha256("model.builder", "nets_c:build")) == 64


def test_hash_follows_the_projects_own_imports_and_no_others(project: Path) -> None:
    package = project / "parts_d"
    package.mkdir()
    files = {
        project / "nets_d.py": "def build():\n    from parts_d.blocks import block\n    import json\n",
        package / "__init__.py": "",
        package / "blocks.py": "from . import sizes\ndef block(): ...",
        package / "sizes.py": "width = 8",
        project / "other_d.py": "width = 8",
    }
    for file, text in files.items():
        file.write_text(text)
    before = code_sha256("model.builder", "nets_d:build")
    (project / "other_d.py").write_text("width = 9")
    assert code_sha256("model.builder", "nets_d:build") == before
    for file in list(files)[:4]:
        file.write_text(files[file] + "\n# changed")
        changed = code_sha256("model.builder", "nets_d:build")
        assert changed != before, file
        before = changed


def test_a_libraries_function_has_a_hash() -> None:
    assert code_sha256("data.loader", "keras.datasets.cifar10:load_data") != code_sha256("data.loader", "json:loads")


@pytest.mark.parametrize("args", [{}, {"width": 3}, {"rate": 1}, {"rate": 0.5, "name": "mixer"}])
def test_fitting_arguments_are_allowed(args: dict[str, Any]) -> None:
    check_arguments("model.args", build, ["input_shape", "outputs"], args)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"widht": 3}, r"unexpected keyword argument 'widht' \(did you mean width\?\). The function is build\("),
        ({"outputs": 3}, "multiple values for argument 'outputs'"),
        ({"width": "64"}, "model.args.width=64 is not allowed: model.args.width must be a whole number"),
        ({"width": True}, "model.args.width=true is not allowed"),
        ({"width": 1.5}, "model.args.width=1.5 is not allowed"),
        ({"rate": None}, "model.args.rate=null is not allowed"),
        ({"name": 3}, "model.args.name=3 is not allowed: model.args.name must be text"),
    ],
)
def test_other_arguments_are_refused_with_the_signature(args: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        check_arguments("model.args", build, ["input_shape", "outputs"], args)
    assert "The function is build(input_shape" in str(error.value)


def test_a_missing_argument_is_named() -> None:
    def build(input_shape: object, outputs: int, width: int) -> None: ...

    with pytest.raises(ConfigError, match="missing a required argument: 'width'"):
        check_arguments("model.args", build, ["input_shape", "outputs"], {})


def test_what_a_function_prints_is_not_seen(capsys: pytest.CaptureFixture[str]) -> None:
    def talk() -> int:
        print("hello")
        return 3

    assert call("talking", talk) == 3
    assert capsys.readouterr().out == ""
