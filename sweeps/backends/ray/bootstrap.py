"""The actor class, pickled by value: a worker's machine needs nothing of ours but what this unpacks.

Only Python's own library is imported here.
"""

from __future__ import annotations

import io
import os
import shutil
import stat
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any


class Bootstrap:
    """An actor that unpacks the parent's code, and then is what `sweeps.backends.ray.worker.Worker` is."""

    def __init__(self, code: bytes, digest: str, folder: str | None, path: list[str], settings: dict[str, Any]) -> None:
        """Unpack and start the worker, whose TensorFlow is imported meanwhile.

        Args:
            code: A zip file of packages and modules.
            digest: Its SHA-256, in hexadecimal.
            folder: Where to unpack it; None for a folder of this user's, where other launches find it unpacked.
            path: The parent's `sys.path`, for what is not in the zip file; entries that are not here do no harm.
            settings: Arguments of `Worker`.
        """
        own = _unpacked(code, Path(folder) if folder else _folder_of_user(), digest)
        sys.path[:] = [str(own), *sys.path, *(entry for entry in path if entry not in sys.path)]
        from sweeps.backends.ray.worker import Worker

        self.worker = Worker(**settings)

    def hello(self) -> Any:
        """Return what there is to compute with here."""
        return self.worker.hello()

    def begin(self, job: bytes, luggage: Any, source: str, dataset: Any) -> None:
        """Begin a job; see `Worker.begin`."""
        self.worker.begin(job, luggage, source, dataset)

    def talk(self, answer: bool | None, begun: None = None) -> Any:
        """Hand an answer on; return what is said next. Fails if `begun`, a call of `begin`, has failed."""
        return self.worker.talk(answer)


def _folder_of_user() -> Path:
    """Return a folder for code that only this user can write to."""
    folder = Path(tempfile.gettempdir()) / f"convsweep-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    told = folder.lstat()
    if not stat.S_ISDIR(told.st_mode) or told.st_uid != os.getuid() or told.st_mode & 0o022:
        raise PermissionError(f"{folder} is not a folder of this user's alone: delete it")
    return folder


def _unpacked(code: bytes, folder: Path, digest: str) -> Path:
    """Return the folder in which the code is, unpacked once per machine."""
    ready = folder / digest
    if not ready.is_dir():
        fresh = Path(tempfile.mkdtemp(dir=folder))
        zipfile.ZipFile(io.BytesIO(code)).extractall(fresh)
        try:
            fresh.rename(ready)
        except OSError:  # another worker of this machine was quicker
            shutil.rmtree(fresh)
            if not ready.is_dir():
                raise
    return ready
