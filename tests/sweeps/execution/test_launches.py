"""Launches that know of each other: real processes on one store train nothing twice, whatever becomes of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

import convsweep
from pipeline.config.schema import StoreConfig
from pipeline.tracking.lease_table import Lease, read_leases
from sweeps.cli.main import main
from tests.sweeps.config.test_ablation import study_of, tracked

REUSED, SIGNATURE = "convsweep.reused_from", "convsweep.signature"
GRID = [
    "train",
    "-m",
    "data=digits",
    "model.padding=same",
    "data.limit=300",
    "store.log_model=none",
    "trainer.threads=1",
]
SIX = [*GRID, "trainer.epochs=2", "model.filters=2,3,4,5,6,7", "hydra.sweeper.workers=1"]
# Ten seconds on a fast machine, so that nothing has ended before it is interrupted.
LONG = [*GRID, "data.limit=null", "trainer.epochs=200", "model.filters=64,64", "hydra.sweeper.workers=1"]


@contextmanager
def launched(*words: str, seconds: float = 30) -> Iterator[subprocess.Popen[str]]:
    """A command in a process of its own, whose leases expire after so many seconds."""
    command = [sys.executable, "-m", "tests.helpers.short_leases", str(seconds), *words]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGCONT)
            process.kill()


@contextmanager
def suspended_workers(process: subprocess.Popen[str]) -> Iterator[None]:
    """Let a command's workers train nothing in the meantime: they might be through before another command looks."""
    workers = psutil.Process(process.pid).children()
    for worker in workers:
        worker.suspend()
    try:
        yield
    finally:
        for worker in workers:
            with suppress(psutil.NoSuchProcess):
                worker.resume()


def ended(*processes: subprocess.Popen[str]) -> list[str]:
    """What they have said until their good end."""
    told = [process.communicate(timeout=200)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), "\n".join(told)
    return told


def wait_until(condition: Callable[[], object], seconds: float = 100) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.1)


def of(root: Path, sweep: str) -> list[Run]:
    """The runs of a sweep; none as long as there is no such sweep."""
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(sweep)
    runs = client.search_runs([experiment.experiment_id]) if experiment else []
    return [run for run in runs if run.data.tags["convsweep.kind"] == "run"]


def epochs_of(root: Path, sweep: str) -> int:
    """How many epochs were trained in a sweep's runs, as far as they were told."""
    return max(
        (
            len(MlflowClient(f"sqlite:///{root / 'mlflow.db'}").get_metric_history(run.info.run_id, "train/loss"))
            for run in of(root, sweep)
        ),
        default=0,
    )


def leases_of(root: Path) -> dict[str, Lease]:
    """All leases, those of dead launches included."""
    return read_leases(StoreConfig(str(root), None, None, 5.0, "none", 5000).launches_uri, 5.0)[1]


def trained(root: Path, *sweeps: str) -> Counter[str]:
    """How often each signature was trained to its end."""
    runs = [run for sweep in sweeps for run in of(root, sweep) if run.info.status == "FINISHED"]
    return Counter(run.data.tags[SIGNATURE] for run in runs if REUSED not in run.data.tags)


@pytest.mark.slow
def test_two_equal_sweeps_at_once_train_each_run_once(root: Path) -> None:
    with launched(*SIX, "hydra.sweeper.name=one") as one, launched(*SIX, "hydra.sweeper.name=two") as two:
        told = ended(one, two)
    assert sorted(trained(root, "one", "two").values()) == [1] * 6, told
    for sweep in ("one", "two"):
        assert Counter(run.info.status for run in of(root, sweep)) == {"FINISHED": 6}
        assert [trial.state.name for trial in study_of(root, sweep).trials] == ["COMPLETE"] * 6
        assert tracked(root, sweep)[1].info.status == "FINISHED"
    assert {run.data.tags[REUSED] for run in of(root, "two") if REUSED in run.data.tags} <= {
        run.info.run_id for run in of(root, "one")
    }


@pytest.mark.slow
def test_a_sweep_launched_twice_is_refused_or_joined(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = [*SIX, "trainer.epochs=12", "hydra.sweeper.name=wide"]
    with launched(*sweep) as first:
        wait_until(lambda: of(root, "wide"))
        assert main(sweep) == 2
        said = capsys.readouterr().err
        assert f"the sweep wide is running already, in process {first.pid} on " in said
        assert "--join" in said
        with launched(*sweep, "--join") as second:
            told = ended(first, second)
    assert f"wide: joined, beside process {first.pid} on " in told[1]
    assert "finished" in told[1], "the second has trained something"
    runs = of(root, "wide")
    assert sorted(trained(root, "wide").values()) == [1] * 6
    assert Counter(run.info.status for run in runs) == {"FINISHED": 6}, "nothing is copied"
    assert len({run.data.tags["convsweep.launch"] for run in runs}) == 2
    assert [trial.state.name for trial in study_of(root, "wide").trials] == ["COMPLETE"] * 6
    assert tracked(root, "wide")[1].info.status == "FINISHED"
    results = [[line for line in each.splitlines() if line.startswith("│ filters=")] for each in told]
    assert len(results[0]) == 6
    assert results[0] == results[1]
    assert leases_of(root) == {}


@pytest.mark.slow
def test_of_joined_launches_the_one_that_stays_closes_the_sweep(root: Path) -> None:
    sweep = [*SIX, "trainer.epochs=12", "hydra.sweeper.name=wide"]
    with launched(*sweep) as first:
        wait_until(lambda: of(root, "wide"))
        with launched(*sweep, "--join") as second:
            wait_until(lambda: len(of(root, "wide")) >= 2)
            first.send_signal(signal.SIGINT)
            first.communicate(timeout=60)
            assert first.returncode == 130
            assert tracked(root, "wide")[1].info.status == "RUNNING"
            ended(second)
    assert sorted(trained(root, "wide").values()) == [1] * 6
    assert tracked(root, "wide")[1].info.status == "FINISHED"
    assert "RUNNING" not in {run.info.status for run in of(root, "wide")}


@pytest.mark.slow
def test_what_a_killed_launch_was_training_is_gone_on_with_by_the_one_that_waited(root: Path) -> None:
    with launched(*LONG, "hydra.sweeper.name=one") as one:
        wait_until(lambda: epochs_of(root, "one") >= 3)
        with suspended_workers(one), launched(*LONG, "hydra.sweeper.name=two") as two:
            assert two.stdout is not None
            said = next(line for line in two.stdout if "another launch" in line)
            assert f"1 runs wait, as another launch trains them: process {one.pid} on " in said
            one.kill()
            one.wait()
            ended(two)
    (run,) = [run for run in of(root, "two") if run.info.status == "FINISHED"]
    assert REUSED not in run.data.tags
    history = MlflowClient(f"sqlite:///{root / 'mlflow.db'}").get_metric_history(run.info.run_id, "train/loss")
    assert len(history) == 200
    assert max(metric.timestamp for metric in history[:3]) - history[0].timestamp < 100, (
        "the first come from a checkpoint"
    )


@pytest.mark.slow
def test_a_launch_suspended_for_too_long_gives_its_run_up_and_looks_again(root: Path) -> None:
    with launched(*LONG, "hydra.sweeper.name=one", seconds=3) as one:
        wait_until(lambda: epochs_of(root, "one") >= 3)
        one.send_signal(signal.SIGSTOP)
        with launched(*LONG, "hydra.sweeper.name=two", seconds=3) as two:
            wait_until(lambda: epochs_of(root, "two") >= 5)
            one.send_signal(signal.SIGCONT)
            told, _ = ended(one, two)
    assert "this launch was silent for too long" in told
    assert list(trained(root, "one", "two").values()) == [1]
    assert Counter(run.info.status for run in of(root, "one")) == {"FINISHED": 1, "KILLED": 1}
    assert tracked(root, "one")[1].info.status == "FINISHED"


@pytest.mark.slow
def test_a_sweep_suspended_for_too_long_whose_place_is_taken_ends_and_says_so(root: Path) -> None:
    sweep = [*LONG, "hydra.sweeper.name=one"]
    with launched(*sweep, seconds=3) as one, ExitStack() as suspended:
        wait_until(lambda: epochs_of(root, "one") >= 3)
        suspended.enter_context(suspended_workers(one))
        one.send_signal(signal.SIGSTOP)
        wait_until(lambda: all(lease.age > 3 for lease in leases_of(root).values()))
        with launched(*sweep, seconds=3) as again:
            wait_until(lambda: sorted(run.info.status for run in of(root, "one")) == ["KILLED", "RUNNING"])
            with suspended_workers(again):
                suspended.close()
                one.send_signal(signal.SIGCONT)
                told = one.communicate(timeout=60)[0]
            assert one.returncode == 1
            assert f"process {again.pid} on " in told
            assert "has taken its place" in told
            ended(again)
    assert Counter(run.info.status for run in of(root, "one")) == {"FINISHED": 1, "KILLED": 1}
    assert tracked(root, "one")[1].info.status == "FINISHED"


@pytest.mark.slow
def test_in_python_a_sweep_is_joined_from_another_thread(root: Path) -> None:
    base = [*GRID[2:], "trainer.epochs=8"]

    def launch(join: bool) -> Any:
        return convsweep.grid({"model.filters": [2, 3, 4, 5]}, base, seeds=1, name="wide", join=join)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(launch, False)
        wait_until(lambda: of(root, "wide") or first.done())
        second = pool.submit(launch, True)
        with pytest.raises(convsweep.ConfigError, match=r"is running already, in process \d+ on .*join=True"):
            launch(False)
        assert [len(each.result().results) for each in (first, second)] == [4, 4]
    assert sorted(trained(root, "wide").values()) == [1] * 4
    assert tracked(root, "wide")[1].info.status == "FINISHED"
