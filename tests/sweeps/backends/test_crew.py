"""Which workers are hired, welcomed and refused, and what becomes of their code; without Ray."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config.schema import RunConfig
from pipeline.training.identity import versions
from sweeps.backends.base import BackendError, Epoch, Job
from sweeps.backends.ray import bootstrap
from sweeps.backends.ray.cluster import Node
from sweeps.backends.ray.crew import Crew, Worker, size_of
from sweeps.backends.ray.fitness import Fitness
from sweeps.backends.ray.worker import Hello, Queues, Unfit
from sweeps.backends.ray.worker import Worker as Remote
from sweeps.backends.sharing import leaves_precision_open
from sweeps.config.multirun import compose_multirun
from tests.conftest import SMALL
from tests.helpers.jobs import run_of

NODES = [Node("a", "alpha", {"CPU": 1}), Node("b", "beta", {"CPU": 1})]


def hello(node: str, **given: object) -> Hello:
    told = Hello({"a": "alpha", "b": "beta"}[node], node, 1, "a processor", 1, "mixed_bfloat16", versions())
    return replace(told, **given)  # type: ignore[arg-type]


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def crew(monkeypatch: pytest.MonkeyPatch, told: list[str]) -> Crew:
    """A crew on two nodes, whose workers are nothing."""
    monkeypatch.setattr("sweeps.backends.ray.crew.living_nodes", lambda: NODES)
    monkeypatch.setattr(Crew, "dismiss", lambda crew, worker: crew.workers.remove(worker))
    monkeypatch.setattr(Crew, "_hire", lambda crew: crew.workers.append(Worker(None, None, None)))
    monkeypatch.setattr("sweeps.backends.ray.crew.count_placed", lambda workers: 0)
    return Crew([], {"CPU": 1}, 2, 2, 60.0, told.append, Fitness(1, told.append))


def hire(crew: Crew) -> None:
    crew.looked = -100.0
    crew.look_after()


def begin(crew: Crew, node: str) -> Worker:
    """A worker says hello, and takes its first job."""
    hire(crew)
    works = crew.workers[0]
    crew.welcome(works, hello(node))
    crew.begun(works)
    return works


def fail_start(crew: Crew, node: str) -> None:
    """A worker says hello, and is gone when it is handed its first job."""
    hire(crew)
    worker = next(worker for worker in crew.workers if worker.hello is None)
    crew.welcome(worker, hello(node))
    crew.miss(worker, RuntimeError("Illegal instruction"))


def test_a_node_on_which_none_can_start_is_refused_while_others_work(crew: Crew, told: list[str]) -> None:
    works = begin(crew, "b")
    for _ in range(2):
        fail_start(crew, "a")
    assert told == []
    fail_start(crew, "a")
    assert told == ["workers on alpha are refused: 3 workers in a row could not start: Illegal instruction"]
    assert crew.room == 1
    hire(crew)
    assert works in crew.workers, "the sweep goes on"
    for _ in range(3):
        fail_start(crew, "b")
    crew.dismiss(works)
    with pytest.raises(BackendError, match=r"every worker is refused: alpha: 3 workers .*; beta: 3 workers"):
        hire(crew)


def test_only_failures_in_a_row_count(crew: Crew, told: list[str]) -> None:
    for _ in range(2):
        fail_start(crew, "a")
    begin(crew, "a")
    for _ in range(2):
        fail_start(crew, "a")
    assert told == []


def test_workers_that_die_unseen_end_the_sweep_only_where_there_is_no_other(crew: Crew) -> None:
    hire(crew)
    works, *_ = crew.workers
    crew.welcome(works, hello("b"))
    for _ in range(4):
        hire(crew)
        crew.miss(crew.workers[-1], RuntimeError("killed"))
    crew.dismiss(works)
    hire(crew)
    with pytest.raises(BackendError, match="3 workers in a row could not start: killed"):
        crew.miss(crew.workers[-1], RuntimeError("killed"))


@pytest.mark.parametrize(
    ("wanted", "told_of"),
    [
        (2, "2 asked for, none placed, none ready; 2 nodes with room for 2"),
        (5, "5 asked for, none placed, none ready; 2 nodes with room for 2"),
        (None, "2 asked for, none placed, none ready; 2 nodes with room for 2"),
    ],
)
def test_a_launch_without_a_worker_says_once_what_it_waits_for(
    crew: Crew, told: list[str], wanted: int | None, told_of: str
) -> None:
    crew.wanted, crew.most, crew.start_timeout = wanted, 9, 1e9
    hire(crew)
    assert told == []
    crew.alone_since -= 1e6
    for _ in range(2):
        hire(crew)
    assert told == [f"waiting for workers on the cluster: {told_of}"]
    crew.welcome(crew.workers[0], hello("a"))
    hire(crew)
    assert len(told) == 1


@pytest.mark.parametrize(
    ("wanted", "most", "workers"), [(None, 9, "2 workers"), (5, 9, "2 workers"), (2, 1, "1 worker")]
)
def test_the_size_of_a_cluster_is_what_a_launch_can_use(
    crew: Crew, wanted: int | None, most: int, workers: str
) -> None:
    crew.wanted, crew.most = wanted, most
    hire(crew)
    assert size_of(crew, 4) == f"2 nodes, up to {workers} with 4 threads each"


@pytest.mark.parametrize(
    ("placed", "why"), [(0, "none found a place, as others use the cluster"), (1, "1 worker found a place, but none")]
)
def test_a_launch_that_gives_up_says_whether_there_was_no_room(
    crew: Crew, placed: int, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.backends.ray.crew.count_placed", lambda workers: placed)
    hire(crew)
    crew.alone_since -= 1e6
    with pytest.raises(BackendError, match=f"no worker for backend.start_timeout=60 seconds: {why}"):
        hire(crew)


@pytest.mark.parametrize(("precision", "refused"), [("mixed_bfloat16", True), ("float32", False), (None, False)])
def test_a_late_worker_is_refused_only_where_it_would_compute_otherwise(
    crew: Crew, told: list[str], precision: str | None, refused: bool
) -> None:
    crew.fitness.precision = precision
    hire(crew)
    crew.welcome(crew.workers[0], hello("a", precision="float32"))
    assert [line for line in told if "does not compute in bfloat16" in line] == told
    assert bool(told) == refused


@pytest.mark.parametrize(
    ("overrides", "is_open"),
    [
        ([], True),
        (["trainer.precision=float32"], False),
        (["trainer.precision=mixed_bfloat16,float32"], False),
        (["trainer.precision=auto,float32"], True),
    ],
)
def test_workers_decide_the_precision_only_where_it_is_auto(overrides: list[str], is_open: bool) -> None:
    assert leaves_precision_open(compose_multirun([*SMALL, "model.filters=4,8", *overrides], {})) == is_open


def test_a_node_with_fewer_cores_than_threads_is_named_once(crew: Crew, told: list[str]) -> None:
    crew.fitness.threads = 4
    hire(crew)
    for worker in list(crew.workers):
        crew.welcome(worker, hello("a", cores=2))
    assert told == ["alpha has fewer cores (2) than a worker has threads (4)"]
    assert len(crew.started) == 2


def test_a_worker_with_other_code_says_so_instead_of_failing_the_run(config: Callable[..., RunConfig]) -> None:
    remote = Remote.__new__(Remote)  # whose thread would import TensorFlow
    remote.channel, remote.checked, remote.datasets = Queues(60.0), set(), {}
    run = run_of(config())
    for builder in ("tests.conftest:need", "no_such_module:net"):
        run.config.model.builder = builder
        job = Job("one", replace(run, code_sha256="other"))
        remote.begin(pickle.dumps(job), None, "", None)
        (said,) = remote.channel.said()
        assert isinstance(said, Unfit)
        assert f"model.builder={builder}" in said.why
    assert remote.channel.inbox.empty()


def test_a_worker_without_an_answer_ends_itself() -> None:
    code = f"from sweeps.backends.ray.worker import Queues\nfrom {Epoch.__module__} import Epoch\n"
    code += "queues = Queues(0.01)\nqueues.send(Epoch(1, {}))\nqueues.recv()\nprint('went on')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


def start(folder: Path | None, digest: str) -> bootstrap.Bootstrap:
    """A worker that gets no further than unpacking."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("some.py", "SOME = 1\n")
    return bootstrap.Bootstrap(buffer.getvalue(), digest, str(folder) if folder else None, [], {"unknown": 1})


def test_code_that_no_worker_has_used_for_a_week_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = tmp_path / f"convsweep-{os.getuid()}"
    folder.mkdir(mode=0o700)
    for name, days in {"new": 6, "old": 8, "tmp_half": 8, "used": 8}.items():
        (folder / name).mkdir()
        (folder / name / "some.py").write_text("")
        then = time.time() - days * 24 * 3600
        os.utime(folder / name, (then, then))
    start(folder, "used")
    assert len(list(folder.iterdir())) == 4, "a folder that was given may be Ray's"
    os.utime(folder / "used", (0, 0))
    used = start(None, "used")
    assert used.folder == folder / "used"
    assert {each.name for each in folder.iterdir()} == {"new", "used"}
    assert (folder / "used" / "some.py").read_text() == "", "what is there is not unpacked again"
    assert "TypeError" in used.trouble
    fresh = start(None, "fresh")
    assert (fresh.folder / "some.py").read_text() == "SOME = 1\n"
    assert {each.name for each in folder.iterdir()} == {"new", "used", "fresh"}
