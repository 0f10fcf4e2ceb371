"""`convsweep prune-cache` at a terminal, and without one."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from pipeline.training.checkpoints import folder_of
from sweeps.cli.arguments import store_of
from sweeps.cli.main import main


@pytest.fixture
def checkpoint(root: Path) -> Path:
    file = folder_of(store_of([])) / "key" / "1.ckpt"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"0" * 2**20)
    return file


def test_a_dry_run_deletes_nothing(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prune-cache", "--dry-run"]) == 0
    assert "would be deleted: 1 checkpoints, 1.0 MiB" in capsys.readouterr().out
    assert checkpoint.exists()
    assert main(["prune-cache"]) == 0
    assert not checkpoint.parent.exists()


@pytest.mark.parametrize(("answer", "stays"), [("\n", True), ("n\n", True), ("y\n", False)])
def test_whoever_is_at_a_terminal_is_asked(
    answer: str, stays: bool, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes the output for a terminal then
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    assert main(["prune-cache"]) == 0
    assert checkpoint.exists() == stays
