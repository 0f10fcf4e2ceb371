"""Real worker processes, and what becomes of their jobs."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config.compose import compose
from pipeline.config.schema import RunConfig
from pipeline.models.layers import layers
from pipeline.system.hardware import cores
from pipeline.tracking.tracker import Tracker
from pipeline.training.cost import suitable_threads
from sweeps.backends.base import Done, Failed, Job, LogModel, Resources
from sweeps.backends.local import LocalBackend, local_resources
from sweeps.config.multirun import compose_multirun
from sweeps.config.study import compose_study
from sweeps.sweep import Trial
from tests.conftest import SMALL
from tests.helpers.jobs import follow, run_of
from tests.helpers.training import trained

Compose = Callable[..., RunConfig]


@pytest.mark.slow
def test_a_worker_gives_what_a_run_in_this_process_gives(config: Compose) -> None:
    with LocalBackend(Resources(1, 1), 8.0) as backend:
        message = follow(backend, [Job("one", run_of(config()))])["one"]
    assert isinstance(message, Done)
    assert message.result.history["train/loss"] == pytest.approx(trained(config()).history["train/loss"], rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("max_memory", "processes"), [(0.01, 3), (8.0, 1)])
def test_workers_are_replaced_when_they_grow(config: Compose, max_memory: float, processes: int) -> None:
    with LocalBackend(Resources(1, 1), max_memory) as backend:
        pids = set()
        for seed in range(3):
            pids.add(backend.workers[0].process.pid)
            assert isinstance(
                follow(backend, [Job(f"{seed}", run_of(config(f"seed={seed}", "trainer.epochs=1")))])[f"{seed}"], Done
            )
    assert len(pids) == processes


@pytest.mark.slow
def test_workers_have_cores_of_their_own_where_they_fill_the_machine(config: Compose) -> None:
    whole = os.sched_getaffinity(0)

    def affinities(backend: LocalBackend) -> list[set[int]]:
        return [threads_of(worker.process.pid or 0) for worker in backend.workers]

    def threads_of(pid: int) -> set[int]:
        each = [os.sched_getaffinity(int(task.name)) for task in Path(f"/proc/{pid}/task").iterdir()]
        assert all(cores == each[0] for cores in each), "its threads share the same cores"
        return each[0]

    with LocalBackend(Resources(len(whole), 1), 0.01) as backend:
        follow(backend, [Job(f"{n}", run_of(config(f"seed={n}", "trainer.epochs=1"))) for n in range(len(whole))])
        assert sorted(affinities(backend)) == [{core} for core in sorted(whole)]
    with LocalBackend(Resources(len(whole) + 1, 1), 8.0) as backend:
        assert affinities(backend) == [whole] * (len(whole) + 1)


@pytest.mark.slow
def test_a_worker_logs_a_model(config: Compose, root: Path) -> None:
    settings = config("store.log_model=best")
    run = run_of(settings)
    tracker = Tracker(settings.store)
    run_id = tracker.open_run(run, "train", "one", {}, [])
    with LocalBackend(Resources(1, 1), 8.0) as backend:
        trained = follow(backend, [Job("one", run, run.checkpoints)])["one"]
        assert isinstance(trained, Done)
        tracker.finish_run(run_id, trained.result, "one")
        kept = follow(backend, [LogModel(settings, tracker.get(run_id))])[run_id]
        assert isinstance(kept, Done), kept
        assert tracker.models.has(run_id)
        elsewhere = replace(settings, store=replace(settings.store, tracking_uri="sqlite:////proc/nothing/mlflow.db"))
        lost = follow(backend, [LogModel(elsewhere, tracker.get(run_id))])[run_id]
        assert isinstance(lost, Failed), "it fails alone"
        run.checkpoints.path(2).write_bytes(b"damaged")
        without = follow(backend, [LogModel(settings, tracker.get(run_id))])[run_id]
        assert isinstance(without, Done), "it is trained again"
        other = replace(settings, checkpoints=replace(settings.checkpoints, max_gib=0.0))
        without = follow(backend, [LogModel(other, tracker.get(run_id))])[run_id]
        assert isinstance(without, Done), "its model is logged now"
        assert isinstance(follow(backend, [Job("two", run_of(config("seed=1")))])["two"], Done)


@pytest.mark.parametrize(
    ("overrides", "runs", "workers"),
    [
        ([], 100, cores()),
        ([], 1, 1),
        (["workers=1"], 100, 1),
        (["workers=3"], 2, 2),
        ([], 0, 1),
        ([], None, cores()),
        (["workers=9"], None, 9),
        ([f"trainer.threads={cores()}"], 100, 1),
        ([f"trainer.threads={cores()}"], None, 1),
    ],
)
def test_there_is_a_worker_per_core_but_none_without_a_run(
    overrides: list[str], runs: int | None, workers: int
) -> None:
    sweep = compose_study("smoke", overrides)
    trials = [Trial(f"{n}", (), {}, replace(sweep.config, seed=n)) for n in range(runs or 0)]
    assert local_resources(replace(sweep, trials=None if runs is None else trials)).workers == workers


def test_runs_that_continue_one_another_share_a_worker_with_more_threads() -> None:
    told = ["model.filters=64", "trainer.stop_at_accuracy=0.9,0.99", "trainer.epochs=1,2,4"]
    alone = local_resources(compose_multirun(told, {"seeds": [0]}))
    assert (alone.workers, alone.threads) == (1, min(2, cores()))
    assert local_resources(compose_multirun(told, {"seeds": [0, 1]})).workers == min(2, cores())


@pytest.mark.parametrize(
    ("overrides", "most", "wanted"),
    [
        (["model.filters=16"], 8, 1),  # 5e7 multiplications per step: more threads are slower
        (["model.filters=32"], 8, 1),
        (["model.filters=64"], 8, 2),
        (["model.filters=64"], 1, 1),
        (["model.filters=64", "trainer.batch_size=320"], 8, 8),
        (["model.filters=16", "trainer.threads=3"], 8, 3),
    ],
)
def test_threads_are_as_many_as_a_step_keeps_busy(overrides: list[str], most: int, wanted: int) -> None:
    config = compose(RunConfig, "train", overrides)
    assert suitable_threads(config.trainer, layers(config.model, config.data), most) == wanted


# Without `if __name__ == "__main__"`: importing it again would start workers without end.
SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
from pipeline.config.compose import compose
from pipeline.config.schema import RunConfig
from pipeline.training.identity import resolve
from sweeps.backends.base import Done, Epoch, Job, Resources
from sweeps.backends.local import LocalBackend

print("started")
config = compose(RunConfig, "train", {overrides!r})
with LocalBackend(Resources(1, 1), 8.0) as backend:
    backend.start(Job("one", resolve(config, "data", threads=1)))
    while backend.workers[0].job:
        for key, message in backend.messages(timeout=1.0):
            if isinstance(message, Epoch):
                backend.answer(key, True)
    print("ended", message.result.epochs)
"""


@pytest.mark.slow
@pytest.mark.parametrize("given", ["file", "-c", "-"])
def test_a_script_needs_no_guard(given: str, tmp_path: Path) -> None:
    code = SCRIPT.format(folder=str(tmp_path), overrides=[*SMALL, "trainer.epochs=1"])
    (tmp_path / "script.py").write_text(code)
    words = {"file": [str(tmp_path / "script.py")], "-c": ["-c", code], "-": ["-"]}[given]
    done = subprocess.run([sys.executable, *words], input=code, capture_output=True, text=True, timeout=120)
    assert (done.stdout.split("\n")[:2], done.stderr) == (["started", "ended 1"], "")


@pytest.mark.slow
def test_a_worker_has_the_parents_path_and_functions(
    config: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    job = Job("one", run_of(config("trainer.epochs=1")))
    for module, kind in (("only_here", Done), ("nowhere", Failed)):
        monkeypatch.setattr("sweeps.backends.local.shipped", lambda module=module: Import(module).pickled())
        with LocalBackend(Resources(1, 1), 8.0) as backend:
            ended = follow(backend, [job])["one"]
        assert isinstance(ended, kind)
        assert isinstance(ended, Done) or "cannot be unpickled: ModuleNotFoundError" in ended.reason


class Import:
    """What imports a module where it is unpickled, and registers nothing."""

    def __init__(self, module: str) -> None:
        self.module = module

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return eval, (f"dict(a=__import__({self.module!r})) and {{}}",)

    def pickled(self) -> bytes:
        return pickle.dumps(self)
