"""The notebooks run from top to bottom, print nothing unasked, and are committed with what they show."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def shown(notebook: Any, kind: str) -> list[str]:
    return [output.data[kind] for output in outputs(notebook) if kind in output.get("data", {})]


def check(notebook: Any) -> None:
    """Figures, a result and finished bars are shown; nothing is on stderr, and no path of a machine anywhere."""
    assert len(shown(notebook, "image/png")) >= 1
    assert any("<table>" in text and "mlruns/reports" in text for text in shown(notebook, "text/html"))
    bars = [text for text in shown(notebook, "text/plain") if text.startswith("all runs")]  # one for each look
    assert "12/12" in bars[0]
    for bar in bars:
        (done,) = re.findall(r"(\d+)/(\d+)", bar)
        assert done[0] == done[1]
        assert bar.count("\n") == 0, "one line remains"
    assert not [output for output in outputs(notebook) if output.get("name") == "stderr"]
    assert "/home" not in str(notebook)
    assert "/tmp" not in str(notebook)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_committed_with_what_it_shows(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    check(notebook)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(path.parents[1]))
    monkeypatch.setenv("IPYTHONDIR", str(root.parent / "ipython"))
    folder = root.parent / "notebooks"
    folder.mkdir()
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.pop("outputs", None) if cell.cell_type == "code" else None
        if cell.cell_type == "code":
            cell.outputs = []
    NotebookClient(notebook, timeout=280, resources={"metadata": {"path": str(folder)}}).execute()
    check(notebook)
    assert (root / "reports").is_dir()
