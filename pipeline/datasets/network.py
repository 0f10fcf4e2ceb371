"""Files from other machines: a download bounded in size and time, and a Debian package unpacked without root."""

from __future__ import annotations

import gzip
import math
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, Any
from urllib import request
from urllib.error import HTTPError

from pipeline.datasets.cache import Say
from pipeline.system.messages import printable, reason

SLOWEST = 16 * 2**10  # bytes per second; a download that is slower, on the whole, is given up
DEBIAN_SECONDS = 300  # for each of apt's commands


class UnusableError(Exception):
    """A source that is not there, or not what it should be; the message says why."""


class AwayError(UnusableError):
    """A server that does not answer, or too slowly, to be asked for the set's other files."""


def require_at_most(size: int, limit: int) -> None:
    """Raise UnusableError for a file of more than `limit` bytes."""
    if size > limit:
        raise UnusableError(f"too large: more than {limit:,} bytes, which is the most that it can have")


def decompressed(file: IO[bytes], limit: int) -> bytes:
    """The content of a gzip stream, of which no more is read than fits."""
    with gzip.GzipFile(fileobj=file) as stream:
        content = stream.read(limit + 1)
    require_at_most(len(content), limit)
    return content


class _Redirects(request.HTTPRedirectHandler):
    """Follows redirects without reading what comes with them, which may never end."""

    def redirect_request(self, req: request.Request, fp: IO[bytes], *rest: Any) -> request.Request | None:
        fp.close()
        return super().redirect_request(req, fp, *rest)


def _opener() -> request.OpenerDirector:
    """What opens http and https, through proxies and redirects, and nothing else: no file, no ftp."""
    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler,
        request.HTTPHandler,
        request.HTTPSHandler,
        _Redirects,
        request.HTTPDefaultErrorHandler,
        request.HTTPErrorProcessor,
        request.UnknownHandler,
    ):
        opener.add_handler(handler())
    return opener


class _Download(threading.Thread):
    """A download in a thread of its own: no time limit reaches looking up a name, or headers that drip.

    Attributes:
        received: What has come so far.
        size: What the server says will come, in bytes; None if it does not.
        error: Why it ended before that.
        abandoned: Set by whoever waits for it no longer.
    """

    def __init__(self, address: str, limit: int, timeout: float) -> None:
        super().__init__(daemon=True)
        self.address, self.limit, self.timeout = address, limit, timeout
        self.received = bytearray()
        self.size: int | None = None
        self.error: Exception | None = None
        self.abandoned = False

    def run(self) -> None:
        """Receive the body."""
        try:
            with _opener().open(self.address, timeout=self.timeout) as reply:
                self.size = reply.length
                require_at_most(self.size or 0, self.limit)
                while not self.abandoned and (part := reply.read1(2**16)):
                    self.received += part
                    require_at_most(len(self.received), self.limit)
        except HTTPError as error:
            error.close()
            self.error = UnusableError(str(error))
        except OSError as error:
            self.error = AwayError(reason(error))
        except Exception as error:
            self.error = error


def download(address: str, limit: int, timeout: float, say: Say) -> bytes:
    """The content of the file at `address`.

    Raises:
        AwayError: if nothing comes for `timeout` seconds, or less than SLOWEST on the whole.
        UnusableError: if it is cut off, larger than `limit`, or an error of the server.
    """
    from rich import get_console
    from rich.progress import Progress

    say(f"downloading {printable(address)}")
    transfer, started = _Download(address, limit, timeout), time.monotonic()
    transfer.start()
    try:
        with Progress(transient=True, disable=not get_console().is_terminal) as progress:
            task = progress.add_task(printable(address.rpartition("/")[2]), total=None)
            while transfer.is_alive():
                transfer.join(0.1)
                arrived, seconds = len(transfer.received), time.monotonic() - started
                progress.update(task, total=transfer.size, completed=arrived)
                if seconds > timeout + arrived / SLOWEST:
                    slow = (
                        f"too slow: {arrived:,} bytes in {seconds:.0f} s" if arrived else f"no answer in {timeout:g} s"
                    )
                    raise AwayError(slow)
    finally:
        transfer.abandoned = True
    if transfer.error:
        raise transfer.error
    if transfer.size is not None and len(transfer.received) != transfer.size:
        raise UnusableError(f"cut off after {len(transfer.received):,} of {transfer.size:,} bytes")
    return bytes(transfer.received)


def unpack_debian(package: str, target: Path, timeout: float, say: Say) -> None:
    """Fetch a Debian package and unpack it into `target`, without root, unless that was done for another file."""
    if target.exists():
        return
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise UnusableError("apt-get and dpkg-deb are not here (this is no Debian)")
    say(f"fetching Debian's package {package}")
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        patience = [f"Acquire::{scheme}::Timeout={math.ceil(timeout)}" for scheme in ("http", "https")]
        limits = [word for option in ("Acquire::Retries=1", *patience) for word in ("-o", option)]
        private = ["-o", f"Dir::State::lists={scratch}/lists", "-o", f"Dir::Cache={scratch}/cache"]
        try:
            _call(["apt-get", "download", *limits, package], Path(scratch))
        except UnusableError:  # no package lists on this machine, or old ones: fetch our own, which needs no root
            _call(["apt-get", "update", *limits, *private], Path(scratch))
            _call(["apt-get", "download", *limits, *private, package], Path(scratch))
        for archive in Path(scratch).glob("*.deb"):
            _call(["dpkg-deb", "-x", str(archive), "unpacked"], Path(scratch))
        (Path(scratch) / "unpacked").rename(target)


def _call(command: list[str], folder: Path) -> None:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=DEBIAN_SECONDS
    )
    if done.returncode:
        raise UnusableError(
            f"{' '.join(command[:2])} failed: {(done.stderr.strip() or str(done.returncode)).splitlines()[-1]}"
        )
