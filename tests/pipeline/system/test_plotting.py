"""Figures: drawn whatever MPLBACKEND says, or a line that says why not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.system.plotting import new_figure, pyplot_off_screen, try_to_draw
from sweeps.cli.main import main

NOTEBOOK = "module://matplotlib_inline.backend_inline"
CODE = """
from pipeline.system.plotting import draw_off_screen, new_figure
draw_off_screen()
new_figure(1, 1).savefig("figure.png")
"""


@pytest.mark.slow
def test_a_figure_is_drawn_in_a_command_of_a_notebook(tmp_path: Path) -> None:
    """Its backend is a package that is not installed here: Matplotlib's import raises."""
    environment = os.environ | {"MPLBACKEND": NOTEBOOK, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run([sys.executable, "-c", CODE], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_every_command_draws_off_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", NOTEBOOK)
    assert main(["list"]) == 0
    assert os.environ["MPLBACKEND"] == "agg"


def test_a_figure_that_fails_leaves_one_line_and_no_file(tmp_path: Path) -> None:
    path = tmp_path / "figure.png"

    def fail_halfway(at: Path) -> None:
        at.write_bytes(b"half")
        raise ValueError("Key backend: no such backend\nand more")

    assert try_to_draw(fail_halfway, path) == "no figure figure.png: ValueError: Key backend: no such backend"
    assert not path.exists()
    assert try_to_draw(new_figure(1, 1).savefig, path) == ""
    assert path.exists()


def test_pyplot_stays_as_it_was() -> None:
    import matplotlib
    from matplotlib import pyplot

    mine = pyplot.figure()
    before = dict.copy(matplotlib.rcParams), pyplot.get_fignums(), matplotlib.get_backend(auto_select=False)
    with pyplot_off_screen():
        pyplot.style.use("ggplot")
        pyplot.figure()
        assert matplotlib.get_backend().lower() == "agg"
    assert (dict.copy(matplotlib.rcParams), pyplot.get_fignums(), matplotlib.get_backend(auto_select=False)) == before
    pyplot.close(mine)
