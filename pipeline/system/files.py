"""Files of users: opened only where they are regular."""

from __future__ import annotations

import stat
from pathlib import Path


def require_regular(path: Path) -> None:
    """Raise OSError unless `path` is a regular file, or leads to one: opening a FIFO would wait for ever."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError("it is no regular file")
