"""`convsweep copy-store` between two folders; on servers: tests/servers/test_copying.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.tracking.copying import COPIED
from sweeps.cli.main import main
from tests.sweeps.execution.test_engine import Launched, study


@pytest.mark.slow
def test_a_study_goes_on_in_another_folder(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipeline.tracking.tracker.draw_learning_curves", lambda *told: None)
    first = Launched(study("study.n_trials=2", "study.pruner=none", "trainer.epochs=2"))
    assert main(["copy-store", "store.root=other"]) == 2
    assert "1 runs of smoke are not ended" in capsys.readouterr().err
    assert main(["copy-store", "store.root=mlruns"]) == 2
    assert "into itself" in capsys.readouterr().err
    first.tracker.close(first.parent, "FINISHED")
    assert main(["copy-store", "store.root=other"]) == 0
    assert "3 runs, 2 trials of studies; 0 runs were there" in capsys.readouterr().out
    first = Launched(study("study.n_trials=3", "study.pruner=none", "trainer.epochs=2"))
    first.tracker.close(first.parent, "FINISHED")
    assert main(["copy-store", "store.root=other"]) == 0
    assert "1 runs, 3 trials of studies; 3 runs were there" in capsys.readouterr().out
    second = Launched(study("store.root=other", "study.n_trials=4", "study.pruner=none", "trainer.epochs=2"))
    assert len(second.backend.started) == 1
    assert second.statuses == {"FINISHED": 4}
    second.tracker.close(second.parent, "FINISHED")
    assert main(["copy-store", "store.root=other"]) == 0, "it has gone on there, and not here"
    Launched(study("study.n_trials=4", "study.pruner=none", "trainer.epochs=2")).tracker.close(first.parent, "FINISHED")
    assert main(["copy-store", "store.root=other"]) == 2
    assert "has trials of its own" in capsys.readouterr().err
    assert {run.tags[COPIED] for run in second.runs if COPIED in run.tags} == {run.run_id for run in first.runs}
