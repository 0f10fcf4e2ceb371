"""What all benchmarks share: a command in a fresh folder, timed; the peers' environment; tables."""

from __future__ import annotations

import atexit
import gzip
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from math import isfinite
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "benchmarks" / "peers"
ENVIRONMENT = ROOT / ".venv-peers"
sys.path.insert(0, str(ROOT))


@dataclass
class Measured:
    """When a command began, its wall time in seconds, its largest process's memory in GiB, what it told as `RESULT`.

    `processor` are the seconds that all its processes computed: what other programs on the machine hardly change.
    """

    began: float
    seconds: float
    peak: float
    told: dict[str, float] = field(default_factory=dict)
    processor: float = 0.0

    def __add__(self, other: Measured) -> Measured:
        seconds, processor = self.seconds + other.seconds, self.processor + other.processor
        return Measured(self.began, seconds, max(self.peak, other.peak), self.told | other.told, processor)


def measured(command: Sequence[str], folder: Path) -> Measured:
    """Run the command in `folder` to its end, with MLflow's database there and the data where Keras looks for it."""
    environment = os.environ | {
        "KERAS_HOME": str(_keras_home()),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)]),
    }
    with (folder / "output").open("w+") as output:
        began, start = time.time(), time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{text[-3000:]}")
    found = re.findall(r"^RESULT (.*)$", text, re.MULTILINE)
    scale = 2**30 if sys.platform == "darwin" else 2**20
    told = json.loads(found[-1]) if found else {}
    return Measured(began, seconds, usage.ru_maxrss / scale, told, usage.ru_utime + usage.ru_stime)


def convsweep(arguments: Sequence[str], folder: Path) -> Measured:
    """Run `convsweep ARGUMENTS` on a fresh store in `folder`."""
    return measured([sys.executable, "-m", "sweeps.cli.main", *arguments, f"store.root={folder}/mlruns"], folder)


def peer(script: str, arguments: Iterable[object], folder: Path) -> Measured:
    """Run a script of benchmarks/peers in the peers' own environment."""
    return measured([str(_peers_python()), str(PEERS / script), *map(str, arguments)], folder)


@contextmanager
def fresh() -> Iterator[Path]:
    """A folder for one measurement, with an empty MLflow database, migrated already, for whoever tracks there."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        (folder / "mlruns").mkdir()
        for place in (folder, folder / "mlruns"):
            shutil.copy(_migrated(), place / "mlflow.db")
        yield folder


@cache
def _migrated() -> Path:
    """An MLflow database without runs. Making one takes a second or more, once per store, whoever does it."""
    from pipeline.config.schema import StoreConfig
    from pipeline.tracking.tracker import Tracker

    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    atexit.register(shutil.rmtree, folder)
    Tracker(StoreConfig(str(folder), None, None, 60.0, "none", 5000))
    return folder / "mlflow.db"


def _peers_python() -> Path:
    """The Python of the peers' environment, which is made at the first use (about a minute)."""
    python, done = ENVIRONMENT / "bin" / "python", ENVIRONMENT / "installed"
    wanted = (PEERS / "requirements.txt").read_text()
    if not done.exists() or done.read_text() != wanted:
        print(f"installing the peers into {ENVIRONMENT.name}", flush=True)
        venv.create(ENVIRONMENT, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        constraints = ["--constraint", str(ROOT / "constraints.txt")]
        subprocess.run([*pip, "--requirement", str(PEERS / "requirements.txt"), *constraints], check=True)
        done.write_text(wanted)
    return python


def _keras_home() -> Path:
    """A Keras folder with Fashion-MNIST in it, from wherever convsweep has it."""
    from pipeline.config.compose import compose
    from pipeline.config.schema import RunConfig
    from pipeline.datasets.download import fetch

    home = ENVIRONMENT / "keras"
    for path in fetch(compose(RunConfig, "train", []).data, print).values():
        packed = home / "datasets" / "fashion-mnist" / f"{path.name}.gz"
        packed.parent.mkdir(parents=True, exist_ok=True)
        if not packed.exists():
            packed.write_bytes(gzip.compress(path.read_bytes()))
    return home


def asked_rounds() -> int:
    """How often to repeat everything: the command's argument, else three times."""
    asked = sys.argv[1] if len(sys.argv) > 1 else "3"
    return int(asked) if asked.isdecimal() and int(asked) else sys.exit(f"ROUNDS is a number from 1 on, not '{asked}'")


def hardware() -> str:
    """Date, processor and cores, and the versions that computed."""
    from importlib.metadata import version

    from pipeline.system.hardware import cores, processor, resolve_precision

    told = ", ".join(f"{name} {version(name)}" for name in ("tensorflow", "keras", "mlflow", "optuna"))
    what = f"{cores()} cores of {processor()}, precision auto = {resolve_precision('auto')}"
    return f"{time.strftime('%Y-%m-%d')}, {what}, Python {platform.python_version()}, {told}"


def seconds_told(values: Sequence[float]) -> str:
    """The median, and every value; infinite is never."""
    return f"{median(values):.1f} ({', '.join(f'{value:.1f}' for value in values)})".replace("inf", "never")


def ratio_told(theirs: Sequence[float], ours: Sequence[float]) -> str:
    """The median of the ratios round by round, and every one of them; none where both took forever."""
    pairs = list(zip(theirs, ours, strict=True))
    ratios = [a / b for a, b in pairs if isfinite(a) or isfinite(b)]
    told = [f"{a / b:.2f}" if isfinite(a) or isfinite(b) else "-" for a, b in pairs]
    return f"{median(ratios):.2f} ({', '.join(told)})" if ratios else "-"


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table as Markdown."""
    print("| " + " | ".join(header) + " |\n| " + " | ".join("---" for _ in header) + " |")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print(flush=True)
