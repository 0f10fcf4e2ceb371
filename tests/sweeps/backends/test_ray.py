"""Ray started here, quietly and for this machine alone; clusters, workers and values that are refused."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import cloudpickle
import psutil
import pytest

from pipeline.config.checks import ConfigError
from pipeline.config.compose import compose
from pipeline.config.schema import RunConfig
from pipeline.tracking.reader import TrackedRun
from sweeps.backends.base import BackendError, Done, Job, LogModel, Message, Resources
from sweeps.backends.choose import choose_backend
from sweeps.backends.ray.backend import RayBackend
from sweeps.backends.ray.connection import connected
from sweeps.backends.ray.shipping import without_addresses
from sweeps.backends.ray.worker import Hello
from sweeps.cli.main import main
from sweeps.config.multirun import compose_multirun
from sweeps.sweep import Sweep
from tests.conftest import SMALL
from tests.helpers.jobs import follow, run_of
from tests.helpers.ray_cluster import Nodes

GRID = [*SMALL, "model.filters=4,8", "store.log_model=none"]


def sweep_on(nodes: Nodes, *overrides: str) -> Sweep:
    return compose_multirun([*GRID, "backend=ray", f"backend.address={nodes.address}", *overrides], {})


@pytest.mark.slow
def test_ray_started_here_is_quiet_local_and_leaves_nothing(root: Path) -> None:
    folders = set(Path(tempfile.gettempdir()).glob("convsweep-*"))
    words = [sys.executable, "-m", "sweeps.cli.main", "train", "-m", *GRID, "backend=ray", "-v", "backend.workers=1"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    environment |= {"HOME": str(root.parent)}
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout
        lines = [next(line for line in process.stdout if "epoch" in line)]
        family = psutil.Process(process.pid).children(recursive=True)
        addresses = {
            each.laddr.ip for member in family for each in member.net_connections() if each.status == psutil.CONN_LISTEN
        }
        told, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    assert addresses
    assert addresses <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    assert errors == ""
    assert not re.search(r"raylet|ray::|Ray ", "".join(lines) + told)
    assert psutil.wait_procs(family, timeout=20)[1] == []
    assert set(Path(tempfile.gettempdir()).glob("convsweep-*")) <= folders
    assert not (root.parent / ".ray").exists()


@pytest.mark.parametrize("is_here", [True, False])
def test_a_model_is_logged_by_a_worker_only_where_workers_are_here(
    is_here: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that has trained has imported TensorFlow; but stores' addresses are for no other machine."""
    backend = RayBackend(compose_multirun([*GRID, "backend=ray"], {}), print)
    backend.is_here, logged = is_here, []
    monkeypatch.setattr(backend, "_hand_out", lambda: None)
    monkeypatch.setattr(backend.models, "start", logged.append)
    job = LogModel(backend.sweep.config, TrackedRun.__new__(TrackedRun))
    backend.start(job)
    assert (list(backend.waiting), logged) == (([job], []) if is_here else ([], [job]))


def test_workers_wait_for_an_answer_longer_than_the_store_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.put", lambda content: content)
    backend = RayBackend(compose_multirun([*GRID, "backend=ray", "store.retry_seconds=5000"], {}), print)
    backend.shared = Resources(1, 1)
    *_, settings = backend._arguments(None)
    assert settings["answer_seconds"] > 5000


def test_no_address_of_a_store_is_sent_to_workers() -> None:
    store = ["store.tracking_uri=http://me:secret@mlflow", "store.optuna_url=postgresql://me:secret@db/optuna"]
    job = Job("a", run_of(compose(RunConfig, "train", [*SMALL, *store])))
    assert b"secret" in cloudpickle.dumps(job)
    sent = without_addresses(job)
    assert b"secret" not in cloudpickle.dumps(sent)
    assert sent.run.signature == job.run.signature


def test_a_program_is_asked_before_its_connection_is_changed(nodes: Nodes) -> None:
    import ray

    ray.init(nodes.address, log_to_driver=False)
    try:
        with pytest.raises(ConfigError, match=r"backend.address=127.0.0.1:1: this program is connected to the cluster"):
            connected("127.0.0.1:1").__enter__()
        with connected(nodes.address) as folder:
            assert folder is None
        assert ray.is_initialized()
    finally:
        ray.shutdown()


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["backend=ray", "backend.address=127.0.0.1:1"], "no cluster answers at 127.0.0.1:1: Connection refused"),
        (["backend=ray", "backend.address=ray://127.0.0.1:1"], "no cluster answers at 127.0.0.1:1"),
        (["backend=ray", "backend.address=head"], "must be auto, HOST:PORT"),
        (["backend=ray", "backend.gpus=1.5"], "a part of one as in 0.5, or a whole number"),
        (["backend=ray", "backend.cpus=0"], "a number of cores above 0"),
        (["backend=ray", "backend.resources={CPU:1}"], "by a name other than CPU"),
        (["backend=ray", "backend.workers=2", "hydra.sweeper.workers=3"], "the same as workers=3"),
        (["backend=rya"], "did you mean ray?"),
        (["backend.gpus=1"], "choose backend=ray"),
        (["backend.address=auto"], "choose backend=ray"),
        (["backend=ray", "backend.wrokers=1"], "did you mean backend.workers?"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    empty: Path, overrides: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "-m", *GRID, *overrides]) == 2
    assert told in capsys.readouterr().err
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            "Version mismatch: The cluster was started with:\n    Ray: 2.59.0\n    Python: 3.12.1\n"
            "This process on 127.0.0.1:6379 was started with:\n    Ray: 2.60.0\n    Python: 3.11.7\n",
            "the cluster has Ray 2.59.0 and Python 3.12.1, this machine Ray ",
        ),
        ("Failed to connect to GCS. Traceback:\n  in connect\nInvalidAuthToken", "the password given here is not the"),
        (
            "Failed to connect. Traceback:\n  in connect\nRpcError: timed out\n",
            "cannot be used: RpcError: timed out; HOST",
        ),
    ],
)
def test_what_ray_refuses_is_told_in_one_line(
    empty: Path, error: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*words: object, **given: object) -> None:
        raise RuntimeError(error)

    monkeypatch.setattr("ray.init", refuse)
    monkeypatch.setattr("sweeps.backends.ray.connection._require_reachable", lambda address: None)
    assert main(["train", "-m", *GRID, "backend=ray", "backend.address=head:6379"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("convsweep: backend.address=head:6379")
    assert told in line
    assert list(empty.iterdir()) == []


def test_without_ray_the_extra_is_named(
    empty: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sweeps.backends.ray.connection.find_spec", lambda name: None)
    assert main(["train", "-m", *GRID, "backend=ray"]) == 2
    assert "in convsweep's checkout, pip install '.[ray]'" in capsys.readouterr().err
    assert list(empty.iterdir()) == []


def test_one_run_has_no_backend(empty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "backend=ray"]) == 2
    assert "convsweep train -m seed=0,1 backend=ray" in capsys.readouterr().err


def test_a_backend_is_no_part_of_what_a_sweep_is() -> None:
    here = compose_multirun(GRID, {})
    there = compose_multirun([*GRID, "backend=ray", "backend.cpus=2", "backend.workers=3"], {})
    assert (here.name, here.identity, here.launched) == (there.name, there.identity, there.launched)
    assert there.config.most_workers == 3
    assert here.description == there.description


@pytest.mark.slow
def test_what_no_node_has_is_told_at_once(nodes: Nodes, node: object) -> None:
    for asked, told in (("gpus=1", "GPU 1"), ("cpus=64", "CPU 64"), ("resources={big_memory:1}", "big_memory 1")):
        with pytest.raises(ConfigError, match=rf"what a worker needs, .*{told}.*There are: .*CPU 2"):
            choose_backend(sweep_on(nodes, f"backend.{asked}"), print).__enter__()


@pytest.mark.slow
def test_a_worker_with_other_libraries_is_refused_by_its_host(
    nodes: Nodes, node: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr("sweeps.backends.ray.fitness.versions", lambda: {"keras": "2.0"})
    with (
        choose_backend(sweep_on(nodes, "backend.workers=1"), told.append) as backend,
        pytest.raises(BackendError, match=f"every worker is refused: {os.uname().nodename}: keras .* there, 2.0 here"),
    ):
        assert backend.resources
    assert told[0].startswith(f"ray: {nodes.address}, ")
    assert [line for line in told if line.startswith(f"workers on {os.uname().nodename} are refused")]


@pytest.mark.slow
def test_auto_is_what_all_first_workers_compute_and_others_are_refused(
    nodes: Nodes, node: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster of different processors cannot be had here: what two workers say of themselves is changed."""
    from sweeps.backends.ray.crew import Crew

    native, told = iter(["mixed_bfloat16", "float32", "float32"]), list[str]()
    welcome = Crew.welcome

    def changed(crew: Crew, worker: object, hello: Hello) -> None:
        welcome(crew, worker, Hello(**(vars(hello) | {"precision": next(native)})))  # type: ignore[arg-type]

    monkeypatch.setattr(Crew, "welcome", changed)
    with choose_backend(sweep_on(nodes, "backend.workers=2"), told.append) as backend:
        assert backend.resources.precision == "float32"
        assert backend.idle == 2
        backend.crew.fitness.precision = "mixed_bfloat16"  # type: ignore[attr-defined] as if the first had all had it
        backend.crew.dismiss(backend.crew.workers[0])  # type: ignore[attr-defined]
        while not any("does not compute in bfloat16" in line for line in told):
            list(backend.messages(0.2))


@pytest.mark.slow
def test_code_of_ones_own_travels_to_workers(
    nodes: Nodes, node: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A builder that no node has; its module imports another of the project."""
    (tmp_path / "parts.py").write_text("WIDTH = 5\n")
    (tmp_path / "own_nets.py").write_text(
        "from parts import WIDTH\n\ndef net(input_shape, outputs):\n    from keras import Sequential, layers\n\n"
        "    return Sequential([layers.Flatten(), layers.Dense(WIDTH), layers.Dense(outputs)])\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    words = ["data=digits", "model=builder", "model.builder=own_nets:net", "trainer.threads=1", "trainer.epochs=1,2"]
    sweep = compose_multirun([*words, "backend=ray", f"backend.address={nodes.address}", "backend.workers=1"], {})
    run, backend = run_of(sweep.examples()[0]), choose_backend(sweep, print)
    with backend:
        for name in ("parts.py", "own_nets.py"):  # as on a machine that never had them
            (tmp_path / name).unlink()
        ended = follow(backend, [Job("one", run)])["one"]
        with pytest.raises(BackendError, match=r"every worker is refused: .*: model.builder=own_nets:net: its code is"):
            follow(backend, [Job("other", replace(run, code_sha256="other"))])
    assert isinstance(ended, Done), ended


@pytest.mark.slow
def test_nodes_whose_workers_cannot_do_the_job_are_refused_and_another_does_it(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On one TensorFlow cannot be imported, on another the builder's library is another; the third is in order."""
    good, broken, other = (tmp_path / name / "site-packages" for name in ("good", "broken", "other"))
    for folder in (good, broken, other):
        folder.mkdir(parents=True)
    (good / "installed_nets.py").write_text(
        "def net(input_shape, outputs):\n    from keras import Sequential, layers\n\n"
        "    return Sequential([layers.Flatten(), layers.Dense(outputs)])\n"
    )
    (broken / "tensorflow.py").write_text("raise ImportError('no TensorFlow for this processor')")
    (other / "installed_nets.py").write_text("WIDTH = 7")
    monkeypatch.syspath_prepend(good)
    words = ["data=digits", "model=builder", "model.builder=installed_nets:net", "trainer.threads=1", "seed=0,1,2"]
    words += ["trainer.epochs=1", "backend=ray", f"backend.address={nodes.address}", "backend.workers=3"]
    sweep, told, ended = compose_multirun(words, {}), list[str](), dict[str, Message]()
    joined = [nodes.add(cpus=1, env_vars={"PYTHONPATH": str(each)}) for each in (broken, other)] + [nodes.add(cpus=1)]
    try:
        with choose_backend(sweep, told.append) as backend:
            while (
                sum("are refused" in line for line in told) < 2
            ):  # a worker is found out by its first job; one may start last
                jobs = [Job(f"{len(ended) + number}", run_of(sweep.examples()[0])) for number in range(3)]
                ended |= follow(backend, jobs)
    finally:
        for node in joined:
            nodes.remove(node)
    assert {type(each) for each in ended.values()} == {Done}
    for why in ("could not start: .*no TensorFlow for", "its code is another there"):
        assert [line for line in told if re.search(f"workers on {os.uname().nodename} are refused: .*{why}", line)]
