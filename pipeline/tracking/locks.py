"""Locks of a store: what one process at a time may do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from pipeline.config.schema import StoreConfig
from pipeline.system.messages import one_line
from pipeline.tracking.retry import UnopenedStoreError


@contextmanager
def locked(store: StoreConfig, name: str, timeout: float = -1) -> Iterator[None]:
    """Hold the store's lock `name`; wait `timeout` seconds for it, without end if that is negative.

    Raises:
        filelock.Timeout: if another process holds it for longer.
        UnopenedStoreError: if the lock cannot be had at all.
    """
    path = store.folder / "locks" / f"{name}.lock"
    lock = FileLock(path, timeout)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise
    except OSError as error:
        raise UnopenedStoreError(f"the store {store.folder} cannot be used: {one_line(error)} ({path})") from error
    try:
        yield
    finally:
        lock.release()
