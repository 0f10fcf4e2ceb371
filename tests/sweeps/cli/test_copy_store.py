"""`convsweep copy-store` between two folders; on servers: tests/servers/test_copying.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow.entities import Run

from pipeline.tracking.copying import COPIED, RunCopies
from pipeline.tracking.leases import Leases, of_sweep
from pipeline.tracking.reader import KIND, LAUNCH
from pipeline.tracking.tracker import Tracker
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
    second.tracker.tag(second.parent, {LAUNCH: "of a launch that was killed, so that its parent run is left RUNNING"})
    assert main(["copy-store", "store.root=other"]) == 0, "it has gone on there, and not here"
    (parent,) = [run for run in second.tracker.runs("smoke") if run.tags[KIND] == "sweep"]
    assert (parent.run_id, parent.status) == (second.parent, "RUNNING")
    Launched(study("study.n_trials=4", "study.pruner=none", "trainer.epochs=2")).tracker.close(first.parent, "FINISHED")
    assert main(["copy-store", "store.root=other"]) == 2
    assert "has trials of its own" in capsys.readouterr().err
    assert {run.tags[COPIED] for run in second.runs if COPIED in run.tags} == {run.run_id for run in first.runs}


@pytest.mark.slow
def test_one_copies_at_a_time_and_while_no_sweep_runs_there(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipeline.tracking.tracker.draw_learning_curves", lambda *told: None)
    first = Launched(study("study.n_trials=2", "study.pruner=none", "trainer.epochs=2"))
    first.tracker.close(first.parent, "FINISHED")
    command = ["copy-store", "store.root=other"]
    target = study("store.root=other").store
    with Leases(target, "sweep smoke") as theirs:
        theirs.need(of_sweep("smoke", theirs.id))
        assert main(command) == 2
    assert "(sweep smoke) works on smoke; wait until it has ended" in capsys.readouterr().err
    assert not (target.folder / "mlflow.db").exists(), "nothing was written"

    codes, copy = list[int](), RunCopies._copy

    def copy_beside_another(self: RunCopies, experiment: str, run: Run) -> str:
        copied = copy(self, experiment, run)
        codes.append(main(command))
        return copied

    monkeypatch.setattr(RunCopies, "_copy", copy_beside_another)
    assert main(command) == 0
    assert codes == [2, 2, 2]
    told = capsys.readouterr()
    assert f"(copy of {root}) works on smoke; wait until it has ended" in told.err
    assert "3 runs, 2 trials of studies; 0 runs were there" in told.out
    copied = sorted(run.tags[COPIED] for run in Tracker(target).runs("smoke"))
    assert copied == sorted(run.run_id for run in first.tracker.runs("smoke"))
