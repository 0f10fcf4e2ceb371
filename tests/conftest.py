"""Fixtures: a fresh folder and a migrated store per test, and sets of images that need no file and no network."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sqlite3
import sys
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from pipeline.config.compose import compose
from pipeline.config.groups import use_config_folder
from pipeline.config.schema import OPTUNA_URL, TRACKING_URI, RunConfig, StoreConfig
from pipeline.system import tensorflow
from pipeline.tracking.relocation import relocate

SMALL = ["data=digits", "model.padding=same", "model.filters=4", "trainer.epochs=2", "trainer.threads=1"]
DEMO = ["trainer.epochs=1", "data.limit=300", "trainer.threads=1", "workers=1", "seeds=3"]
# Shells start what runs in the background with Ctrl-C ignored, which the commands under test would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)
# readline, which pytest imports, exports the width that it takes the terminal to have.
os.environ.pop("COLUMNS", None)

_MODULES = [0]  # how many were imported when the garbage collector was told last


def need(condition: bool, reason: str) -> None:
    """Skip the test where something is missing (which fails in CI, as every skip does)."""
    if not condition:
        pytest.skip(reason)


def fail_what_is_skipped(report: pytest.TestReport | pytest.CollectReport) -> pytest.TestReport | pytest.CollectReport:
    """Return the report; in CI, a skip has become a failure with its reason."""
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"CI must not skip: {report.longrepr}"
    return report


def pytest_runtest_setup() -> None:
    """Keep the libraries' objects, once imported, from the garbage collector.

    Keras collects garbage before every training: with half a million objects of libraries, 0.3 s each time.
    """
    if len(sys.modules) > _MODULES[-1] + 200:
        _MODULES.append(len(sys.modules))
        gc.collect()
        gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, object]:
    return fail_what_is_skipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, object]:
    return fail_what_is_skipped((yield))


def draw_set(folder: Path, name: str, shape: Sequence[int], classes: int, train: int, test: int) -> list[str]:
    """Draw a set of images below `folder` and return the overrides that choose it.

    Args:
        folder: Holds the set's folder and its cache afterwards.
        name: Name of the set.
        shape: Height, width and channels of a image.
        classes: Number of classes; a image is noise with a bright patch, whose place tells the class.
        train: Images per class to train on.
        test: Images per class to test on.
    """
    rng, (height, width, channels) = np.random.default_rng(0), shape
    for part, count in (("train", train), ("validation", test)):
        for label in range(classes):
            (folder / name / part / f"class_{label}").mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 128, shape, np.uint8)
                top, left = label // 4 * height // 4, label % 4 * width // 4
                pixels[top : top + height // 4, left : left + width // 4] += 100
                image = Image.fromarray(pixels.squeeze() if channels == 1 else pixels)
                image.save(folder / name / part / f"class_{label}" / f"{number}.png", compress_level=1)
    names = ",".join(f"class_{label}" for label in range(classes))
    return [
        *("data=horse_or_human", f"data.name={name}", f"data.folder={name}", f"data.class_names=[{names}]"),
        *(f"data.dir={folder}", f"data.cache={folder / 'cache'}", f"data.shape={list(shape)}".replace(" ", "")),
        *(f"data.task={'binary' if classes == 2 else 'multiclass'}",),
        *(f"data.train_size={classes * train}", f"data.test_size={classes * test}"),
    ]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Let TensorFlow have one thread in this process, whoever imports it: the number decides the last digits."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
            patch.setenv(name, "1")
        start = tensorflow._import_tensorflow
        patch.setattr(tensorflow, "_import_tensorflow", lambda threads: start(1))
        yield


@pytest.fixture(scope="session")
def grey(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides of a set in the shape of MNIST: ten classes of 28x28 grey pixels, 640 + 640 images."""
    return draw_set(tmp_path_factory.mktemp("grey"), "grey", (28, 28, 1), 10, 64, 64)


@pytest.fixture(scope="session")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides of a set like horses and humans, in small: two classes of 100x100 coloured pixels, 40 + 40 images."""
    return draw_set(tmp_path_factory.mktemp("coloured"), "coloured", (100, 100, 3), 2, 20, 20)


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder that `make` has filled, once for all of xdist's workers: copy what is in it, change nothing."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            scratch = Path(f"{folder}.made")
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            make(scratch)
            scratch.rename(folder)
    return folder


def copy_store(source: Path, target: Path) -> None:
    """Copy the store of a folder that `made_once` filled; its experiments and runs keep their files in the copy."""
    shutil.copytree(source, target)
    relocate(StoreConfig(str(target), None, None, 60.0, "none", 5000))


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both databases of a store, empty; making them costs seconds, copying them nothing."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    from pipeline.tracking.tracker import Tracker
    from sweeps.search.storage import open_storage

    # No test of one process pulls the plug, and half of the time would be spent waiting for the disk.
    def be_quick(connection: object, record: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous=OFF")

    event.listen(Engine, "connect", be_quick)

    def make_databases(folder: Path) -> None:
        store = StoreConfig(str(folder), None, None, 60.0, "none", 5000)
        Tracker(store)
        open_storage(store)

    return made_once(tmp_path_factory, "migrated", make_databases)


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, in which the test runs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def root(tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store, as `mlruns` of the folder in which the test runs."""
    (tmp_path / "mlruns").mkdir()
    for name in ("mlflow.db", "optuna.db"):
        shutil.copy(migrated / name, tmp_path / "mlruns" / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "mlruns"


@pytest.fixture(scope="session")
def made_demo(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Path:
    """A store in which the ablation `demo` has ended, with three seeds and one model; see `demo`."""
    from sweeps.cli.main import main
    from tests.helpers.worker_threads import use_threads

    def ablate(folder: Path) -> None:
        (folder / "mlruns").mkdir()
        shutil.copy(migrated / "mlflow.db", folder / "mlruns" / "mlflow.db")
        with pytest.MonkeyPatch.context() as patch:
            use_threads(patch)
            patch.chdir(folder)
            assert main(["ablate", "demo", *DEMO]) == 0

    return made_once(tmp_path_factory, "demo", ablate) / "mlruns"


@pytest.fixture
def demo(tmp_path: Path, made_demo: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store like `root`, in which `convsweep ablate demo *DEMO` has ended."""
    copy_store(made_demo, tmp_path / "mlruns")
    # MLflow remembers where a run's files are, by its id alone: that of another copy in this process is forgotten.
    monkeypatch.setattr("mlflow.tracking._tracking_service.utils._artifact_repos_cache", OrderedDict())
    monkeypatch.chdir(tmp_path)
    return tmp_path / "mlruns"


@pytest.fixture
def worker_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let sweeps that are launched in this process train in a thread of it, where no test is about worker processes."""
    from tests.helpers.worker_threads import use_threads

    use_threads(monkeypatch)


@pytest.fixture
def config() -> Callable[..., RunConfig]:
    """Composes a run's config: small and quick, unless the overrides say otherwise."""

    def composed(*overrides: str, base: Sequence[str] = SMALL) -> RunConfig:
        return compose(RunConfig, "train", [*base, *overrides])

    return composed


@pytest.fixture
def own(config: Callable[..., RunConfig]) -> Callable[..., RunConfig]:
    """Composes the run of a builder in tests/helpers/networks.py, on digits."""

    def composed(name: str, *overrides: str) -> RunConfig:
        builder = ["model=builder", f"model.builder=tests.helpers.networks:{name}"]
        return config("trainer.epochs=2", *builder, *overrides, base=["data=digits", "trainer.threads=1"])

    return composed


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Callable[[str, str], Path]]:
    """A folder in which the test runs, as a user's project; what is returned writes a file of its conf/."""
    before = Path.cwd()
    os.chdir(tmp_path)

    def write(name: str, text: str) -> Path:
        path = tmp_path / "conf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    yield write
    os.chdir(before)
    use_config_folder(None)


@pytest.fixture
def no_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name no servers in the environment."""
    for name in (TRACKING_URI, OPTUNA_URL):
        monkeypatch.delenv(name, raising=False)
