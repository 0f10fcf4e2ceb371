"""Ray workers, nodes and launches killed by real signals; afterwards all agrees, and nothing is lost or repeated."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from sweeps.cli.main import main
from tests.helpers.ray_cluster import Nodes
from tests.helpers.worker_threads import use_threads
from tests.sweeps.config.test_ablation import tracked

pytestmark = pytest.mark.slow
NAME = "faults"
RUNS = 4
EPOCHS = 12
SWEEP = ["train", "-m", "--verbose", "data=digits", "model.padding=same", "model.filters=4,8", "seed=0,1"]
SWEEP += [f"trainer.epochs={EPOCHS}", "trainer.threads=1", "store.log_model=none", f"hydra.sweeper.name={NAME}"]
COMMAND = [sys.executable, "-m", "sweeps.cli.main", *SWEEP, "backend=ray", "backend.cpus=1"]
BEGUN = re.compile(r"filters=\d seed=\d: epoch (\d+)/")
DIED = "failed, is tried again: its worker process died"


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> dict[str, dict[str, float]]:
    """The metrics of every run as the local backend gives them, with as many threads."""
    root = tmp_path_factory.mktemp("local") / "mlruns"
    with pytest.MonkeyPatch.context() as patch:
        use_threads(patch)
        assert main([*SWEEP, f"store.root={root}"]) == 0
    return metrics(root)


def metrics(root: Path) -> dict[str, dict[str, float]]:
    """What every run of the sweep has been trained to; each of them has ended well, once."""
    _, parent, runs = tracked(root, NAME)
    assert parent.info.status == "FINISHED"
    finished = [run for run in runs if run.info.status == "FINISHED"]
    assert {run.info.status for run in runs} <= {"FINISHED", "KILLED"}
    assert len(finished) == len({run.data.tags["convsweep.signature"] for run in finished}) == RUNS
    return {
        run.info.run_name: {name: v for name, v in run.data.metrics.items() if not name.startswith("seconds")}
        for run in finished
    }


class Launch:
    """The sweep's command, and the lines that it has printed."""

    def __init__(self, nodes: Nodes, *overrides: str) -> None:
        words = [*COMMAND, f"backend.address={nodes.address}", *overrides]
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )

    def __enter__(self) -> Launch:
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()

    def until(self, holds: Callable[[str], object]) -> str:
        """Read until a line of which `holds` is true; return it."""
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            if holds(line):
                return line
        raise AssertionError("\n".join(self.lines))

    def until_epoch(self, least: int) -> str:
        """Read until some run has ended so many epochs."""
        return self.until(lambda line: (found := BEGUN.search(line)) and int(found[1]) >= least)

    def end(self, code: int = 0) -> None:
        """Read to the end; the command ends with this exit code, and says nothing of Ray's."""
        rest, _ = self.process.communicate(timeout=100)
        self.lines += rest.splitlines()
        assert self.process.returncode == code, "\n".join(self.lines)
        chatter = [line for line in self.lines if re.search(r"\((raylet|autoscaler|pid=)|ray::|Ray instance", line)]
        assert chatter == []


def actors(nodes: Nodes) -> list[psutil.Process]:
    """The processes of workers on this cluster's nodes, and on no other's."""
    raylets = [each["raylet"][0].process.pid for each in (n.all_processes for n in nodes.cluster.worker_nodes)]
    found = []
    for child in (child for pid in raylets for child in psutil.Process(pid).children()):
        with suppress(psutil.NoSuchProcess):  # it has ended just now
            if child.cmdline()[0].startswith("ray::Bootstrap"):
                found.append(child)
    return found


def test_nodes_that_go_and_a_worker_that_is_killed_lose_nothing(
    nodes: Nodes, node: object, root: Path, expected: dict[str, dict[str, float]]
) -> None:
    """Both workers' node goes; another comes, and goes without a word; on a third, a worker is killed, which counts."""

    def is_told_of_the_killed(line: str) -> bool:
        """Kill the only worker, which trains a run, until that is told: one between two runs would not count."""
        if (found := BEGUN.search(line)) and int(found[1]) < EPOCHS:
            for worker in actors(nodes):
                worker.kill()
                worker.wait(timeout=20)
        return DIED in line

    with Launch(nodes, "hydra.sweeper.retries=1", "backend.start_timeout=100") as launch:
        launch.until_epoch(2)
        nodes.remove(node)
        launch.until(lambda line: "no worker is left: waiting for a node" in line)
        second = nodes.add(cpus=2)
        begun = time.monotonic()
        launch.until(lambda line: "there are workers again" in line)
        assert time.monotonic() - begun < 10
        launch.until_epoch(5)
        nodes.remove(second, gracefully=False)
        launch.until(lambda line: "no worker is left: waiting for a node" in line)
        third = nodes.add(cpus=1)
        launch.until(lambda line: "there are workers again" in line)
        launch.until(is_told_of_the_killed)
        launch.end()
    nodes.remove(third)
    assert metrics(root) == expected
    told = "\n".join(launch.lines)
    assert "the node of its worker is gone" in told
    assert DIED in told


def test_a_node_that_joins_gets_work(nodes: Nodes, root: Path) -> None:
    first = nodes.add(cpus=1)
    with Launch(nodes, "trainer.epochs=40") as launch:
        run, second = launch.until_epoch(2).partition(":")[0], nodes.add(cpus=1)
        begun = time.monotonic()
        launch.until(lambda line: BEGUN.search(line) and not line.startswith(run))
        assert time.monotonic() - begun < 10
        launch.process.send_signal(signal.SIGINT)
        launch.end(130)
    for node in (first, second):
        nodes.remove(node)
    assert {run.info.status for run in tracked(root, NAME)[2]} <= {"FINISHED", "KILLED"}


def test_a_launch_that_loses_its_head_is_continued_by_the_same_command(
    nodes: Nodes, node: object, root: Path, expected: dict[str, dict[str, float]]
) -> None:
    """Ray ends a launch without its cluster's head, in C++: the parent closes nothing, as on a machine that is lost."""
    with nodes.another() as lost, Launch(lost) as headless:
        headless.until_epoch(6)
        workers = actors(lost)
        for worker in workers:  # so that no run ends before the head is missed
            worker.suspend()
        lost.lose_head()
        headless.end(1)
    assert "Failed to connect to GCS" in headless.lines[-1]
    assert psutil.wait_procs(workers, timeout=20)[1] == [], "workers end when their parent is gone"
    assert "RUNNING" in {run.info.status for run in tracked(root, NAME)[2]}
    with Launch(nodes) as launch:
        launch.end()
    assert metrics(root) == expected


def test_workers_that_cannot_start_end_the_sweep_with_the_reason(
    nodes: Nodes, node: object, root: Path, tmp_path: Path
) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("no folder")
    code = "import sweeps.backends.ray.backend as b, sys\nfrom pathlib import Path\nfrom sweeps.cli.main import main\n"
    code += f"old = b.RayBackend._arguments\nb.RayBackend._arguments = lambda s, f: old(s, {str(blocked)!r})\n"
    code += "sys.exit(main(sys.argv[1:]))"
    words = [*COMMAND[3:], f"backend.address={nodes.address}"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    assert re.search(
        r"every worker is refused: .*3 workers in a row could not start: .*(NotADirectory|FileExists)Error", done.stderr
    )
    assert "Traceback" not in done.stderr
