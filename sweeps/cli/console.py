"""What commands print, and their exit codes."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

from rich.console import Console

from pipeline.system.messages import masked, printable

if TYPE_CHECKING:
    from sweeps.sweep import Sweep
    from sweeps.sweep_result import SweepResult

DONE, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 130


class QuietConsole(Console):
    """A console that falls silent when its reader leaves, as in `| head -1`, instead of ending the training."""

    def on_broken_pipe(self) -> None:
        """Print nothing from now on."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def open_console() -> Console:
    """Return the console on stdout: 140 columns wide if that is no terminal."""
    console = QuietConsole(markup=False)  # do not parse [...] in names and messages as markup
    return console if console.is_terminal else QuietConsole(width=140, markup=False)


class _OnStderr(logging.Handler):
    """Prints lines for a person who waits on stderr, whatever that is at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        print(f"convsweep: {record.getMessage()}", file=sys.stderr, flush=True)


def print_what_is_logged() -> None:
    """Print what convsweep logs, once, on stderr."""
    logger = logging.getLogger("convsweep")
    logger.setLevel(logging.INFO)
    if not any(isinstance(handler, _OnStderr) for handler in logger.handlers):
        logger.addHandler(_OnStderr())


def complain(message: str, code: int) -> int:
    """Print an error on stderr, without passwords and control characters, and return `code`."""
    lines = "\n".join(printable(line) for line in masked(message).split("\n"))
    print(f"convsweep: {lines}", file=sys.stderr)
    return code


def show_plans(sweeps: list[Sweep], console: Console) -> int:
    """Print what launches of these sweeps would do; return the exit code."""
    from sweeps.execution.plan import print_plan

    for sweep in sweeps:
        print_plan(sweep, console)
    return DONE


def show_end(result: SweepResult, console: Console) -> int:
    """Print how a sweep ended; return the exit code."""
    for line in result.failures:
        console.print(masked(line), style="red", soft_wrap=True)
    is_served = result.sweep.store.is_server
    served = result.address if is_served else f"convsweep ui {result.sweep.name}\n  which serves {result.address}"
    line = f"to browse: {served}"
    console.print(line, soft_wrap=True, highlight=False)
    return FAILED if result.failures else DONE
