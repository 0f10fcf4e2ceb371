"""Progress of runs: bars in a terminal, one line per epoch elsewhere, or nothing."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

NOTEBOOK_WIDTH = 110  # characters
REFRESH_SECONDS = 0.3  # of a notebook's output


class ProgressReporter:
    """Shows nothing; base of those that do. `run` is a run's name."""

    def __enter__(self) -> Self:
        """Begin to show."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End showing."""

    def on_total(self, runs: int) -> None:
        """So many runs are to be trained in all."""

    def on_counts(self, summary: str) -> None:
        """Counts of trials by outcome have changed."""

    def on_steps(self, run: str, epochs: int, epoch: int, step: int, steps: int, metrics: dict[str, float]) -> None:
        """Run is at `step` of `steps` in `epoch` of `epochs`, with these running metrics."""

    def on_epoch(self, run: str, epochs: int, epoch: int, metrics: dict[str, float]) -> None:
        """Run has finished an epoch, with these metrics."""

    def on_elsewhere(self, runs: int, by: list[str]) -> None:
        """So many runs wait for other launches, `by` which they are trained; called over and over, also with none."""

    def on_end(self, run: str, outcome: str, again: bool = False) -> None:
        """Run has ended: `finished`, or why not; and whether it is trained again."""


def report_on(console: Console) -> ProgressReporter:
    """Return bars in a terminal or a notebook, plain lines for a file or a pipe, nothing for a quiet console."""
    if console.quiet:
        return ProgressReporter()
    if console.is_jupyter:
        return _NotebookBars()
    return _Bars(console) if console.is_terminal else _Lines(console)


@contextmanager
def waiting(console: Console, text: str) -> Iterator[None]:
    """Show in a terminal that something is waited for, and nothing elsewhere."""
    if console.quiet or not console.is_terminal:
        yield
        return
    with console.status(text):
        yield


class _Printing(ProgressReporter):
    """Prints lines, one for each change of whom runs wait for."""

    def __init__(self, console: Console) -> None:
        self.console, self.elsewhere = console, list[str]()

    def on_elsewhere(self, runs: int, by: list[str]) -> None:
        if by != self.elsewhere and by:
            self._print(f"{runs} runs wait, as another launch trains them: {', '.join(by)}")
        self.elsewhere = by

    def _print(self, line: str) -> None:
        self.console.print(line, soft_wrap=True, highlight=False, markup=False)


class _Lines(_Printing):
    """One plain line per epoch, at most about twenty per run."""

    ended = total = 0

    def on_total(self, runs: int) -> None:
        self.total, self.ended = runs, 0

    def on_counts(self, summary: str) -> None:
        self._print(f"trials: {summary}")

    def on_epoch(self, run: str, epochs: int, epoch: int, metrics: dict[str, float]) -> None:
        if epoch == epochs or epoch % max(1, epochs // 20) == 0:
            self._print(f"{run}: epoch {epoch}/{epochs} {_in_a_line(metrics)}")

    def on_end(self, run: str, outcome: str, again: bool = False) -> None:
        self.ended += not again
        count = f" ({self.ended} of {self.total} runs)" if self.total > 1 else ""
        self._print(f"{run}: {outcome}{count}")


class _Bars(_Printing):
    """One bar per running run (epoch, step, metrics, time left), and one over all runs if there are several."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        bars = [TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn()]
        self.progress = Progress(*bars, TextColumn("{task.fields[text]}"), TimeRemainingColumn(), console=console)
        self.tasks: dict[str, TaskID] = {}
        self.all_runs: TaskID | None = None

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def on_total(self, runs: int) -> None:
        if runs > 1:
            self.all_runs = self.progress.add_task("all runs", total=runs, text="")

    def on_counts(self, summary: str) -> None:
        if self.all_runs is not None:
            self.progress.update(self.all_runs, text=summary)

    def on_steps(self, run: str, epochs: int, epoch: int, step: int, steps: int, metrics: dict[str, float]) -> None:
        if run not in self.tasks:
            self.tasks[run] = self.progress.add_task(run, total=epochs * steps, text="")
        text = f"epoch {epoch}/{epochs} {_in_a_line(metrics)}"
        self.progress.update(self.tasks[run], completed=(epoch - 1) * steps + step, text=text)

    def on_epoch(self, run: str, epochs: int, epoch: int, metrics: dict[str, float]) -> None:
        if run in self.tasks:
            self.progress.update(self.tasks[run], text=f"epoch {epoch}/{epochs} {_in_a_line(metrics)}")

    def on_end(self, run: str, outcome: str, again: bool = False) -> None:
        if run in self.tasks:
            self.progress.remove_task(self.tasks.pop(run))
        self._print(f"{run}: {outcome}")
        if self.all_runs is not None and not again:
            self.progress.advance(self.all_runs)


class _NotebookBars(_Bars):
    """The same bars as text in the output of a notebook's cell, in one place; rich's own need ipywidgets for that."""

    def __init__(self) -> None:
        from IPython.display import display

        file = io.StringIO()
        super().__init__(Console(file=file, width=NOTEBOOK_WIDTH, force_jupyter=False, color_system=None))
        self.file, self.shown, self.failed = file, 0.0, list[str]()
        show: Any = display
        self.handle = show({"text/plain": ""}, raw=True, display_id=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._show()

    def on_steps(self, run: str, epochs: int, epoch: int, step: int, steps: int, metrics: dict[str, float]) -> None:
        super().on_steps(run, epochs, epoch, step, steps, metrics)
        if time.monotonic() - self.shown > REFRESH_SECONDS:
            self._show()

    def on_end(self, run: str, outcome: str, again: bool = False) -> None:
        super().on_end(run, outcome, again)
        self.failed += [f"{run}: {outcome}"] if outcome.startswith("failed") else []
        self._show()

    def _show(self) -> None:
        """Replace what is shown."""
        self.shown = time.monotonic()
        self.file.seek(0)
        self.file.truncate()
        self.console.print(self.progress.get_renderable())
        bars = (line.rstrip() for line in self.file.getvalue().splitlines())
        self.handle.update({"text/plain": "\n".join([*self.failed, *bars])}, raw=True)


def _in_a_line(metrics: dict[str, float]) -> str:
    """Return metrics in one line: `train loss .2981 accuracy .8901, test ...`."""
    parts: dict[str, list[str]] = {}
    for name, value in sorted(metrics.items(), key=lambda item: item[0].endswith("accuracy")):
        part, _, metric = name.partition("/")
        parts.setdefault(part, []).append(f"{metric} {value:{'.3g' if metric == 'learning_rate' else '.4f'}}")
    order = [part for part in ("train", "val", "test") if part in parts]
    return ", ".join(f"{part} {' '.join(parts[part])}" for part in order)
