"""Real processes killed by real signals at random moments; afterwards everything agrees and nothing is lost."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from sweeps.cli.main import main
from tests.sweeps.config.test_ablation import study_of, tracked

pytestmark = pytest.mark.usefixtures("worker_threads")
FEW, MANY = 5, 14  # trials: enough to go on with after one fault, and after several
KILLS = 4
STUDY = ["study", "smoke", f"study.n_trials={FEW}", "study.pruner=none", "study.finalists=1", "study.confirm_seeds=[]"]
STUDY += ["trainer.epochs=3", "store.log_model=none", "retries=50"]
COMMAND = [sys.executable, "-m", "sweeps.cli.main", *STUDY]


def launch(*overrides: str) -> subprocess.Popen[str]:
    """The study, in a session of its own."""
    return subprocess.Popen(
        [*COMMAND, *overrides], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def check(root: Path, trials: int = FEW) -> None:
    """COMPLETE trials, FINISHED runs and configs agree in number, and nothing is left RUNNING."""
    _, parent, runs = tracked(root, "smoke")
    states = Counter(t.state.name for t in study_of(root, "smoke").trials)
    finished = {run.info.run_id: run for run in runs if run.info.status == "FINISHED"}
    complete = [t for t in study_of(root, "smoke").trials if t.state.name == "COMPLETE"]
    assert parent.info.status == "FINISHED"
    assert states["COMPLETE"] == trials
    assert set(states) <= {"COMPLETE", "FAIL"}
    assert {run_id for t in complete for run_id in t.user_attrs["run_ids"]} == set(finished)
    assert len({run.data.tags["convsweep.signature"] for run in finished.values()}) == trials
    assert {run.info.status for run in runs} <= {"FINISHED", "KILLED"}
    for trial in complete:
        run = finished[trial.user_attrs["run_ids"][0]]
        assert trial.value == pytest.approx(run.data.metrics["val/accuracy"])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_parent_killed_at_random_moments(root: Path) -> None:
    rng = random.Random(1)
    for number in range(KILLS):
        with launch(f"study.n_trials={MANY}") as process:
            time.sleep(rng.uniform(0.3, 6.0))
            workers = psutil.Process(process.pid).children(recursive=True)
            if number % 2:  # a machine reset takes everything at once
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
            process.wait()
        _, alive = psutil.wait_procs(workers, timeout=100)
        assert alive == [], "workers end when their parent is gone"
    assert main([*STUDY, f"study.n_trials={MANY}"]) == 0
    check(root, MANY)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_workers_killed_at_random_moments(root: Path) -> None:
    rng = random.Random(2)
    kills = 0
    with launch(f"study.n_trials={MANY}", "trainer.epochs=60") as process:
        time.sleep(4)
        while process.poll() is None:
            time.sleep(rng.uniform(0.05, 2.0))
            with suppress(psutil.Error):  # it may have ended by itself just now
                children = psutil.Process(process.pid).children()
                workers = [c for c in children if "backends/start.py" in " ".join(c.cmdline())]
                if workers and kills < KILLS:
                    rng.choice(workers).kill()
                    kills += 1
        told = process.stdout.read() if process.stdout else ""
    assert process.returncode == 0, told
    assert kills == KILLS
    check(root, MANY)
    _, _, runs = tracked(root, "smoke")
    reasons = {run.data.tags.get("convsweep.reason", "") for run in runs if run.info.status == "KILLED"}
    assert all("signal SIGKILL" in reason for reason in reasons)


@pytest.mark.slow
def test_a_worker_killed_with_an_unread_message_does_not_hang_the_sweep(root: Path) -> None:
    with launch() as process:
        for line in process.stdout or []:
            if "finished" in line:
                break
        parent = psutil.Process(process.pid)
        parent.suspend()
        time.sleep(1)
        for child in parent.children():
            if "backends/start.py" in " ".join(child.cmdline()):
                child.kill()
        parent.resume()
        told, _ = process.communicate(timeout=200)
    assert process.returncode == 0, told
    check(root)


@pytest.mark.slow
def test_locked_databases_are_waited_for(root: Path) -> None:
    with launch("workers=1") as process:
        for name, seconds in (("optuna.db", 8), ("mlflow.db", 25)):
            assert any("finished" in line for line in process.stdout or [])
            with sqlite3.connect(root / name, timeout=30) as database:
                database.execute("BEGIN EXCLUSIVE")
                time.sleep(seconds)
            database.close()
        assert process.poll() is None, "it was not through before both were locked"
        told, _ = process.communicate(timeout=200)
    assert process.returncode == 0, told
    check(root)


@pytest.mark.slow
def test_a_store_that_stays_away_ends_the_sweep_and_loses_nothing(root: Path) -> None:
    command = [*COMMAND, "store.retry_seconds=1", "workers=1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or []:
            if "finished" in line:
                break
        with sqlite3.connect(root / "optuna.db", timeout=30) as database:
            database.execute("BEGIN EXCLUSIVE")
            told, _ = process.communicate(timeout=120)
        database.close()
    assert process.returncode == 1
    assert f"the store {root / 'optuna.db'} did not answer for" in told, told
    assert main(STUDY) == 0
    check(root)


@pytest.mark.slow
def test_a_full_disk_ends_the_sweep_and_the_same_command_continues(root: Path) -> None:
    # The kernel refuses to let any file of the sweep's processes grow beyond the databases' present size and a little.
    limit = max(path.stat().st_size for path in root.iterdir()) + 60_000
    limited = [
        "bash",
        "-c",
        f'ulimit -f {limit // 1024}; trap "" XFSZ; exec "$@"',
        "bash",
        *COMMAND,
        "store.retry_seconds=1",
    ]
    done = subprocess.run(limited, capture_output=True, text=True, timeout=200)
    assert done.returncode in (1, 2), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert main(STUDY) == 0
    check(root)
