"""Whose report is made, and where it goes: printed, written into the store, and logged on the sweep's parent run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console

from pipeline.tracking.locks import locked
from pipeline.tracking.reader import TrackedRun
from pipeline.tracking.retry import StoreError
from pipeline.tracking.tracker import Tracker
from pipeline.tracking.views import run_path
from sweeps.results import TrialResult
from sweeps.sweep import Sweep

# Held while files under reports/ are replaced: several processes may report on one store. No sweep can be called so.
LOCK = ".reports"
# The folder of all reports in a store: one folder per sweep, and the index over them.
REPORTS = "reports"


@dataclass(frozen=True)
class ReportContext:
    """Whose results are published, and where.

    `draw_grid` is `sweeps.search.optuna_figures.draw_grid`.
    """

    sweep: Sweep
    tracker: Tracker
    parent: str
    console: Console
    draw_grid: Callable[[Sequence[TrialResult], Sweep, Path], list[str]]

    def link(self, run: TrackedRun) -> str:
        """Return the address of a run's page: the server's, or where `convsweep ui` serves it."""
        return f"{self.sweep.store.pages}{run_path(run)}"

    def say(self, text: str, style: str | None = None) -> None:
        """Print a line as it is."""
        self.console.print(text, style=style, soft_wrap=True, highlight=False, markup=False)

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """Give an empty folder for the sweep's files, which then replaces the one before and is logged.

        Raises:
            StoreError: if the files cannot be written, as on a full disk.
        """
        place = self.sweep.store.folder / REPORTS / self.sweep.name
        folder = place.with_name(f".{self.sweep.name}.{os.getpid()}")
        try:
            _remove_leftovers(place)
            folder.mkdir(parents=True)
            yield folder
            self.tracker.log_files(self.parent, sorted(folder.iterdir()))
            with locked(self.sweep.store, LOCK):
                shutil.rmtree(place, ignore_errors=True)
                folder.rename(place)
        except OSError as error:
            raise StoreError(
                f"the report {place} cannot be written: {error.strerror or error}. Everything trained is tracked; once "
                f"this is mended, convsweep report {self.sweep.name} writes it"
            ) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)  # is there only if something went wrong
        self.say(f"report: {place / 'report.html'}")


def _remove_leftovers(place: Path) -> None:
    """Remove what processes that are gone have left of reports they did not finish."""
    for folder in place.parent.glob(f".{place.name}.*"):
        pid = folder.suffix.removeprefix(".")
        if pid.isdigit() and (int(pid) == os.getpid() or not psutil.pid_exists(int(pid))):
            shutil.rmtree(folder, ignore_errors=True)
