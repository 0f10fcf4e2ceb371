"""The base of all errors that a user can meet."""

from __future__ import annotations


class ConvsweepError(Exception):
    """An error of convsweep's own: its message says what was wrong and what to do."""
