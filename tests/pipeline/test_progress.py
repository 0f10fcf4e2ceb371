"""What is shown while something is waited for."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from pipeline.progress import waiting


@pytest.mark.parametrize(
    ("terminal", "quiet", "shown"), [(True, False, True), (False, False, False), (True, True, False)]
)
def test_waiting_is_shown_in_a_terminal_alone(terminal: bool, quiet: bool, shown: bool) -> None:
    file = io.StringIO()
    with waiting(Console(file=file, force_terminal=terminal, quiet=quiet), "opening the store"):
        pass
    assert ("opening the store" in file.getvalue()) == shown
    assert shown or not file.getvalue()
