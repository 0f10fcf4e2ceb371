"""The import rules: sweeps above pipeline, one module per vendor, nothing heavy where a command does not need it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ORDER = {
    "pipeline": "paths addresses config hardware runtime patience sources pictures fused model data estimate loop "
    "checkpoints train signature curves databases relocation tracking progress run ui saved predict explain",
    "sweeps": "claims space sweep study workers engine ablation search results report figures timing page plan "
    "publish launch rebuild cli",
}
MODULES = sorted(p for package in ORDER for p in (ROOT / package).glob("*.py") if p.stem != "__init__")


def imported(path: Path) -> set[str]:
    """Dotted names of the modules that a file imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda p: f"{p.parent.name}.{p.stem}")
def test_imports_only_what_stands_above(path: Path) -> None:
    package, order = path.parent.name, ORDER[path.parent.name].split()
    below = order[order.index(path.stem) :]
    names = imported(path)
    assert not {f"{package}.{module}" for module in below} & names
    if package == "pipeline":
        assert not [name for name in names if name.split(".")[0] == "sweeps"]


@pytest.mark.parametrize(
    ("vendor", "allowed"),
    [
        ("mlflow", {"tracking", "ui"}),
        ("optuna", {"study", "space", "report", "publish", "launch"}),
        ("tensorflow", {"runtime", "fused", "loop"}),
        ("keras", {"runtime", "fused", "model", "loop", "train", "tracking", "run", "saved", "explain"}),
    ],
)
def test_vendors_stand_in_one_place(vendor: str, allowed: set[str]) -> None:
    users = {p.stem for p in MODULES if any(name.split(".")[0] == vendor for name in imported(p))}
    assert users <= allowed


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["list"], ["train", "--dry-run"], ["train", "model.filters=0"], ["ablate", "demo", "--dry-run"]],
)
def test_light_commands_import_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    code = (
        "import sys\nfrom sweeps.cli import main\n"
        f"try: main({arguments})\nexcept SystemExit: pass\n"
        "heavy = {'tensorflow', 'keras', 'mlflow', 'optuna', 'matplotlib', 'sklearn'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
