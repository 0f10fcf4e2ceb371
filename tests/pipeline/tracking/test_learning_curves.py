"""Figures: drawn whatever MPLBACKEND says, and never at the price of a run or a report."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.config.schema import RunConfig, StoreConfig
from pipeline.tracking.learning_curves import draw_learning_curves, drawn
from pipeline.tracking.tracker import Tracker
from pipeline.training.identity import resolve
from pipeline.training.result import RunResult
from sweeps.cli.main import main

NOTEBOOK = "module://matplotlib_inline.backend_inline"
RESULT = RunResult({"train/loss": [0.5, 0.4], "test/loss": [0.6, 0.5]})
CODE = """
from pathlib import Path
from pipeline.tracking.learning_curves import draw_learning_curves
from pipeline.training.identity import resolve
from pipeline.training.result import RunResult
draw_learning_curves(RunResult({"train/loss": [0.5, 0.4]}), "title", Path("curves.png"))
"""


def broken(*given: object) -> None:
    raise ValueError("Key backend: no such backend\nand more")


@pytest.mark.slow
def test_a_figure_is_drawn_in_a_command_of_a_notebook(tmp_path: Path) -> None:
    """Its backend is a package that is not installed here: Matplotlib's import raises."""
    environment = os.environ | {"MPLBACKEND": NOTEBOOK, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run([sys.executable, "-c", CODE], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_every_command_draws_off_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", NOTEBOOK)
    assert main(["list"]) == 0
    assert os.environ["MPLBACKEND"] == "agg"


def test_what_cannot_be_drawn_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "figure.png"

    def half(at: Path) -> None:
        at.write_bytes(b"half")
        broken()

    assert drawn(half, path) == "no figure figure.png: ValueError: Key backend: no such backend"
    assert not path.exists()
    assert drawn(lambda at: draw_learning_curves(RESULT, "title", at), path) == ""
    assert path.exists()


def test_a_run_without_its_figure_is_finished(
    root: Path, config: Callable[..., RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.tracking.tracker.draw_learning_curves", broken)
    tracker = Tracker(StoreConfig(str(root), None, None, 60.0, "none", 5000))
    run_id = tracker.open_run(resolve(config(), "d"), "train", "one", {}, [])
    told = tracker.finish_run(run_id, RESULT, "one")
    assert told == "no figure learning_curves.png: ValueError: Key backend: no such backend"
    assert tracker.get(run_id).status == "FINISHED"


@pytest.mark.slow
def test_a_report_without_a_figure_is_written(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ablate", "line", "trainer.epochs=2", "seeds=[0]", "workers=1"]) == 0
    monkeypatch.setattr("sweeps.reports.publish.draw_cost", broken)
    assert main(["report", "line"]) == 0
    assert "no figure cost.png: ValueError: Key backend" in capsys.readouterr().out
    written = {path.name for path in (root / "reports" / "line").iterdir()}
    assert "cost.png" not in written
    assert {"report.html", "learning_curves.png"} <= written
