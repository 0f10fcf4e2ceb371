"""What the engine relies on, of every backend: real workers, and what becomes of their jobs."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from pipeline.config.schema import RunConfig
from pipeline.system import hardware
from pipeline.training.checkpoints import CheckpointStore
from sweeps.backends.base import Backend, Done, Epoch, Failed, Inspect, Job
from sweeps.backends.choose import choose_backend
from sweeps.config.multirun import compose_multirun
from tests.conftest import SMALL
from tests.helpers.jobs import follow, run_of

Compose = Callable[..., RunConfig]
Open = Callable[[], Backend]
pytestmark = pytest.mark.slow


@pytest.fixture(params=["local", "ray"])
def start(request: pytest.FixtureRequest) -> Open:
    words = [*SMALL, "backend.workers=2", f"backend={request.param}", "model.filters=4,8"]
    if request.param == "ray":
        request.getfixturevalue("node")
        words.append(f"backend.address={request.getfixturevalue('nodes').address}")
    return lambda: choose_backend(compose_multirun(words, {}), print)


def processes_of(backend: Backend) -> dict[str, int]:
    """The process of every job that is being trained."""
    if hasattr(backend, "crew"):
        return {worker.job.key: worker.hello.process for worker in backend.crew.workers if worker.job}
    return {worker.job.key: worker.process.pid for worker in backend.workers if worker.job}  # type: ignore[attr-defined]


def test_workers_train_fail_stop_and_die_alone(config: Compose, tmp_path: Path, start: Open) -> None:
    jobs = [
        Job("good", run_of(config()), CheckpointStore(tmp_path / "chain")),
        Job("wild", run_of(config("optimizer=sgd", "optimizer.learning_rate=1e15", "trainer.precision=float32"))),
        Job("stopped", run_of(config("trainer.epochs=50"))),
        Job("killed", run_of(config("trainer.epochs=50", "seed=5"))),
        Job("no folder", run_of(config()), CheckpointStore(Path("/proc/nothing"))),
        Job("after", run_of(config("seed=1"))),
    ]
    processes = set[int]()

    def on_epoch(key: str, told: Epoch) -> bool:
        processes.update(processes_of(backend).values())
        if key == "killed" and told.epoch == 2:
            os.kill(processes_of(backend)["killed"], signal.SIGKILL)
        return not (key == "stopped" and told.epoch == 2)

    with start() as backend:
        assert backend.resources.threads == 1
        assert backend.idle == 2
        ended = follow(backend, jobs, on_epoch)
    assert isinstance(ended["good"], Done)
    assert ended["good"].processor == hardware.processor()
    assert CheckpointStore(tmp_path / "chain").epochs() == [2]
    assert isinstance(ended["wild"], Failed)
    assert "not finite" in ended["wild"].reason
    assert isinstance(ended["stopped"], Done)
    assert (ended["stopped"].result.epochs, ended["stopped"].result.stopped) == (2, "asked")
    assert isinstance(ended["killed"], Failed)
    assert "worker process died" in ended["killed"].reason
    assert ended["killed"].died
    assert not ended["killed"].uncounted
    assert isinstance(ended["no folder"], Failed)
    assert "Traceback" in ended["no folder"].details
    assert isinstance(ended["after"], Done)
    assert len(processes) >= 2
    _, alive = psutil.wait_procs([psutil.Process(each) for each in processes if psutil.pid_exists(each)], timeout=50)
    assert alive == []


def test_a_run_goes_on_from_its_checkpoint_bit_for_bit(config: Compose, tmp_path: Path, start: Open) -> None:
    """Trained in two pieces by the backend, and in one by this machine's worker: equal to the last bit."""
    told: list[int] = []

    def on_epoch(key: str, epoch: Epoch) -> bool:
        told.append(epoch.epoch)
        return True

    stores = {name: CheckpointStore(tmp_path / name) for name in ("pieces", "once")}
    with start() as backend:
        for epochs in (2, 4):
            job = Job(f"{epochs}", run_of(config(f"trainer.epochs={epochs}")), stores["pieces"])
            pieces = follow(backend, [job], on_epoch)[f"{epochs}"]
        inspected = follow(backend, [Inspect("one", run_of(config()), timed=False)])["one"]
    words = [*SMALL, "backend.workers=1", "model.filters=4,8"]
    with choose_backend(compose_multirun(words, {}), print) as local:
        once = follow(local, [Job("once", run_of(config("trainer.epochs=4")), stores["once"])])["once"]
    assert told == [1, 2, 1, 2, 3, 4], "the second job replays the first one's epochs"
    assert isinstance(pieces, Done)
    assert isinstance(once, Done)
    assert pieces.result.history == once.result.history
    assert stores["pieces"].epochs() == [2, 4]
    mine, theirs = (store.latest(4) for store in stores.values())
    assert mine is not None
    assert theirs is not None
    assert len(mine.arrays) > 5
    assert all(np.array_equal(a, b) for a, b in zip(mine.arrays, theirs.arrays, strict=True))
    assert isinstance(inspected, Done)
    assert inspected.inspection is not None
