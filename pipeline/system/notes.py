"""Notes of a check-up: what is so, and where that needs attention, what mends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pipeline.system.messages import masked, one_line


@dataclass(frozen=True)
class Note:
    """One finding.

    Attributes:
        text: What is so.
        mend: The command that mends it, or what else does; empty where nothing needs attention.
    """

    text: str
    mend: str = ""


Check = Callable[[], Iterator[Note]]


def notes_of(check: Check) -> list[Note]:
    """Return what a check finds; of one that fails, what it found before and why it failed."""
    found: list[Note] = []
    try:
        found.extend(check())  # which keeps what came before an error
    except Exception as error:  # whatever is broken, the other checks go on
        found.append(Note(f"this cannot be checked: {one_line(error)}", "mend that first, then ask again"))
    return [Note(masked(note.text), masked(note.mend)) for note in found]
