"""The actor class, pickled by value: a worker's machine needs nothing of ours but what this unpacks.

Only Python's own library is imported here, and Ray, which is there.
"""

from __future__ import annotations

import io
import os
import shutil
import stat
import sys
import tempfile
import time
import traceback
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

UNUSED_SECONDS = 7 * 24 * 3600  # after which the code of a launch is deleted


class Bootstrap:
    """An actor that unpacks the parent's code, and then is what `sweeps.backends.ray.worker.Worker` is."""

    def __init__(self, code: bytes, digest: str, folder: str | None, path: list[str], settings: dict[str, Any]) -> None:
        """Unpack and start the worker, whose TensorFlow is imported meanwhile; `hello` tells if that fails.

        Args:
            code: A zip file of packages and modules.
            digest: Its SHA-256, in hexadecimal.
            folder: Where to unpack it; None for a folder of this user's, where other launches find it unpacked.
            path: The parent's `sys.path`, for what is not in the zip file; entries that are not here do no harm.
            settings: Arguments of `Worker`.
        """
        self.trouble = ""
        try:
            self.folder = _unpacked(code, Path(folder) if folder else _folder_of_user(), digest)
            if not folder:
                _delete_unused(self.folder.parent)
            sys.path[:] = [str(self.folder), *sys.path, *(entry for entry in path if entry not in sys.path)]
            from sweeps.backends.ray.worker import Worker

            self.worker = Worker(**settings)
        except Exception:  # raised from here, it would not say on which node
            self.trouble = traceback.format_exc()

    def is_placed(self) -> bool:
        """Return that this has a place on a node, before TensorFlow is imported."""
        return True

    def hello(self) -> Any:
        """Return what there is to compute with here, or this node, its host and why there is no worker on it."""
        if self.trouble:
            import ray

            return ray.get_runtime_context().get_node_id(), os.uname().nodename, self.trouble
        return self.worker.hello()

    def begin(self, job: bytes, luggage: Any, source: str, dataset: Any) -> None:
        """Begin a job; see `Worker.begin`."""
        self.worker.begin(job, luggage, source, dataset)

    def talk(self, answer: bool | None, begun: None = None) -> Any:
        """Hand an answer on; return what is said next. Fails if `begun`, a call of `begin`, has failed."""
        with suppress(OSError):  # it may have been cleaned away; what runs is imported
            os.utime(self.folder)  # it is in use
        return self.worker.talk(answer)


def _folder_of_user() -> Path:
    """Return a folder for code that only this user can write to."""
    folder = Path(tempfile.gettempdir()) / f"convsweep-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise PermissionError(f"{folder} is not a folder of this user's alone: delete it")
    return folder


def _unpacked(code: bytes, folder: Path, digest: str) -> Path:
    """Return the folder in which the code is, unpacked once per machine."""
    ready = folder / digest
    if ready.is_dir():
        os.utime(ready)
    else:
        fresh = Path(tempfile.mkdtemp(dir=folder))
        zipfile.ZipFile(io.BytesIO(code)).extractall(fresh)
        try:
            fresh.rename(ready)
        except OSError:  # another worker of this machine was quicker
            shutil.rmtree(fresh)
            if not ready.is_dir():
                raise
    return ready


def _delete_unused(folder: Path) -> None:
    """Delete the code of launches whose workers have said nothing for a week."""
    for each in folder.iterdir():
        try:
            if time.time() - each.stat().st_mtime > UNUSED_SECONDS:
                shutil.rmtree(each, ignore_errors=True)
        except FileNotFoundError:  # another worker was quicker
            continue
