"""Where the files of a data set come from: found or fetched, checked by SHA-256, kept uncompressed in the cache."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import struct
import subprocess
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

import numpy as np

from pipeline.config import DataConfig

Say = Callable[[str], None]

DEBIAN_DATASETS = Path("usr/share/datasets")


class DataError(RuntimeError):
    """A data set that cannot be had. The message says what was tried and what would help."""


def cache_dir(data: DataConfig) -> Path:
    """The folder in the cache that holds this set's checked files."""
    return Path(data.cache).expanduser().resolve() / (data.folder or data.name)


def source_key(data: DataConfig) -> str:
    """Equal for configs that load the same set: all of them but how it is split."""
    split = ("limit", "val_fraction", "train_fraction", "description", "timeout")
    return repr({key: value for key, value in asdict(data).items() if key not in split})


def fetch(data: DataConfig, say: Say = print) -> dict[str, Path]:
    """Paths of the set's uncompressed, checked files in the cache, by their keys in `data.files`.

    Files that are missing or damaged are taken from the first source that has them with the right content:
    CONVSWEEP_DATA_DIR, Keras's cache, Debian's folder of data sets, a download, Debian's package fetched without root.
    Several processes may call this at once: one fetches, the others wait and use what it fetched.

    Args:
        data: The set; its `format` is `idx`.
        say: Told, in one line, of every damaged file and every download.

    Raises:
        DataError: if a file cannot be had or the cache cannot be written, with all that was tried.
    """
    from filelock import FileLock

    files, folder = data.files or {}, cache_dir(data)
    paths = {key: folder / file.name for key, file in files.items()}
    try:
        if _damaged(data, paths, say):
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / ".lock"):
                for key in _damaged(data, paths, say):
                    _fetch_file(data, key, paths[key], say)
                shutil.rmtree(folder / ".debian", ignore_errors=True)
    except OSError as error:
        raise DataError(
            f"the cache {folder} cannot be used: {error.strerror or error}. "
            "Free space or rights there, or choose another folder: data.cache=FOLDER or CONVSWEEP_CACHE_DIR=FOLDER"
        ) from error
    return paths


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _damaged(data: DataConfig, paths: dict[str, Path], say: Say) -> list[str]:
    """Keys of the files that are missing from the cache or have the wrong content; the latter are told and removed."""
    wanted = []
    for key, path in paths.items():
        if not path.exists():
            wanted.append(key)
        elif sha256(path) != (data.files or {})[key].sha256:
            say(f"{path} is damaged (its SHA-256 is not the published one): it is replaced")
            path.unlink(missing_ok=True)
            wanted.append(key)
    return wanted


def _fetch_file(data: DataConfig, key: str, target: Path, say: Say) -> None:
    """Put the file `key` of the set at `target`, atomically, from the first source that has it."""
    name, digest = (data.files or {})[key].name, (data.files or {})[key].sha256
    tried = []
    for source, read in _sources(data, key, name, say):
        try:
            content = read()
        except (OSError, EOFError, HTTPException, zlib.error, subprocess.SubprocessError, _UnusableError) as error:
            tried.append(f"{source}: {error}")
            if "://" in source:
                say(f"  which failed: {error}")
            continue
        if hashlib.sha256(content).hexdigest() == digest:
            _write(target, content)
            return
        tried.append(f"{source}: damaged (its SHA-256 is not the published {digest[:12]}...)")
        say(f"{source} is damaged (its SHA-256 is not the published one): it is not used")
    raise DataError(
        f"the file {name} of data={data.name} cannot be had. Tried:\n  " + "\n  ".join(tried) + "\n"
        f"what helps: put {name}.gz into FOLDER/{data.folder}/ and set CONVSWEEP_DATA_DIR=FOLDER, "
        "or use data=digits, which needs no file"
    )


class _UnusableError(Exception):
    """A source that is not there; the message says why."""


def _sources(data: DataConfig, key: str, name: str, say: Say) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Every source of the file `name`: what it is called, and how its uncompressed content is read."""
    folder = data.folder or data.name
    if data.dir:
        yield from _in_folder(Path(data.dir).expanduser() / folder, name)
    keras_home = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
    yield from _in_folder(keras_home / "datasets" / folder, name)
    if data.keras_npz:
        archive = keras_home / "datasets" / data.keras_npz
        yield str(archive), lambda: _from_npz(archive, key)
    yield from _in_folder("/" / DEBIAN_DATASETS / folder, name)
    for url in data.urls:
        address = f"{url.rstrip('/')}/{name}.gz"
        yield address, lambda address=address: _download(address, data.timeout, say)  # type: ignore[misc]
    if data.debian_package:
        package = data.debian_package
        yield f"Debian's package {package}", lambda: _from_debian(package, folder, name, cache_dir(data), say)


def _in_folder(folder: Path, name: str) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """The file in `folder`, compressed or not."""
    plain, compressed = folder / name, folder / f"{name}.gz"
    if plain.exists():
        yield str(plain), plain.read_bytes
    yield str(compressed), lambda: gzip.decompress(compressed.read_bytes())


def _from_npz(archive: Path, key: str) -> bytes:
    """An IDX file's bytes, made from the array of the same content in Keras's own archive."""
    array = {"train_images": "x_train", "train_labels": "y_train", "test_images": "x_test", "test_labels": "y_test"}[
        key
    ]
    with np.load(archive) as arrays:
        return idx_bytes(arrays[array])


def idx_bytes(array: np.ndarray) -> bytes:
    """An array of unsigned bytes in the IDX format: magic number, one big-endian size per axis, content."""
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def read_idx(path: Path) -> np.ndarray:
    """The array of unsigned bytes in an uncompressed IDX file, mapped from disk and read-only."""
    with path.open("rb") as file:
        axes = file.read(4)[3]
        shape = struct.unpack(f">{axes}I", file.read(4 * axes))
    return np.memmap(path, np.uint8, mode="r", offset=4 + 4 * axes, shape=shape)


def _download(address: str, timeout: float, say: Say) -> bytes:
    from rich.progress import wrap_file

    say(f"downloading {address}")
    with urlopen(address, timeout=timeout) as reply:
        size = int(reply.headers.get("Content-Length") or 0)
        with wrap_file(reply, size, description=address.rpartition("/")[2], transient=True) as file:
            content = file.read()
    if size and len(content) != size:
        raise _UnusableError(f"cut off after {len(content):,} of {size:,} bytes")
    return gzip.decompress(content)


def _from_debian(package: str, folder: str, name: str, cache: Path, say: Say) -> bytes:
    """The file out of a Debian package, fetched and unpacked without root; kept for the set's other files."""
    unpacked = cache / ".debian"
    if not unpacked.exists():
        if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
            raise _UnusableError("apt-get and dpkg-deb are not here (this is no Debian)")
        say(f"fetching Debian's package {package}")
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            private = ["-o", f"Dir::State::lists={scratch}/lists", "-o", f"Dir::Cache={scratch}/cache"]
            try:
                _call(["apt-get", "download", package], Path(scratch))
            except _UnusableError:  # no package lists on this machine, or old ones: fetch our own, which needs no root
                _call(["apt-get", "update", *private], Path(scratch))
                _call(["apt-get", "download", *private, package], Path(scratch))
            for archive in Path(scratch).glob("*.deb"):
                _call(["dpkg-deb", "-x", str(archive), "unpacked"], Path(scratch))
            (Path(scratch) / "unpacked").rename(unpacked)
    return gzip.decompress((unpacked / DEBIAN_DATASETS / folder / f"{name}.gz").read_bytes())


def _call(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise _UnusableError(
            f"{' '.join(command[:2])} failed: {(done.stderr.strip() or str(done.returncode)).splitlines()[-1]}"
        )


def _write(target: Path, content: bytes) -> None:
    """Write a whole file or nothing."""
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as file:
        try:
            file.write(content)
            file.flush()
            Path(file.name).chmod(0o644)
            Path(file.name).replace(target)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
