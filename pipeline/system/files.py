"""Files as users have them: their names printed without control characters, opened only where they are regular."""

from __future__ import annotations

import stat
from pathlib import Path


def printable(text: object) -> str:
    r"""Return `text` with all that is no printable character escaped, as \x1b.

    A file's name may hold line breaks, codes that steer a terminal, and bytes that no terminal can be sent.
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))


def require_regular(path: Path) -> None:
    """Raise OSError unless `path` is a regular file, or leads to one: opening a FIFO would wait for ever."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError("it is no regular file")


def reason(error: BaseException) -> str:
    """Return what went wrong in a line, without the file's name, which the caller tells."""
    said = getattr(error, "strerror", None) or getattr(error, "reason", None) or str(error) or type(error).__name__
    return printable(reason(said) if isinstance(said, BaseException) else str(said).strip().partition("\n")[0])
