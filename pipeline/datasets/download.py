"""Where the files of a dataset come from: found or fetched, checked by SHA-256, kept uncompressed in the cache."""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np

from pipeline.config.data import DataConfig
from pipeline.datasets.cache import DataError, Say, cache_dir, unusable_cache
from pipeline.datasets.idx import idx_bytes
from pipeline.datasets.network import AwayError, decompressed, download, require_at_most, unpack_debian
from pipeline.system.files import require_regular
from pipeline.system.messages import printable, reason

DEBIAN_DATASETS = Path("usr/share/datasets")


def fetch(data: DataConfig, say: Say = print) -> dict[str, Path]:
    """Paths of the set's uncompressed, checked files in the cache, by their keys in `data.files`.

    Files that are missing or damaged are taken from the first source that has them with the right content:
    CONVSWEEP_DATA_DIR, Keras's cache, Debian's folder of datasets, a download, Debian's package fetched without root.
    Several processes may call this at once: one fetches, the others wait and use what it fetched.

    Args:
        data: The set; its `format` is `idx`.
        say: Reports, in one line each, a `data.dir` without the set, every damaged file and every download.

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
    """Keys of the files that are missing from the cache or have the wrong content; the latter are named and removed."""
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
            if isinstance(error, AwayError):
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
        yield printable(address), lambda address=address: _from_server(address, limit, data, say)  # type: ignore[misc]
    if data.debian_package:
        package = data.debian_package
        unpacked = cache_dir(data) / ".debian"

        def from_debian() -> bytes:
            unpack_debian(package, unpacked, data.timeout, say)
            return _content(unpacked / DEBIAN_DATASETS / folder / f"{name}.gz", limit)

        yield f"Debian's package {package}", from_debian


def _most_bytes(data: DataConfig, key: str) -> int:
    """What a file of the set can have at most, compressed or not: a byte per label or value of an image, and 1 %."""
    examples = data.train_size if key.startswith("train") else data.test_size
    size = examples * (math.prod(data.shape) if key.endswith("images") else 1)
    return size + size // 100 + 2**16


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
            return decompressed(file, limit)
        require_at_most(path.stat().st_size, limit)
        return file.read()


def _from_server(address: str, limit: int, data: DataConfig, say: Say) -> bytes:
    """The uncompressed content of the file at `address`."""
    return decompressed(BytesIO(download(address, limit, data.timeout, say)), limit)


def _from_npz(archive: Path, key: str, limit: int) -> bytes:
    """An IDX file's bytes, made from the array of the same content in Keras's own archive."""
    array = {"train_images": "x_train", "train_labels": "y_train", "test_images": "x_test", "test_labels": "y_test"}[
        key
    ]
    require_regular(archive)
    with zipfile.ZipFile(archive) as members:
        require_at_most(members.getinfo(f"{array}.npy").file_size, limit)
    with np.load(archive) as arrays:
        return idx_bytes(arrays[array])


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
