"""Stores as they are found in the world: new, shared, broken, moved, in use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sweeps.cli.main import main
from tests.conftest import SMALL
from tests.pipeline.tracking.test_tracker import runs
from tests.sweeps.config.test_ablation import QUICK, tracked


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "sweeps.cli.main", *arguments]


@pytest.mark.slow
def test_three_commands_at_once_on_a_new_store(tmp_path: Path) -> None:
    quick = [*QUICK, "workers=1"]
    commands = [
        ["train", *SMALL, "store.log_model=none"],
        ["ablate", "demo", *quick, "seeds=[0]"],
        ["study", "smoke", *quick, "study.n_trials=1", "study.confirm_seeds=[]"],
    ]
    launched = [subprocess.Popen(command(*each), cwd=tmp_path, stderr=subprocess.PIPE, text=True) for each in commands]
    told = [process.communicate(timeout=200)[1] for process in launched]
    assert [process.returncode for process in launched] == [0, 0, 0], told
    assert "".join(told).count("making the database") == 2, "each database is made once"
    assert {run.info.status for run in runs(tmp_path / "mlruns")} == {"FINISHED"}


@pytest.mark.slow
def test_two_equal_commands_at_once_train_once(root: Path) -> None:
    twins = [subprocess.Popen(command("train", *SMALL, "store.log_model=none")) for _ in range(2)]
    assert [process.wait(timeout=120) for process in twins] == [0, 0]
    assert len(runs(root)) == 1


@pytest.mark.parametrize("which", ["mlflow.db", "optuna.db"])
def test_a_broken_database_is_told_in_one_line(
    root: Path, which: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mlflow.store.db.utils.MAX_RETRY_COUNT", 1)  # of its own accord it tries for 100 s
    (root / which).write_bytes(b"this is no database, and long enough to be noticed" * 100)
    assert main(["ablate", "demo", *QUICK, "store.retry_seconds=1"]) == 2
    told = capsys.readouterr().err
    assert which in told
    assert "cannot be opened" in told


def test_a_root_that_is_a_file_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    for arguments in (["train", *SMALL], ["ablate", "demo", *QUICK]):
        assert main([*arguments, f"store.root={tmp_path / 'file'}"]) == 2
        assert str(tmp_path / "file") in capsys.readouterr().err


def test_one_database_for_both_is_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ablate", "demo", f"store.tracking_uri=sqlite:///{root / 'optuna.db'}"]) == 2
    assert "the two break each other" in capsys.readouterr().err


@pytest.mark.slow
def test_a_launch_that_began_nothing_binds_nobody(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CONVSWEEP_DATA_DIR", raising=False)
    assert main(["ablate", "demo", "data=horse_or_human", "seeds=[0]"]) == 1
    assert "cannot be had" in capsys.readouterr().err
    assert main(["ablate", "demo", *QUICK, "seeds=[0]"]) == 0


@pytest.mark.slow
def test_a_copied_run_keeps_how_it_was_trained(root: Path) -> None:
    dense = ["model=dense", "data=digits", "model.padding=same", "trainer.epochs=1", "data.limit=300"]
    assert main(["train", *dense, "trainer.threads=1", "store.log_model=none", "seed=0"]) == 0
    assert main(["ablate", "demo", *QUICK, "seeds=[0]"]) == 0
    copy = next(run for run in tracked(root, "demo")[2] if "convsweep.reused_from" in run.data.tags)
    assert copy.data.tags["convsweep.threads"] == "1"


@pytest.mark.slow
def test_a_reader_that_leaves_does_not_end_the_training(root: Path) -> None:
    told = " ".join(command("train", *SMALL, "store.log_model=none"))
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {told} | head -1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert runs(root)[0].info.status == "FINISHED"
