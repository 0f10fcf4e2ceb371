"""A wheel, made from a source distribution, has all that the checkout has."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

from pipeline.config.groups import CONF
from tests.conftest import need

ROOT = Path(__file__).parents[1]
SOURCES = ("pipeline", "sweeps", "conf", "pyproject.toml", "setup.py", "README.md", "LICENSE", "convsweep.py")


def build(kind: str, source: Path, target: Path) -> Path:
    """Let setuptools build an `sdist` or a `wheel` from the folder `source`, without a network."""
    code = f"from setuptools import build_meta; build_meta.build_{kind}({str(target)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=source, check=True, capture_output=True)
    (made,) = target.iterdir()
    return made


def files_of(folder: Path) -> set[str]:
    files = (file.relative_to(ROOT) for file in folder.rglob("*") if file.is_file())
    return {str(file) for file in files if "__pycache__" not in file.parts}


@pytest.mark.slow
def test_a_wheel_is_complete(tmp_path: Path) -> None:
    need(int(version("setuptools").partition(".")[0]) >= 77, "setuptools is older than what pyproject.toml asks for")
    for name in ("source", "sdist", "wheel"):
        (tmp_path / name).mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, tmp_path / "source" / name, ignore=ignore)
        elif (ROOT / name).exists():
            shutil.copy(ROOT / name, tmp_path / "source" / name)
    with tarfile.open(build("sdist", tmp_path / "source", tmp_path / "sdist")) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    with zipfile.ZipFile(build("wheel", unpacked, tmp_path / "wheel")) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    wanted = files_of(ROOT / "pipeline") | files_of(ROOT / "sweeps") | {f"pipeline/{file}" for file in files_of(CONF)}
    wanted |= {"convsweep.py"} if (ROOT / "convsweep.py").exists() else set()
    assert held == wanted
