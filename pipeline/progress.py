"""Progress of runs: bars in a terminal, one line per run elsewhere, or nothing."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column

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

    def on_total(self, runs: int, done: int) -> None:
        """There are so many runs in all, and so many are done already."""

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


def report_on(console: Console, verbose: bool = False) -> ProgressReporter:
    """Return bars in a terminal or a notebook, plain lines for a file or a pipe, nothing for a quiet console.

    Args:
        console: Where to show progress.
        verbose: Whether lines tell of every epoch, not of every run alone.
    """
    if console.quiet:
        return ProgressReporter()
    if console.is_jupyter:
        return _NotebookBars()
    return _Bars(console) if console.is_terminal else _Lines(console, verbose)


@contextmanager
def waiting(console: Console, text: str) -> Iterator[None]:
    """Show in a terminal that something is waited for, and nothing elsewhere."""
    if console.quiet or not console.is_terminal:
        yield
        return
    with console.status(text):
        yield


class _Printing(ProgressReporter):
    """Prints a line for each run that ends, and for each change of whom runs wait for."""

    def __init__(self, console: Console) -> None:
        self.console, self.elsewhere = console, list[str]()
        self.total = self.done = 0
        self.last: dict[str, str] = {}  # what each run has reached

    def on_total(self, runs: int, done: int) -> None:
        self.total, self.done = runs, done

    def on_epoch(self, run: str, epochs: int, epoch: int, metrics: dict[str, float]) -> None:
        self.last[run] = _in_short(metrics)

    def on_end(self, run: str, outcome: str, again: bool = False) -> None:
        self.done += not again
        reached = self.last.pop(run, "")
        count = f" ({self.done}/{self.total} runs)" if self.total > 1 else ""
        self._print(f"{run}: {outcome}{f', {reached}' if reached else ''}{count}")

    def on_elsewhere(self, runs: int, by: list[str]) -> None:
        if by != self.elsewhere and by:
            self._print(f"{runs} runs wait, as another launch trains them: {', '.join(by)}")
        self.elsewhere = by

    def _print(self, line: str) -> None:
        self.console.print(line, soft_wrap=True, highlight=False, markup=False)


class _Lines(_Printing):
    """Lines of plain text; with a single run, or if `verbose`, at most about twenty on the epochs of each."""

    def __init__(self, console: Console, verbose: bool) -> None:
        super().__init__(console)
        self.verbose = verbose

    def on_epoch(self, run: str, epochs: int, epoch: int, metrics: dict[str, float]) -> None:
        super().on_epoch(run, epochs, epoch, metrics)
        is_shown = epoch == epochs or epoch % max(1, epochs // 20) == 0
        if is_shown and (self.verbose or self.total <= 1):
            self._print(f"{run}: epoch {epoch}/{epochs} {_in_a_line(metrics)}")


class _Bars(_Printing):
    """One bar per running run (epoch, metrics, time left), and one over all runs if there are several.

    What matters stands first: a narrow terminal cuts off ends of names and texts, never a bar or a time.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        name, text = (Column(ratio=ratio, no_wrap=True, overflow="ellipsis") for ratio in (4, 6))
        self.progress = Progress(
            TextColumn("{task.description}", markup=False, table_column=name),
            BarColumn(None, table_column=Column(ratio=2, min_width=6)),
            TextColumn("{task.fields[text]}", markup=False, table_column=text),
            TimeRemainingColumn(compact=True, table_column=Column(min_width=5, no_wrap=True)),
            console=console,
            expand=True,
        )
        self.tasks: dict[str, TaskID] = {}
        self.all_runs: TaskID | None = None
        self.counts = ""

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def on_total(self, runs: int, done: int) -> None:
        super().on_total(runs, done)
        if runs > 1:
            self.all_runs = self.progress.add_task("all runs", total=runs, completed=done, text="")
            self._show_all()

    def on_counts(self, summary: str) -> None:
        self.counts = summary
        self._show_all()

    def on_steps(self, run: str, epochs: int, epoch: int, step: int, steps: int, metrics: dict[str, float]) -> None:
        if run not in self.tasks:
            name, _, seed = run.rpartition(" ")
            self.tasks[run] = self.progress.add_task(f"{seed} {name}".strip(), total=epochs * steps, text="")
        text = f"epoch {epoch}/{epochs} {self.last.get(run) or _in_short(metrics)}"
        self.progress.update(self.tasks[run], completed=(epoch - 1) * steps + step, text=text)

    def on_epoch(self, run: str, epochs: int, epoch: int, metrics: dict[str, float]) -> None:
        super().on_epoch(run, epochs, epoch, metrics)
        if run in self.tasks:
            self.progress.update(self.tasks[run], text=f"epoch {epoch}/{epochs} {self.last[run]}")

    def on_end(self, run: str, outcome: str, again: bool = False) -> None:
        if run in self.tasks:
            self.progress.remove_task(self.tasks.pop(run))
        super().on_end(run, outcome, again)
        self._show_all()

    def _show_all(self) -> None:
        if self.all_runs is not None:
            text = f"{self.done}/{self.total} runs{f', {self.counts}' if self.counts else ''}"
            self.progress.update(self.all_runs, completed=self.done, text=text)


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


def _in_short(metrics: dict[str, float]) -> str:
    """Return what matters of an epoch's metrics: `test .9028 train .9422`, of a regression `loss test .0012 ...`."""
    quantity = "accuracy" if any(name.endswith("/accuracy") for name in metrics) else "loss"
    values = ((part, metrics.get(f"{part}/{quantity}")) for part in ("test", "val", "train"))
    joined = " ".join(f"{part} {short_number(value)}" for part, value in values if value is not None)
    return joined if quantity == "accuracy" else f"loss {joined}"


def short_number(value: float) -> str:
    """Return a number with four digits after the point, and none before it if that is 0: `.9028`."""
    return f"{value:.4f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.4f}"


def _in_a_line(metrics: dict[str, float]) -> str:
    """Return metrics in one line: `train loss .2981 accuracy .8901, test ...`."""
    parts: dict[str, list[str]] = {}
    for name, value in sorted(metrics.items(), key=lambda item: item[0].endswith("accuracy")):
        part, _, metric = name.partition("/")
        parts.setdefault(part, []).append(f"{metric} {value:{'.3g' if metric == 'learning_rate' else '.4f'}}")
    order = [part for part in ("train", "val", "test") if part in parts]
    return ", ".join(f"{part} {' '.join(parts[part])}" for part in order)
