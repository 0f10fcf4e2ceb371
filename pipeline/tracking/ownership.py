"""Which process a RUNNING run belongs to, and whether that process is alive."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path


def owner() -> str:
    """Return host, process id and start time of this process, for the tag of a RUNNING run."""
    return f"{socket.gethostname()}:{os.getpid()}:{_start_time(os.getpid())}"


def is_alive(owner: str) -> bool:
    """Return whether the process of `owner` may still be alive; True on other hosts, which cannot be asked."""
    host, pid, start = owner.rsplit(":", 2)
    return host != socket.gethostname() or _start_time(int(pid)) == start


def machine() -> str:
    """Return what tells this machine, since it was started, and this container from all others.

    Host names do not: machines are cloned, and containers are given the same one. Where process ids are of another
    container, or of before a restart, a process cannot be asked whether it is alive.
    """
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return socket.gethostname()


def whose(owner: str) -> tuple[str, bool | None]:
    """Return an owner in words, and whether its process is alive; None on another host, which cannot be asked."""
    host, pid, _ = owner.rsplit(":", 2)
    is_here = host == socket.gethostname()
    return f"process {pid} on {host}", is_alive(owner) if is_here else None


def _start_time(pid: int) -> str:
    """Return when a process started, since process ids are reused; empty if there is none.

    On Linux in clock ticks since boot: the time of day jumps when the clock is set.
    """
    import psutil

    with suppress(OSError, psutil.Error):
        if Path("/proc/self/stat").exists():
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        return f"{psutil.Process(pid).create_time():.0f}"
    return ""
