"""Files of users: opened only where they are regular; and who holds their locks."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from pipeline.system.messages import printable

LOCKS = Path("/proc/locks")


def require_regular(path: Path) -> None:
    """Raise OSError unless `path` is a regular file, or leads to one: opening a FIFO would wait for ever."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError("it is no regular file")


def holders(path: Path) -> list[str]:
    """Return the processes that hold a lock of a file, as `process 123 (convsweep ablate demo)`; empty where none is.

    From Linux's list of locks, without trying to take one; empty on other systems.
    """
    if not LOCKS.exists() or not path.exists():
        return []
    stat = path.stat()
    name = f"{os.major(stat.st_dev):02x}:{os.minor(stat.st_dev):02x}:{stat.st_ino}"
    fields = [line.split() for line in LOCKS.read_text().splitlines()]
    pids = {int(words[4]) for words in fields if len(words) >= 8 and words[1] != "->" and words[5] == name}
    return [_in_words(pid) for pid in sorted(pids)]


def _in_words(pid: int) -> str:
    import psutil

    try:
        command = " ".join(psutil.Process(pid).cmdline())[:100]
    except (psutil.Error, ValueError):  # in another container
        return "a process of another container" if pid <= 0 else f"process {pid}"
    return f"process {pid} ({printable(command)})"
