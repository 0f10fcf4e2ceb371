"""Where the files of a data set come from: found or fetched, checked by SHA-256, kept uncompressed in the cache."""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import shutil
import struct
import subprocess
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import IO, Any
from urllib import request
from urllib.error import HTTPError

import numpy as np

from pipeline.config.schema import DataConfig
from pipeline.system.files import require_regular
from pipeline.system.messages import printable, reason

Say = Callable[[str], None]

DEBIAN_DATASETS = Path("usr/share/datasets")
SLOWEST = 16 * 2**10  # bytes per second; a download that is slower, on the whole, is given up
DEBIAN_SECONDS = 300  # for each of apt's commands


class DataError(RuntimeError):
    """A data set that cannot be had. The message says what was tried and what would help."""


def cache_dir(data: DataConfig) -> Path:
    """The folder in the cache that holds this set's checked files."""
    return Path(data.cache).expanduser().absolute() / (data.folder or data.name)


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
        say: Told, in one line, of a `data.dir` without the set, every damaged file and every download.

    Raises:
        DataError: if a file cannot be had or the cache cannot be written, with all that was tried.
    """
    from filelock import FileLock

    files, folder = data.files or {}, cache_dir(data)
    paths = {key: folder / file.name for key, file in files.items()}
    if data.dir and (missing := _missing_in(Path(data.dir).expanduser(), data)):
        say(f"data.dir (CONVSWEEP_DATA_DIR): {missing}; {data.name} is taken from elsewhere, checked by SHA-256")
    try:
        if _damaged(data, paths, say):
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / ".lock"):
                away: set[str] = set()
                for key in _damaged(data, paths, say):
                    _fetch_file(data, key, paths[key], away, say)
                shutil.rmtree(folder / ".debian", ignore_errors=True)
    except (OSError, NotImplementedError) as error:  # the latter: a file system without locks
        raise unusable_cache(folder, error) from error
    return paths


def unusable_cache(folder: Path, error: BaseException) -> DataError:
    """Return the error for a cache that cannot be read or written, with what helps."""
    return DataError(
        f"the cache {printable(folder)} cannot be used: {reason(error)}. "
        "Free space or rights there, or choose another folder: data.cache=FOLDER or CONVSWEEP_CACHE_DIR=FOLDER"
    )


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_arrays(*arrays: np.ndarray) -> str:
    """SHA-256 of arrays' shapes, types and content, in hexadecimal."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.shape}{array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _missing_in(root: Path, data: DataConfig) -> str:
    """What of the set the folder that the user named does not have; empty if nothing."""
    folder = root / (data.folder or data.name)
    for place in (root, folder):
        if not place.is_dir():
            return f"there is no folder {printable(place)}"
    names = [file.name for file in (data.files or {}).values()]
    absent = [name for name in names if not (folder / name).exists() and not (folder / f"{name}.gz").exists()]
    return f"{printable(folder)} has no {', '.join(absent)}" if absent else ""


def _damaged(data: DataConfig, paths: dict[str, Path], say: Say) -> list[str]:
    """Keys of the files that are missing from the cache or have the wrong content; the latter are told and removed."""
    wanted = []
    for key, path in paths.items():
        if not path.is_file():
            wanted.append(key)
        elif sha256(path) != (data.files or {})[key].sha256:
            say(f"{printable(path)} is damaged (its SHA-256 is not the published one): it is replaced")
            path.unlink(missing_ok=True)
            wanted.append(key)
    return wanted


def _fetch_file(data: DataConfig, key: str, target: Path, away: set[str], say: Say) -> None:
    """Put the file `key` of the set at `target`, atomically, from the first source that has it.

    Servers that do not answer are added to `away`, and those that are in it are not asked.
    """
    name, digest = (data.files or {})[key].name, (data.files or {})[key].sha256
    tried = []
    for source, read in _sources(data, key, name, say):
        server = source.rpartition("/")[0]
        if server in away:
            tried.append(f"{source}: not asked again")
            continue
        try:
            content = read()
        except Exception as error:  # files, archives and servers fail in as many ways as they can be damaged
            tried.append(f"{source}: {reason(error)}")
            if "://" in source:
                say(f"  which failed: {reason(error)}")
            if isinstance(error, _AwayError):
                away.add(server)
            continue
        if hashlib.sha256(content).hexdigest() == digest:
            _write(target, content)
            return
        tried.append(f"{source}: damaged (its SHA-256 is not the published {digest[:12]}...)")
        say(f"{source} is damaged (its SHA-256 is not the published one): it is not used")
    raise DataError(
        f"the file {name} of data={data.name} cannot be had. Tried:\n  " + "\n  ".join(tried) + "\n"
        f"what helps: put {name}.gz into FOLDER/{data.folder}/ and set CONVSWEEP_DATA_DIR=FOLDER, "
        "or use data=digits model.padding=same, which needs no file"
    )


class _UnusableError(Exception):
    """A source that is not there, or not what it should be; the message says why."""


class _AwayError(_UnusableError):
    """A server that does not answer, or too slowly, to be asked for the set's other files."""


def _sources(data: DataConfig, key: str, name: str, say: Say) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Every source of the file `name`: what it is called, and how its uncompressed content is read."""
    folder, limit = data.folder or data.name, _most_bytes(data, key)
    if data.dir:
        yield from _in_folder(Path(data.dir).expanduser() / folder, name, limit)
    keras_home = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
    yield from _in_folder(keras_home / "datasets" / folder, name, limit)
    if data.keras_npz:
        archive = keras_home / "datasets" / data.keras_npz
        yield printable(archive), lambda: _from_npz(archive, key, limit)
    yield from _in_folder("/" / DEBIAN_DATASETS / folder, name, limit)
    for url in data.urls:
        address = f"{url.rstrip('/')}/{name}.gz"
        yield printable(address), lambda address=address: _download(address, limit, data.timeout, say)  # type: ignore[misc]
    if data.debian_package:
        package = data.debian_package
        unpacked = cache_dir(data) / ".debian"

        def from_debian() -> bytes:
            _unpack_debian(package, unpacked, data.timeout, say)
            return _content(unpacked / DEBIAN_DATASETS / folder / f"{name}.gz", limit)

        yield f"Debian's package {package}", from_debian


def _most_bytes(data: DataConfig, key: str) -> int:
    """What a file of the set can have at most, compressed or not: a byte per label or value of an image, and 1 %."""
    examples = data.train_size if key.startswith("train") else data.test_size
    size = examples * (math.prod(data.shape) if key.endswith("images") else 1)
    return size + size // 100 + 2**16


def _require_at_most(size: int, limit: int) -> None:
    if size > limit:
        raise _UnusableError(
            f"too large: more than the {limit:,} bytes that data.train_size, data.test_size and data.shape allow"
        )


def _in_folder(folder: Path, name: str, limit: int) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """The file in `folder`, compressed or not."""
    plain, compressed = folder / name, folder / f"{name}.gz"
    if plain.is_file():
        yield printable(plain), lambda: _content(plain, limit)
    yield printable(compressed), lambda: _content(compressed, limit)


def _content(path: Path, limit: int) -> bytes:
    """A file's uncompressed content."""
    require_regular(path)
    with path.open("rb") as file:
        if path.suffix == ".gz":
            return _decompressed(file, limit)
        _require_at_most(path.stat().st_size, limit)
        return file.read()


def _decompressed(file: IO[bytes], limit: int) -> bytes:
    """The content of a gzip stream, of which no more is read than fits."""
    with gzip.GzipFile(fileobj=file) as stream:
        content = stream.read(limit + 1)
    _require_at_most(len(content), limit)
    return content


def _from_npz(archive: Path, key: str, limit: int) -> bytes:
    """An IDX file's bytes, made from the array of the same content in Keras's own archive."""
    array = {"train_images": "x_train", "train_labels": "y_train", "test_images": "x_test", "test_labels": "y_test"}[
        key
    ]
    require_regular(archive)
    with zipfile.ZipFile(archive) as members:
        _require_at_most(members.getinfo(f"{array}.npy").file_size, limit)
    with np.load(archive) as arrays:
        return idx_bytes(arrays[array])


def idx_bytes(array: np.ndarray) -> bytes:
    """An array of unsigned bytes in the IDX format: magic number, one big-endian size per axis, content."""
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def read_idx(path: Path) -> np.ndarray:
    """The array of unsigned bytes in an uncompressed IDX file, mapped from disk and read-only.

    Raises:
        DataError: if the file has no such header, or another length than its header says.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        magic = file.read(4)
        if len(magic) < 4 or magic[:3] != b"\0\0\x08" or magic[3] == 0:
            raise DataError(
                f"{printable(path)} is no IDX file of unsigned bytes: it begins with {magic.hex(' ') or 'nothing'}, "
                "not with 00 00 08 and the number of axes"
            )
        header = 4 + 4 * magic[3]
        sizes = file.read(header - 4)
    shape = struct.unpack(f">{len(sizes) // 4}I", sizes[: len(sizes) // 4 * 4])
    if size != header + math.prod(shape):
        raise DataError(
            f"{printable(path)} has {size:,} bytes; the shape {shape} in its header needs {header + math.prod(shape):,}"
        )
    if size == header:  # which cannot be mapped
        return np.zeros(shape, np.uint8)
    return np.memmap(path, np.uint8, mode="r", offset=header, shape=shape)


class _Redirects(request.HTTPRedirectHandler):
    """Follows redirects without reading what comes with them, which may never end."""

    def redirect_request(self, req: request.Request, fp: IO[bytes], *rest: Any) -> request.Request | None:
        fp.close()
        return super().redirect_request(req, fp, *rest)


def _opener() -> request.OpenerDirector:
    """What opens http and https, through proxies and redirects, and nothing else: no file, no ftp."""
    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler,
        request.HTTPHandler,
        request.HTTPSHandler,
        _Redirects,
        request.HTTPDefaultErrorHandler,
        request.HTTPErrorProcessor,
        request.UnknownHandler,
    ):
        opener.add_handler(handler())
    return opener


class _Download(threading.Thread):
    """A download in a thread of its own: no time limit reaches looking up a name, or headers that drip.

    Attributes:
        received: What has come so far.
        size: What the server says will come, in bytes; None if it does not.
        error: Why it ended before that.
        abandoned: Set by whoever waits for it no longer.
    """

    def __init__(self, address: str, limit: int, timeout: float) -> None:
        super().__init__(daemon=True)
        self.address, self.limit, self.timeout = address, limit, timeout
        self.received = bytearray()
        self.size: int | None = None
        self.error: Exception | None = None
        self.abandoned = False

    def run(self) -> None:
        """Receive the body."""
        try:
            with _opener().open(self.address, timeout=self.timeout) as reply:
                self.size = reply.length
                _require_at_most(self.size or 0, self.limit)
                while not self.abandoned and (part := reply.read1(2**16)):
                    self.received += part
                    _require_at_most(len(self.received), self.limit)
        except HTTPError as error:
            error.close()
            self.error = _UnusableError(str(error))
        except OSError as error:
            self.error = _AwayError(reason(error))
        except Exception as error:
            self.error = error


def _download(address: str, limit: int, timeout: float, say: Say) -> bytes:
    """The uncompressed content of the file at `address`.

    Raises:
        _AwayError: if nothing comes for `timeout` seconds, or less than SLOWEST on the whole.
        _UnusableError: if it is cut off, larger than `limit`, or an error of the server.
    """
    from rich import get_console
    from rich.progress import Progress

    say(f"downloading {printable(address)}")
    download, started = _Download(address, limit, timeout), time.monotonic()
    download.start()
    try:
        with Progress(transient=True, disable=not get_console().is_terminal) as progress:
            task = progress.add_task(printable(address.rpartition("/")[2]), total=None)
            while download.is_alive():
                download.join(0.1)
                arrived, seconds = len(download.received), time.monotonic() - started
                progress.update(task, total=download.size, completed=arrived)
                if seconds > timeout + arrived / SLOWEST:
                    slow = (
                        f"too slow: {arrived:,} bytes in {seconds:.0f} s" if arrived else f"no answer in {timeout:g} s"
                    )
                    raise _AwayError(slow)
    finally:
        download.abandoned = True
    if download.error:
        raise download.error
    if download.size is not None and len(download.received) != download.size:
        raise _UnusableError(f"cut off after {len(download.received):,} of {download.size:,} bytes")
    return _decompressed(BytesIO(download.received), limit)


def _unpack_debian(package: str, target: Path, timeout: float, say: Say) -> None:
    """Fetch a Debian package and unpack it into `target`, without root, unless that was done for another file."""
    if target.exists():
        return
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise _UnusableError("apt-get and dpkg-deb are not here (this is no Debian)")
    say(f"fetching Debian's package {package}")
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        patience = [f"Acquire::{scheme}::Timeout={math.ceil(timeout)}" for scheme in ("http", "https")]
        limits = [word for option in ("Acquire::Retries=1", *patience) for word in ("-o", option)]
        private = ["-o", f"Dir::State::lists={scratch}/lists", "-o", f"Dir::Cache={scratch}/cache"]
        try:
            _call(["apt-get", "download", *limits, package], Path(scratch))
        except _UnusableError:  # no package lists on this machine, or old ones: fetch our own, which needs no root
            _call(["apt-get", "update", *limits, *private], Path(scratch))
            _call(["apt-get", "download", *limits, *private, package], Path(scratch))
        for archive in Path(scratch).glob("*.deb"):
            _call(["dpkg-deb", "-x", str(archive), "unpacked"], Path(scratch))
        (Path(scratch) / "unpacked").rename(target)


def _call(command: list[str], folder: Path) -> None:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=DEBIAN_SECONDS
    )
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
