"""A check-up of datasets: where each would come from. Reads files, downloads and writes nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from pipeline.config.data import DataConfig
from pipeline.datasets.cache import cache_dir
from pipeline.datasets.download import DEBIAN_DATASETS, sha256
from pipeline.system.messages import printable
from pipeline.system.notes import Note


def folder_notes(data: DataConfig) -> Iterator[Note]:
    """Yield whether the user's folder of datasets is there, and the cache."""
    if data.dir is None:
        yield Note("CONVSWEEP_DATA_DIR is not set: datasets come from the cache, Keras's, Debian's, or the network")
    elif Path(data.dir).expanduser().is_dir():
        yield Note(f"CONVSWEEP_DATA_DIR (data.dir) is {printable(data.dir)}")
    else:
        mend = "unset CONVSWEEP_DATA_DIR, or name a folder that holds fashion-mnist/, mnist/ or horse-or-human/"
        yield Note(f"CONVSWEEP_DATA_DIR (data.dir) is {printable(data.dir)}, which is no folder", mend)
    yield Note(f"the cache is {printable(Path(data.cache).expanduser().absolute())}")


def source_note(data: DataConfig) -> Note:
    """Return where a dataset would come from, as far as that can be said without asking other machines."""
    match data.format:
        case "digits":
            return Note(f"{data.name}: from scikit-learn")
        case "points":
            return Note(f"{data.name}: from its config")
        case "python":
            return _of_loader(data)
        case "npz":
            return _of_archive(data)
        case "folders":
            return _of_folders(data)
        case _:
            return _of_files(data)


def _of_loader(data: DataConfig) -> Note:
    module = str(data.loader).partition(":")[0]
    if not data.loader or find_spec(module.partition(".")[0]):
        return Note(f"{data.name}: from the function {data.loader or 'that data.loader names'}")
    return Note(f"{data.name}: there is no module {module}", f"run from the folder that holds {module}.py")


def _of_archive(data: DataConfig) -> Note:
    if data.path is None:
        return Note(f"{data.name}: from {printable(data.url or 'the file that data.path names')}")
    path = Path(data.path).expanduser().absolute()
    if path.is_file():
        return Note(f"{data.name}: from {printable(path)}")
    return Note(
        f"{data.name}: there is no file {printable(path)}", f"put it there, or data.path=FILE with data={data.name}"
    )


def _of_folders(data: DataConfig) -> Note:
    name = data.folder or data.name
    root = Path(data.dir).expanduser() / name if data.dir else None
    if root and root.is_dir():
        return Note(f"{data.name}: from {printable(root)}")
    return Note(f"{data.name}: not to be had; put it into FOLDER/{name}/ and set CONVSWEEP_DATA_DIR=FOLDER")


def _of_files(data: DataConfig) -> Note:
    files, folder = data.files or {}, cache_dir(data)
    cached = [file for file in files.values() if (folder / file.name).is_file()]
    if damaged := [file.name for file in cached if sha256(folder / file.name) != file.sha256]:
        return Note(f"{data.name}: {printable(folder)} has {', '.join(damaged)} damaged; replaced when it is used next")
    if len(cached) == len(files):
        return Note(f"{data.name}: from the cache, {printable(folder)}")
    for place in _local_places(data):
        return Note(f"{data.name}: from {printable(place)}, checked by SHA-256 when it is used first")
    return _from_network(data)


def _local_places(data: DataConfig) -> Iterator[Path]:
    """Yield the folders, and Keras's archive, that have the whole set, in the order in which they are asked."""
    name = data.folder or data.name
    keras = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "datasets"
    names = [file.name for file in (data.files or {}).values()]
    own = [Path(data.dir).expanduser() / name] if data.dir else []
    for folder in (*own, keras / name, "/" / DEBIAN_DATASETS / name):
        if all((folder / each).is_file() or (folder / f"{each}.gz").is_file() for each in names):
            yield folder
        if folder == keras / name and data.keras_npz and (keras / data.keras_npz).is_file():
            yield keras / data.keras_npz


def _from_network(data: DataConfig) -> Note:
    sources = [f"downloaded from {printable(url)}" for url in data.urls]
    if data.debian_package and shutil.which("apt-get"):
        sources.append(f"fetched as Debian's package {data.debian_package}")
    if sources:
        return Note(f"{data.name}: to be {', or else '.join(sources)}; whether that answers is not asked here")
    return Note(f"{data.name}: not to be had; put it into FOLDER/{data.folder}/ and set CONVSWEEP_DATA_DIR=FOLDER")
