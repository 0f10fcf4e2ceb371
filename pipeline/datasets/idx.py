"""IDX files of unsigned bytes, the format of MNIST and its relatives."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np

from pipeline.datasets.cache import DataError
from pipeline.system.messages import printable


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
