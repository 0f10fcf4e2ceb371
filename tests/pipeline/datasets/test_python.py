from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.config import functions
from pipeline.config.checks import ConfigError
from pipeline.config.compose import compose
from pipeline.config.data import DataConfig
from pipeline.config.schema import RunConfig
from pipeline.datasets import python
from pipeline.datasets.arrays import WrongDataError
from pipeline.datasets.complete import completed
from pipeline.datasets.python import forget_results, loaded_arrays

SHAPES = """
import sys
from pathlib import Path
import numpy as np
print("imported")
if Path(__file__).with_name("calls.txt").exists():
    sys.stderr.write("again")
def load(n: int = 10, add: float = 0.0):
    here = Path(__file__).parent
    with (here / "calls.txt").open("a") as file:
        file.write("x")
    x = np.arange(3.0 * n).reshape(n, 3) + add + len((here / "beside.txt").read_text())
    return (x, np.arange(n) % 2), (x[:4], np.arange(4) % 2)
"""


@pytest.fixture
def own(empty: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., DataConfig]:
    """Composes the config of a loader in shapes.py, with a cache of its own."""
    monkeypatch.syspath_prepend(empty)
    (empty / "shapes.py").write_text(SHAPES)
    (empty / "beside.txt").write_text("")
    forget_results()

    def composed(*overrides: str, loader: str = "shapes:load") -> DataConfig:
        named = ["data=python", "data.name=shapes", f"data.loader={loader}", f"data.cache={empty / 'cache'}"]
        return compose(RunConfig, "train", [*named, "model=dense", *overrides]).data

    return composed


def quiet(line: str) -> None:
    """Say nothing."""


def calls() -> int:
    return len(Path("calls.txt").read_text())


def test_a_loader_is_called_once_elsewhere_and_is_not_heard(
    own: Callable[..., DataConfig], capfd: pytest.CaptureFixture[str]
) -> None:
    told: list[str] = []
    for _ in range(2):
        arrays, sha256 = loaded_arrays(own("data.args.n=20"), told.append)
        assert arrays["x_train"].shape == (20, 3)
        assert arrays["y_train"].dtype == np.int32
        assert isinstance(arrays["x_train"], np.memmap)
    assert told == ["data=shapes: calling shapes:load(n=20)"]
    assert calls() == 1
    assert "shapes" not in sys.modules
    assert capfd.readouterr() == ("", "")
    assert loaded_arrays(own("data.args.n=20", f"data.sha256='{sha256}'"), quiet)[1] == sha256
    assert loaded_arrays(own("data.args.n=21"), quiet)[1] != sha256
    assert calls() == 2


def test_a_result_is_taken_from_no_earlier_launch(own: Callable[..., DataConfig]) -> None:
    before = loaded_arrays(own(), quiet)[1]
    Path("beside.txt").write_text("changed")
    assert loaded_arrays(own(), quiet)[1] == before  # in the same launch
    forget_results()
    assert loaded_arrays(own(), quiet)[1] != before


def test_a_launch_calls_a_loader_once_and_its_trials_take_the_result(own: Callable[..., DataConfig]) -> None:
    def whole(data: DataConfig) -> RunConfig:
        return replace(compose(RunConfig, "train", ["model=dense"]), data=data)

    first = completed(whole(own()))
    for _ in range(2):
        assert completed(whole(own()), afresh=False) == first
    assert calls() == 1
    Path("beside.txt").write_text("changed")
    assert completed(whole(own())).data.sha256 != first.data.sha256
    assert calls() == 2
    assert completed(first) is first  # its content is in the cache
    assert calls() == 2


def test_changed_code_is_called_anew(own: Callable[..., DataConfig]) -> None:
    before = loaded_arrays(own(), quiet)[1]
    Path("shapes.py").write_text(SHAPES.replace("3.0 * n", "6.0 * n").replace("(n, 3)", "(n, 6)"))
    forget_results()
    assert loaded_arrays(own(), quiet)[0]["x_train"].shape == (10, 6)
    Path("shapes.py").write_text(SHAPES)
    forget_results()
    assert loaded_arrays(own(), quiet)[1] == before


def test_named_content_is_taken_from_the_cache_or_made_again_alike(own: Callable[..., DataConfig]) -> None:
    sha256 = loaded_arrays(own(), quiet)[1]
    named = own(f"data.sha256='{sha256}'")
    forget_results()
    assert loaded_arrays(named, quiet)[1] == sha256
    assert calls() == 1
    Path("beside.txt").write_text("changed")
    other = own(f"data.sha256='{'0' * 64}'")
    with pytest.raises(WrongDataError, match=r"shapes:load\(\) gives other data than it did: its SHA-256 is"):
        loaded_arrays(other, quiet)


def test_a_function_of_a_notebook_is_a_loader(own: Callable[..., DataConfig]) -> None:
    size = 6

    def load() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        part = np.zeros((size, 2)), np.arange(size) % 3
        return part, part

    try:
        assert loaded_arrays(own(loader=functions.register(load)), quiet)[0]["x_train"].shape == (6, 2)
    finally:
        functions.registered.clear()


BAD = """
import numpy as np
x, y = np.zeros((10, 3)), np.arange(10) % 2
number = 3
def none(): pass
def three(): return x, y, x
def raises():
    print("about to fail")
    return helper()
def helper():
    raise ValueError("no such n")
def leaves(): import os; os._exit(3)
def crashes(): import os; os.kill(os.getpid(), 11)
def texts(): return (x, np.array(["a", "b"] * 5)), (x, y)
def few(n: int, share: float = 0.5): return (x, y), (x, y)
"""


@pytest.mark.parametrize(
    ("loader", "overrides", "message"),
    [
        ("gone:load", [], "data.loader=gone:load: there is no module gone"),
        ("bad:tree", [], r"bad has no function tree \(did you mean three\?\)"),
        ("bad:number", [], "data.loader must be a function; bad:number is a int"),
        (
            "broken:load",
            [],
            "importing broken fails: ModuleNotFoundError.*broken.py, line 1, in <module>: import",
        ),
        ("bad:none", [], r"it is a NoneType; it must return \(x_train, y_train\), \(x_test, y_test\)"),
        ("bad:three", [], "it is a tuple of 3: ndarray, ndarray, ndarray; it must return"),
        (
            "bad:raises",
            [],
            r"data.loader=bad:raises fails: ValueError: no such n\n  \S*bad.py, line 9, in raises: return helper\(\)\n"
            r"  \S*bad.py, line 11, in helper: raise .*\n  it printed:\n  about to fail$",
        ),
        ("bad:leaves", [], r"bad:leaves\(\) ended its process with exit code 3"),
        ("bad:crashes", [], r"bad:crashes\(\) was killed by SIGSEGV.*bad.py"),
        ("bad:texts", [], "what data.loader=bad:texts returns cannot be used: y_train must hold numbers, not texts"),
        ("bad:few", [], r"missing a required argument: 'n'. The function is few\(n: int, share: float = 0.5\)"),
        ("bad:few", ["data.args.m=3"], "data.args={'m': 3} is not allowed"),
        ("bad:few", ["data.args.n=many"], "data.args.n=many is not allowed: data.args.n must be a whole number"),
    ],
)
def test_bad_loaders_are_refused_with_the_users_own_lines(
    own: Callable[..., DataConfig], loader: str, overrides: list[str], message: str
) -> None:
    Path("bad.py").write_text(BAD)
    Path("broken.py").write_text("import nope")
    with pytest.raises(ConfigError, match=re.compile(message, re.DOTALL)) as error:
        loaded_arrays(own(*overrides, loader=loader), quiet)
    if "crashes" not in loader:  # of which Python shows the whole stack
        assert "pipeline/" not in str(error.value)
    assert not list(Path("cache").rglob("*.npy"))


@pytest.mark.parametrize("loader", ["load", "shapes", "shapes:", ":load", "a-b:load", "a b:load", "../shapes:load"])
def test_what_is_no_path_of_a_function_is_refused(own: Callable[..., DataConfig], loader: str) -> None:
    with pytest.raises(ConfigError, match=r"data\.loader=.*MODULE:FUNCTION"):
        own(loader=f"'{loader}'")


def test_a_base_file_needs_a_name_and_a_loader(own: Callable[..., DataConfig]) -> None:
    with pytest.raises(ConfigError, match=r"data\.name=null is not allowed: data\.name must have a value"):
        compose(RunConfig, "train", ["data=python", "data.loader=shapes:load"])
    with pytest.raises(
        ConfigError, match=r"data\.loader=null is not allowed: data\.loader must be given with data\.format"
    ):
        compose(RunConfig, "train", ["data=python", "data.name=mine"])


SLOW = """
import subprocess, sys, time
from pathlib import Path
def load():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    Path(__file__).with_name("pids.txt").write_text(f"{child.pid}")
    time.sleep(60)
"""


@pytest.mark.slow
def test_ctrl_c_ends_the_loader_and_what_it_started(own: Callable[..., DataConfig], empty: Path) -> None:
    (empty / "slow.py").write_text(SLOW)
    words = ["train", "data=python", "data.name=slow", "data.loader=slow:load", f"data.cache={empty / 'cache'}"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "sweeps.cli.main", *words]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not (empty / "pids.txt").exists() or not (empty / "pids.txt").read_text():
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted" in errors
    assert "Traceback" not in errors
    grandchild = Path("/proc") / (empty / "pids.txt").read_text() / "stat"
    until = time.monotonic() + 10
    while grandchild.exists() and grandchild.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < until
        time.sleep(0.05)
    assert not (empty / "mlruns").exists()
    assert [file.name for file in (empty / "cache" / "arrays").iterdir()] == []


def test_results_are_by_cache(own: Callable[..., DataConfig], empty: Path) -> None:
    loaded_arrays(own(), quiet)
    loaded_arrays(own(f"data.cache={empty / 'other'}"), quiet)
    assert calls() == 2
    assert len(python._results) == 2
