"""Checkpoints on disk, keyed by resume key and epoch.

A `CheckpointStore` holds the checkpoints of all runs that differ in nothing but when they stop. A checkpoint is one
file, EPOCH.ckpt: the SHA-256 of what follows, then arrays and history as an uncompressed NumPy archive. A file that is
damaged, or half written, is noticed by its hash and ignored.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pipeline.config.schema import StoreConfig

GIB = 2**30
DIGEST = 32


@dataclass(frozen=True)
class Checkpoint:
    """The state after an epoch.

    Attributes:
        epoch: Epochs trained.
        arrays: Values of all variables of model and optimizer, random generators included, in their order.
        history: Per metric its value after each epoch so far.
        seconds: Wall time of each epoch so far.
    """

    epoch: int
    arrays: list[np.ndarray]
    history: dict[str, list[float]]
    seconds: list[float]


def folder_of(store: StoreConfig) -> Path:
    """Return the folder of all checkpoints of a store."""
    return store.folder / "checkpoints"


class CheckpointStore:
    """The checkpoints of one resume key, in one folder, which is made with the first of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, checkpoint: Checkpoint) -> Path:
        """Write a checkpoint atomically and return its path."""
        curves = {"history": checkpoint.history, "seconds": checkpoint.seconds}
        buffer = io.BytesIO()
        arrays = {f"v{number}": array for number, array in enumerate(checkpoint.arrays)}
        np.savez(buffer, told=np.array(json.dumps(curves)), **arrays)  # type: ignore[arg-type]
        content = buffer.getbuffer()
        fresh = self.folder / f".{checkpoint.epoch}.{os.getpid()}"
        path = self.path(checkpoint.epoch)
        try:
            with self._opened(fresh) as file:
                file.write(hashlib.sha256(content).digest())
                file.write(content)
            with suppress(FileNotFoundError):  # freed by another process as soon as written
                fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)  # only there where writing has failed
        return path

    def _opened(self, fresh: Path) -> BinaryIO:
        """Open a new file; another process that frees the disk may delete the folder while it is empty."""
        while True:
            self.folder.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                return fresh.open("wb")

    def latest(self, up_to: int) -> Checkpoint | None:
        """Return the checkpoint of the highest epoch up to `up_to`; delete damaged ones on the way."""
        for epoch in sorted(self.epochs(), reverse=True):
            if epoch <= up_to and (checkpoint := self._read(epoch)):
                return checkpoint
        return None

    def epochs(self) -> list[int]:
        """Return the epochs that have a file."""
        return [int(path.stem) for path in self.folder.glob("*.ckpt") if path.stem.isdigit()]

    def path(self, epoch: int) -> Path:
        """Return the path of an epoch's checkpoint."""
        return self.folder / f"{epoch}.ckpt"

    def remove(self, epoch: int) -> None:
        """Delete an epoch's checkpoint, if there is one."""
        with suppress(OSError):
            self.path(epoch).unlink(missing_ok=True)

    def _read(self, epoch: int) -> Checkpoint | None:
        try:
            content = self.path(epoch).read_bytes()
        except OSError:  # another process has just removed it
            return None
        if hashlib.sha256(memoryview(content)[DIGEST:]).digest() != content[:DIGEST]:
            self.remove(epoch)
            return None
        with suppress(OSError):
            os.utime(self.path(epoch))  # least recently used files are freed first
        with np.load(io.BytesIO(memoryview(content)[DIGEST:]), allow_pickle=False) as archive:
            curves = json.loads(str(archive["told"]))
            arrays = [archive[f"v{number}"] for number in range(len(archive.files) - 1)]
        return Checkpoint(epoch, arrays, curves["history"], curves["seconds"])


class NoCheckpoints(CheckpointStore):
    """Keeps nothing: `checkpoints.max_gib=0`."""

    def __init__(self) -> None:
        super().__init__(Path())

    def save(self, checkpoint: Checkpoint) -> Path:
        """Write nothing."""
        return self.folder

    def epochs(self) -> list[int]:
        """Return no epoch."""
        return []

    def remove(self, epoch: int) -> None:
        """Delete nothing."""


def free(folder: Path, max_gib: float, in_use: Iterable[Path] = ()) -> tuple[int, int]:
    """Delete checkpoints that are too many; return their number, and the bytes that they held.

    Args:
        folder: The folder of all checkpoints of a store.
        max_gib: GiB that may stay.
        in_use: Folders of resume keys that are being trained; they are left alone.
    """
    count, freed = 0, 0
    for path, size in too_many(folder, max_gib, in_use):
        with suppress(OSError):
            path.unlink()
            count, freed = count + 1, freed + size
            path.parent.rmdir()  # succeeds if it was the last
    return count, freed


def too_many(folder: Path, max_gib: float, in_use: Iterable[Path] = ()) -> list[tuple[Path, int]]:
    """Return the checkpoints without which the others fill at most `max_gib` GiB, least recently used first.

    Each comes with its bytes; arguments are those of `free`.
    """
    safe, files, chosen = set(in_use), list(_files(folder)), list[tuple[Path, int]]()
    left = sum(stat.st_size for stat, _ in files)
    for stat, path in sorted(files, key=lambda pair: pair[0].st_mtime):
        if left <= max_gib * GIB:
            break
        if path.parent not in safe:
            chosen.append((path, stat.st_size))
            left -= stat.st_size
    return chosen


def size_of(folder: Path) -> int:
    """Return the bytes that all checkpoints of a store fill."""
    return sum(stat.st_size for stat, _ in _files(folder))


def _files(folder: Path) -> Iterator[tuple[os.stat_result, Path]]:
    """Yield all files with their stat, without those that other processes delete meanwhile."""
    for each in folder.glob("*"):
        with suppress(OSError):
            for path in each.iterdir():
                with suppress(FileNotFoundError):
                    yield path.stat(), path
