"""What commands print, and their exit codes."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import sys
from collections.abc import Callable
from functools import partial
from io import TextIOWrapper
from typing import TYPE_CHECKING

from rich.console import Console

from pipeline.config.overrides import in_store
from pipeline.progress import ProgressReporter, report_on
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


def open_console(quiet: bool = False) -> Console:
    """Return the console on stdout: if that is no terminal, 140 columns wide or as wide as COLUMNS says."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # of other encodings than UTF-8: ? for what they lack
    console = QuietConsole(markup=False, quiet=quiet)  # do not parse [...] in names and messages as markup
    if console.is_terminal or "COLUMNS" in os.environ:
        return console
    return QuietConsole(width=140, markup=False, quiet=quiet)


class _OnStderr(logging.Handler):
    """Prints lines for a person who waits on stderr, whatever that is at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        print(f"convsweep: {record.getMessage()}", file=sys.stderr, flush=True)


def print_what_is_logged(quiet: bool = False) -> None:
    """Print what convsweep logs, once, on stderr; warnings alone if `quiet`."""
    logger = logging.getLogger("convsweep")
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    if not any(isinstance(handler, _OnStderr) for handler in logger.handlers):
        logger.addHandler(_OnStderr())


def complain(message: str, code: int) -> int:
    """Print an error on stderr, without passwords and control characters, and return `code`."""
    lines = "\n".join(printable(line) for line in masked(message).split("\n"))
    print(f"convsweep: {lines}", file=sys.stderr)
    return code


def is_agreed(question: str, console: Console) -> bool:
    """Return whether a person at the terminal agrees; True where there is none to ask."""
    if console.quiet or not (console.is_terminal and sys.stdin.isatty()):
        return True
    from rich.prompt import Confirm

    return Confirm.ask(question, console=console, default=False)


def reporter_of(arguments: argparse.Namespace, console: Console) -> Callable[[], ProgressReporter]:
    """Return what makes the display of a sweep's progress."""
    return partial(report_on, console, arguments.verbose)


def show_plans(sweeps: list[Sweep], console: Console) -> int:
    """Print what launches of these sweeps would do; return the exit code."""
    from sweeps.execution.plan import print_plan

    for sweep in sweeps:
        print_plan(sweep, console)
    return DONE


def show_start(sweep: Sweep, console: Console) -> None:
    """Print what a sweep is and where its results go, before anything heavy is imported."""
    console.print(f"{sweep.name}: {sweep.description}", soft_wrap=True, highlight=False)
    console.print(f"results go to {sweep.store.place}", soft_wrap=True, highlight=False)


def show_end(result: SweepResult, console: Console) -> int:
    """Print how a sweep ended; return the exit code."""
    for line in result.failures:
        console.print(masked(line), style="red", soft_wrap=True)
    file = result.report.with_name("best.yaml")
    again = [f"  to train it again: convsweep train --from {shlex.quote(str(file))}"] if file.exists() else []
    store = result.sweep.store
    ui = in_store(f"convsweep ui {result.sweep.name}", store.root)
    served = result.address if store.is_server else f"{ui}\n  which serves {result.address}"
    console.print(result.headline, highlight=False)
    for line in [*again, f"to browse: {served}"]:
        console.print(line, soft_wrap=True, highlight=False)
    return FAILED if result.failures else DONE
