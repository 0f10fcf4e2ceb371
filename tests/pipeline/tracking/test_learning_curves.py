"""Learning curves: a figure per run, and never at the price of a run or a report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.config.schema import RunConfig, StoreConfig
from pipeline.tracking.learning_curves import draw_learning_curves
from pipeline.tracking.tracker import Tracker
from pipeline.training.identity import resolve
from pipeline.training.result import RunResult
from sweeps.cli.main import main

pytestmark = pytest.mark.usefixtures("worker_threads")
RESULT = RunResult({"train/loss": [0.5, 0.4], "test/loss": [0.6, 0.5]})


def broken(*given: object) -> None:
    raise ValueError("Key backend: no such backend\nand more")


def test_learning_curves_are_a_png(tmp_path: Path) -> None:
    draw_learning_curves(RESULT, "title", tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_without_its_figure_is_finished(
    root: Path, config: Callable[..., RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.tracking.tracker.draw_learning_curves", broken)
    tracker = Tracker(StoreConfig(str(root), None, None, 60.0, "none", 5000))
    run_id = tracker.open_run(resolve(config(), "d"), "train", "one", {}, [])
    trouble = tracker.finish_run(run_id, RESULT, "one")
    assert trouble == "no figure learning_curves.png: ValueError: Key backend: no such backend"
    assert tracker.get(run_id).status == "FINISHED"


@pytest.mark.slow
def test_a_report_without_a_figure_is_written(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ablate", "line", "trainer.epochs=2", "seeds=[0]", "workers=1"]) == 0
    monkeypatch.setattr("sweeps.reports.figures.draw_axis", broken)
    assert main(["report", "line"]) == 0
    assert "no figure loss_by_network.png: ValueError: Key backend" in capsys.readouterr().out
    written = {path.name for path in (root / "reports" / "line").iterdir()}
    assert "loss_by_network.png" not in written
    assert {"report.html", "learning_curves.png"} <= written
