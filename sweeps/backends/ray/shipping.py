"""The code that workers run: our packages, and the project of a user whose config names functions in it.

Not by Ray's `runtime_env`: local folders can be given there only where Ray is started, which a program that uses Ray
has done already, and a file changed between two launches of one process was not noticed.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.config.checks import ConfigError
from pipeline.config.functions import registered
from pipeline.config.groups import CONF
from pipeline.config.schema import RunConfig
from pipeline.config.source import find_source, is_of_project
from sweeps.backends.base import AnyJob, LogModel
from sweeps.sweep import Sweep

PACKAGES = Path(__file__).resolve().parents[3]  # the folder that holds ours
OURS = ("pipeline", "sweeps")
NOT_OF_A_PROJECT = {"__pycache__", "node_modules", "mlruns", "build", "dist"}
MOST_FILES, MOST_BYTES = 5_000, 50 * 2**20


@dataclass(frozen=True)
class Code:
    """A zip file of code, and its SHA-256 in hexadecimal."""

    content: bytes
    digest: str


def without_addresses(job: AnyJob) -> AnyJob:
    """Return a job that does not know the stores, which no worker needs: their addresses may hold passwords."""
    if isinstance(job, LogModel):
        return job

    def bare(config: RunConfig) -> RunConfig:
        return replace(config, store=replace(config.store, tracking_uri=None, optuna_url=None))

    return replace(job, run=replace(job.run, config=bare(job.run.config), composed=bare(job.run.composed)))


def packed(sweep: Sweep) -> Code:
    """Return all the code that the sweep's workers need.

    Raises:
        ConfigError: if the user's project is too large to be shipped.
    """
    files = dict(_own_files())
    for folder in dict.fromkeys(_projects(sweep)):
        files |= {name: path for name, path in _project_files(folder).items() if name not in files}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, path in sorted(files.items()):
            # Always of the same date: equal files give an equal hash.
            archive.writestr(zipfile.ZipInfo(name), path.read_bytes(), zipfile.ZIP_DEFLATED, 1)
    content = buffer.getvalue()
    return Code(content, hashlib.sha256(content).hexdigest()[:32])


def _own_files() -> Iterator[tuple[str, Path]]:
    """Yield name and path of our own files, as they lie in an installed wheel."""
    for package in OURS:
        for path in (PACKAGES / package).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts and not path.is_relative_to(CONF):
                yield str(path.relative_to(PACKAGES)), path
    for path in CONF.rglob("*.yaml"):
        yield str(Path("pipeline", "conf") / path.relative_to(CONF)), path


def _projects(sweep: Sweep) -> Iterator[Path]:
    """Yield the folders from which the builders of the sweep's networks are imported, if they are a user's own."""
    builders = {sweep.config.model.builder, *(config.model.builder for config in sweep.examples())}
    builders |= {value for value in sweep.choices.get("model.builder", ()) if isinstance(value, str)}
    for builder in sorted(filter(None, builders)):
        module = builder.partition(":")[0]
        source = find_source(module)
        if builder not in registered and source is not None and is_of_project(source):
            levels = len(module.split(".")) - (source.name != "__init__.py")
            yield source.parents[levels]


def _project_files(folder: Path) -> dict[str, Path]:
    """Return the Python files of a project by their name in it, without hidden folders and environments."""
    files: dict[str, Path] = {}
    size = 0
    for parent, folders, names in os.walk(folder):
        there = Path(parent)
        folders[:] = [name for name in folders if _is_of_project(there / name)]
        for path in (there / name for name in names if name.endswith(".py")):
            files[str(path.relative_to(folder))] = path
            size += path.stat().st_size
        if len(files) > MOST_FILES or size > MOST_BYTES:
            raise ConfigError(
                f"{folder} holds more than {MOST_FILES:,} Python files or {MOST_BYTES >> 20} MiB of them, too much to "
                "send to workers: put the module that model.builder names into a folder of its own"
            )
    return files


def _is_of_project(folder: Path) -> bool:
    hidden = folder.name.startswith(".") or folder.name in NOT_OF_A_PROJECT
    return not hidden and not (folder / "pyvenv.cfg").exists()
