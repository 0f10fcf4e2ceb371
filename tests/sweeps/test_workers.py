"""Real worker processes, and what becomes of their jobs."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.checkpoints import Chain
from pipeline.config import RunConfig
from sweeps.workers import Done, Epoch, Failed, Job, LocalPool, Message, Pool, Shape

Compose = Callable[..., RunConfig]


def follow(
    pool: Pool, jobs: list[Job], on_epoch: Callable[[str, Epoch], bool] = lambda key, told: True
) -> dict[str, Message]:
    """Run all jobs; the last message of each."""
    waiting, ended = list(jobs), {}
    while len(ended) < len(jobs):
        while waiting and pool.idle:
            pool.start(waiting.pop(0))
        for key, message in pool.messages(timeout=1.0):
            if isinstance(message, Epoch):
                pool.answer(key, on_epoch(key, message))
            elif isinstance(message, Done | Failed):
                ended[key] = message
    return ended


def test_workers_train_fail_stop_and_die_alone(config: Compose, tmp_path: Path) -> None:
    jobs = [
        Job("good", config(), Chain(tmp_path / "chain")),
        Job("wild", config("optimizer=sgd", "optimizer.learning_rate=1e20", "trainer.precision=float32")),
        Job("stopped", config("trainer.epochs=50")),
        Job("killed", config("trainer.epochs=50", "seed=5")),
        Job("no folder", config(), Chain(Path("/proc/nothing"))),
        Job("after", config("seed=1")),
    ]

    def on_epoch(key: str, told: Epoch) -> bool:
        if key == "killed" and told.epoch == 2:
            worker = next(w for w in pool.workers if w.job and w.job.key == "killed")
            os.kill(worker.process.pid or 0, signal.SIGKILL)
        return not (key == "stopped" and told.epoch == 2)

    with LocalPool(Shape(2, 1), 100, 8.0) as pool:
        processes = [worker.process for worker in pool.workers]
        ended = follow(pool, jobs, on_epoch)
        processes += [worker.process for worker in pool.workers]
    assert isinstance(ended["good"], Done)
    assert Chain(tmp_path / "chain").epochs() == [2]
    assert isinstance(ended["wild"], Failed)
    assert "not finite" in ended["wild"].reason
    assert isinstance(ended["stopped"], Done)
    assert (ended["stopped"].result.epochs, ended["stopped"].result.stopped) == (2, "asked")
    assert isinstance(ended["killed"], Failed)
    assert "signal SIGKILL" in ended["killed"].reason
    assert ended["killed"].died
    assert isinstance(ended["no folder"], Failed)
    assert "Traceback" in ended["no folder"].details
    assert isinstance(ended["after"], Done)
    assert not any(process.is_alive() for process in processes)


def test_a_worker_gives_what_a_run_in_this_process_gives(config: Compose) -> None:
    from pipeline.train import train

    with LocalPool(Shape(1, 1), 100, 8.0) as pool:
        message = follow(pool, [Job("one", config())])["one"]
    assert isinstance(message, Done)
    assert message.result.history["train/loss"] == pytest.approx(train(config()).history["train/loss"], rel=1e-3)


@pytest.mark.parametrize(
    ("max_runs", "max_memory", "processes"), [(1, 8.0, 3), (2, 8.0, 2), (100, 0.01, 3), (100, 8.0, 1)]
)
def test_workers_are_replaced_after_some_runs_or_when_they_grow(
    config: Compose, max_runs: int, max_memory: float, processes: int
) -> None:
    with LocalPool(Shape(1, 1), max_runs, max_memory) as pool:
        pids = set()
        for seed in range(3):
            pids.add(pool.workers[0].process.pid)
            assert isinstance(
                follow(pool, [Job(f"{seed}", config(f"seed={seed}", "trainer.epochs=1"))])[f"{seed}"], Done
            )
    assert len(pids) == processes


def test_workers_have_cores_of_their_own() -> None:
    from sweeps.workers import _share_of_cores

    cores = len(os.sched_getaffinity(0))
    shares = [_share_of_cores(number, 1) for number in range(cores)]
    assert set().union(*shares) == os.sched_getaffinity(0)
    assert sum(map(len, shares)) == cores
    assert _share_of_cores(cores, 1) == set()
