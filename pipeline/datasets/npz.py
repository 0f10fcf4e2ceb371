"""`format: npz`: arrays in one .npz file, on this machine or at an address, named by the SHA-256 of that file."""

from __future__ import annotations

import hashlib
import io
import json
import time
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from pipeline.config.data import DataConfig
from pipeline.config.groups import project_folder
from pipeline.datasets.arrays import NAMES, Arrays, WrongDataError, keep, kept, scratch_folder, tidied, write
from pipeline.datasets.cache import DataError, Say, unusable_cache
from pipeline.datasets.network import UnusableError, download
from pipeline.system.files import require_regular
from pipeline.system.messages import printable, reason

MOST_BYTES = 4 * 2**30  # of a download
FRESH_SECONDS = 2.0  # a file as young as this may change again within the same tick of the clock
SAVED = "np.savez('mine.npz', x_train=..., y_train=..., x_test=..., y_test=...) makes such a file"


def npz_arrays(data: DataConfig, say: Say) -> tuple[Arrays, str]:
    """Return the arrays of an .npz file, and the file's SHA-256.

    A file is hashed and read once, and again when its size or its time of change is another.

    Raises:
        WrongDataError: if there is no such file, it is damaged, or holds what no network can be trained on.
        DataError: if it cannot be downloaded, or the cache cannot be used.
    """
    cache = Path(data.cache).expanduser().absolute()
    if data.path is None:
        assert data.sha256 is not None  # without it the config is refused
        return kept(cache, data.sha256, say) or _downloaded(data, cache, say), data.sha256
    path = project_folder() / Path(data.path).expanduser()
    stamp = _stamp(path, data)
    record = cache / "npz" / f"{hashlib.sha256(str(path).encode()).hexdigest()}.json"
    recorded = sha256 = _recorded(record, stamp)
    if sha256 is None:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if data.sha256 not in (None, sha256):
        words = f"its SHA-256 is {sha256}, not {data.sha256} as in data.sha256"
        raise WrongDataError(f"data={data.name}: {printable(path)} is another file, or damaged: {words}")
    arrays = kept(cache, sha256, say)
    if arrays is None:
        with path.open("rb") as file:
            arrays = _into_cache(file, printable(path), sha256, data, cache, say)
        if _stamp(path, data) != stamp:
            raise WrongDataError(f"data={data.name}: {printable(path)} has changed while it was read")
    if recorded is None and time.time() - stamp["mtime_ns"] / 1e9 > FRESH_SECONDS:
        _write_record(record, stamp | {"sha256": sha256})
    return arrays, sha256


def _stamp(path: Path, data: DataConfig) -> dict[str, Any]:
    """Return what tells that a file has not changed."""
    try:
        require_regular(path)
        found = path.stat()
        with path.open("rb"):
            return {"path": str(path), "size": found.st_size, "mtime_ns": found.st_mtime_ns}
    except OSError as error:
        raise WrongDataError(
            f"data={data.name}: {printable(path)} cannot be read: {reason(error)}. "
            "A relative data.path is looked for in the folder of the project"
        ) from error


def _recorded(record: Path, stamp: dict[str, Any]) -> str | None:
    """Return the SHA-256 of a file that has not changed since it was hashed."""
    with suppress(OSError, ValueError):
        found = json.loads(record.read_bytes())
        if found.items() >= stamp.items():
            return str(found["sha256"])
    return None


def _write_record(record: Path, content: dict[str, Any]) -> None:
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps(content))
    except OSError as error:
        raise unusable_cache(record.parent.parent, error) from error


def _downloaded(data: DataConfig, cache: Path, say: Say) -> Arrays:
    """Return the arrays of the file at `data.url`, which is checked by its SHA-256 before it is read."""
    assert data.url is not None
    assert data.sha256 is not None
    try:
        content = download(data.url, MOST_BYTES, data.timeout, say)
    except (UnusableError, OSError, ValueError) as error:
        raise DataError(f"data={data.name} cannot be had: {printable(data.url)}: {reason(error)}") from error
    if (found := hashlib.sha256(content).hexdigest()) != data.sha256:
        words = f"the SHA-256 of what comes from {printable(data.url)} is {found}, not {data.sha256} as in data.sha256"
        raise WrongDataError(f"data={data.name}: {words}")
    return _into_cache(io.BytesIO(content), data.url, data.sha256, data, cache, say)


def _into_cache(file: IO[bytes], name: str, sha256: str, data: DataConfig, cache: Path, say: Say) -> Arrays:
    """Read and check arrays, keep them in the cache, and return them from there."""
    try:
        arrays = tidied(_read(file))
    except WrongDataError as error:
        raise WrongDataError(f"data={data.name}: {name}: {error}") from error
    with scratch_folder(cache) as folder:
        try:
            write(arrays, folder)
        except OSError as error:
            raise unusable_cache(cache, error) from error
        keep(folder, cache, sha256)
    return kept(cache, sha256, say) or arrays


def _read(file: IO[bytes]) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz file, from which no code is run."""
    if not zipfile.is_zipfile(file):
        raise WrongDataError(f"it is damaged, or no .npz file. {SAVED}")
    file.seek(0)
    arrays = {}
    try:
        with np.load(file, allow_pickle=False) as archive:
            if missing := [name for name in NAMES if name not in archive]:
                has = ", ".join(map(printable, archive)) or "nothing"
                raise WrongDataError(f"it has no {', '.join(missing)}; it has {has}. {SAVED}")
            for name in NAMES:
                arrays[name] = archive[name]
    except WrongDataError:
        raise
    except Exception as error:  # damaged files fail in as many ways as they can be damaged
        name = next(name for name in NAMES if name not in arrays)
        if "allow_pickle" in str(error):
            why = f"{name} holds pickled Python objects, which could run code: only numbers are read"
            raise WrongDataError(f"{why}. {SAVED}") from error
        raise WrongDataError(f"{name} cannot be read: {reason(error)}. The file is damaged, or no .npz file") from error
    return arrays
