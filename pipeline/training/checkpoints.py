"""A training's state on disk by what it trains and by epoch: it continues instead of beginning again.

A chain is what all runs share that differ in nothing but when they stop (`signature.chain`), and that trained with as
many threads. A checkpoint of it is one file, EPOCH.ckpt: the SHA-256 of what follows, then arrays and history as an
uncompressed NumPy archive. A file that is damaged, or half written, is noticed by its hash and ignored.
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


class Chain:
    """The checkpoints of one chain, in one folder."""

    def __init__(self, folder: Path) -> None:
        """Nothing is made before the first checkpoint is saved."""
        self.folder = folder

    def save(self, checkpoint: Checkpoint) -> Path:
        """Write a checkpoint, whole or not at all; its file."""
        told = {"history": checkpoint.history, "seconds": checkpoint.seconds}
        buffer = io.BytesIO()
        arrays = {f"v{number}": array for number, array in enumerate(checkpoint.arrays)}
        np.savez(buffer, told=np.array(json.dumps(told)), **arrays)  # type: ignore[arg-type]
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
        """A new file of the folder, which another process that frees the disk may delete as long as it is empty."""
        while True:
            self.folder.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                return fresh.open("wb")

    def latest(self, up_to: int) -> Checkpoint | None:
        """The checkpoint of the highest epoch that is not above `up_to`; damaged ones are deleted and passed over."""
        for epoch in sorted(self.epochs(), reverse=True):
            if epoch <= up_to and (found := self._read(epoch)):
                return found
        return None

    def epochs(self) -> list[int]:
        """Epochs that have a file."""
        return [int(path.stem) for path in self.folder.glob("*.ckpt") if path.stem.isdigit()]

    def path(self, epoch: int) -> Path:
        """The file of an epoch's checkpoint."""
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
            os.utime(self.path(epoch))  # used now: what was used longest ago is freed first
        with np.load(io.BytesIO(memoryview(content)[DIGEST:]), allow_pickle=False) as archive:
            told = json.loads(str(archive["told"]))
            arrays = [archive[f"v{number}"] for number in range(len(archive.files) - 1)]
        return Checkpoint(epoch, arrays, told["history"], told["seconds"])


def free(folder: Path, keep: float, but: Iterable[Path] = ()) -> tuple[int, int]:
    """Delete checkpoints, those used longest ago first, until they fill at most `keep` GiB.

    Args:
        folder: The folder of all chains.
        keep: GiB that may stay.
        but: Folders of chains that are left alone: they are being trained.

    Returns:
        Files deleted, and the bytes that they held.
    """
    safe = set(but)
    files = list(_files(folder))
    total, count, freed = sum(stat.st_size for stat, _ in files), 0, 0
    for stat, path in sorted(files, key=lambda pair: pair[0].st_mtime):
        if total - freed <= keep * GIB:
            break
        if path.parent in safe:
            continue
        with suppress(OSError):
            path.unlink()
            count, freed = count + 1, freed + stat.st_size
            path.parent.rmdir()  # where it was the last
    return count, freed


def _files(folder: Path) -> Iterator[tuple[os.stat_result, Path]]:
    """All files of all chains, and what is known of them; those that other processes delete meanwhile are left out."""
    for chain in folder.glob("*"):
        with suppress(OSError):
            for path in chain.iterdir():
                with suppress(FileNotFoundError):
                    yield path.stat(), path
