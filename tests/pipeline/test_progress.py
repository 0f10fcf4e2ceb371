"""What is shown while something is waited for."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from pipeline.progress import _Bars, report_on, waiting


@pytest.mark.parametrize(
    ("terminal", "quiet", "shown"), [(True, False, True), (False, False, False), (True, True, False)]
)
def test_waiting_is_shown_in_a_terminal_alone(terminal: bool, quiet: bool, shown: bool) -> None:
    file = io.StringIO()
    with waiting(Console(file=file, force_terminal=terminal, quiet=quiet), "opening the store"):
        pass
    assert ("opening the store" in file.getvalue()) == shown
    assert shown or not file.getvalue()


LONG = "filters=64 conv_layers=2 dropout=0.3 epochs=20 seed=1"
METRICS = {"train/loss": 0.3, "train/accuracy": 0.9422, "test/loss": 0.28, "test/accuracy": 0.9028}


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_bars_show_what_matters_however_narrow_the_terminal(width: int) -> None:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=True, color_system=None)
    bars = _Bars(console)
    bars.on_total(12, 3)
    bars.on_counts("best test/accuracy .9063; configs: 1 complete; 3 runs reused")
    bars.on_steps(LONG, 20, 12, 300, 1875, METRICS)
    bars.on_epoch(LONG, 20, 12, METRICS)
    console.print(bars.progress.get_renderable())
    of_all, of_run = file.getvalue().splitlines()
    assert max(map(len, (of_all, of_run))) <= width
    assert "3/12 runs, best test/accuracy .90" in of_all
    assert of_run.startswith("seed=1 filters=64")
    assert "epoch 12/20 test .9028 train .9422" in of_run
    assert all("━" in line and line.rstrip().endswith("--:--") for line in (of_all, of_run))


def test_a_pipe_gets_a_line_per_run() -> None:
    file = io.StringIO()
    lines = report_on(Console(file=file, width=100))
    lines.on_total(3, 1)
    lines.on_epoch("a seed=0", 1, 1, METRICS)
    lines.on_end("a seed=0", "finished")
    lines.on_end("a seed=1", "failed, is tried again: no reason", again=True)
    lines.on_end("a seed=1", "failed: no reason")
    assert file.getvalue().splitlines() == [
        "a seed=0: finished, test .9028 train .9422 (2/3 runs)",
        "a seed=1: failed, is tried again: no reason (2/3 runs)",
        "a seed=1: failed: no reason (3/3 runs)",
    ]
