"""Progress of runs: bars in a terminal, one line per epoch elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class Watch(Protocol):
    """Someone who is told how runs go. `run` is the run's name."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def on_total(self, runs: int) -> None:
        """So many runs are to be trained in all."""

    def on_counts(self, told: str) -> None:
        """What became of the trials so far, in one line."""

    def on_steps(self, run: str, epochs: int, epoch: int, step: int, steps: int, metrics: dict[str, float]) -> None:
        """Run is at `step` of `steps` in `epoch` of `epochs`, with these running metrics."""

    def on_epoch(self, run: str, epochs: int, epoch: int, metrics: dict[str, float]) -> None:
        """Run has finished an epoch, with these metrics."""

    def on_end(self, run: str, how: str, again: bool = False) -> None:
        """Run has ended: `finished`, or why not; and whether it is tried again."""


def watch(console: Console) -> Watch:
    """Bars where `console` is a terminal, plain lines where it is a file or a pipe."""
    return _Bars(console) if console.is_terminal else _Lines(console)


def silent() -> Watch:
    """Tells nobody."""
    return _Lines(Console(quiet=True))


class _Lines:
    """One plain line per epoch, at most about twenty per run."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.ended = self.total = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def on_total(self, runs: int) -> None:
        self.total = runs
        self.ended = 0

    def on_counts(self, told: str) -> None:
        self._print(f"trials: {told}")

    def on_steps(self, run: str, epochs: int, epoch: int, step: int, steps: int, metrics: dict[str, float]) -> None:
        return None

    def on_epoch(self, run: str, epochs: int, epoch: int, metrics: dict[str, float]) -> None:
        if epoch == epochs or epoch % max(1, epochs // 20) == 0:
            self._print(f"{run}: epoch {epoch}/{epochs} {_told(metrics)}")

    def on_end(self, run: str, how: str, again: bool = False) -> None:
        self.ended += not again
        count = f" ({self.ended} of {self.total} runs)" if self.total > 1 else ""
        self._print(f"{run}: {how}{count}")

    def _print(self, line: str) -> None:
        self.console.print(line, soft_wrap=True, highlight=False, markup=False)


class _Bars:
    """One bar per running run (epoch, step, metrics, time left), and one over all runs where there are several."""

    def __init__(self, console: Console) -> None:
        columns = [
            TextColumn("{task.description}"),
            BarColumn(20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[told]}"),
        ]
        self.progress = Progress(*columns, TimeRemainingColumn(), console=console)
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
            self.all_runs = self.progress.add_task("all runs", total=runs, told="")

    def on_counts(self, told: str) -> None:
        if self.all_runs is not None:
            self.progress.update(self.all_runs, told=told)

    def on_steps(self, run: str, epochs: int, epoch: int, step: int, steps: int, metrics: dict[str, float]) -> None:
        if run not in self.tasks:
            self.tasks[run] = self.progress.add_task(run, total=epochs * steps, told="")
        told = f"epoch {epoch}/{epochs} {_told(metrics)}"
        self.progress.update(self.tasks[run], completed=(epoch - 1) * steps + step, told=told)

    def on_epoch(self, run: str, epochs: int, epoch: int, metrics: dict[str, float]) -> None:
        if run in self.tasks:
            self.progress.update(self.tasks[run], told=f"epoch {epoch}/{epochs} {_told(metrics)}")

    def on_end(self, run: str, how: str, again: bool = False) -> None:
        if run in self.tasks:
            self.progress.remove_task(self.tasks.pop(run))
        self.progress.console.print(f"{run}: {how}", highlight=False, markup=False)
        if self.all_runs is not None and not again:
            self.progress.advance(self.all_runs)


def _told(metrics: dict[str, float]) -> str:
    """Metrics in one line: `train loss .2981 accuracy .8901, test ...`."""
    parts: dict[str, list[str]] = {}
    for name, value in sorted(metrics.items(), key=lambda item: item[0].endswith("accuracy")):
        part, _, metric = name.partition("/")
        parts.setdefault(part, []).append(f"{metric} {value:.4f}")
    order = [part for part in ("train", "val", "test") if part in parts]
    return ", ".join(f"{part} {' '.join(parts[part])}" for part in order)
