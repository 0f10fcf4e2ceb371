"""What a sweep would do, and how long it would take, before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from pipeline.config.schema import ConfigError, RunConfig
from pipeline.datasets import dataset as data
from pipeline.datasets.download import source_key
from pipeline.models import layers as model
from pipeline.system.hardware import cores
from pipeline.training.cost import START_SECONDS, expected_seconds
from pipeline.training.identity import resolve
from sweeps.backends.local import Shape, shape
from sweeps.search.space import Value
from sweeps.sweep import Sweep, Trial, duration

if TYPE_CHECKING:
    from pipeline.tracking.tracker import Tracker
    from sweeps.execution.engine import Unit


# Of more rows, so many of the first and of the last are printed.
SHOWN = (20, 5)


def print_plan(sweep: Sweep, description: str, console: Console) -> int:
    """Print every config that would run, what is known, and the expected time; the exit code. Writes nothing."""
    from pipeline.tracking.tracker import existing_tracker

    tracker = existing_tracker(sweep.store)
    known, has = _known_trials(sweep), shape(sweep)
    times = _Times(tracker, has.threads)
    if sweep.trials is None:
        _print_space(sweep, description, known, times, has, console)
    else:
        _print_grid(sweep, description, tracker, times, has, console)
    console.print("dry run: nothing was trained")
    return 0


def refuse_over_budget(sweep: Sweep, queue: list[Unit], tracker: Tracker) -> None:
    """Raise ConfigError where the queued runs of a grid are expected to take longer than the sweep's budget."""
    if sweep.config.budget is None or sweep.trials is None or not queue:
        return
    has = shape(sweep)
    times = _Times(tracker, has.threads)
    if missed := _missed_budget(sweep, [times.of(unit.config) for unit in queue], has):
        raise ConfigError(missed)


def _missed_budget(sweep: Sweep, runs: list[float], has: Shape) -> str:
    """What is wrong where runs of so many seconds each take longer than the budget; empty where they do not."""
    needed = sum(runs) / _parallel(has, len(runs))
    if sweep.config.budget is None or needed <= duration("budget", sweep.config.budget):
        return ""
    return (
        f"budget={sweep.config.budget} is not enough: {len(runs)} runs need about {told(needed)} on "
        f"{_workers(has, len(runs))}. Raise the budget, or ask for fewer seeds or epochs"
    )


def told(seconds: float) -> str:
    """A duration as a person says it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class _Times:
    """Expected wall times of runs: from earlier ones of the same work and threads, else from the arithmetic."""

    def __init__(self, tracker: Tracker | None, threads: int) -> None:
        self.tracker, self.threads = tracker, threads
        self._known: dict[str, float | None] = {}

    def of(self, config: RunConfig) -> float:
        """Expected seconds of one run."""
        key = resolve(config, "").cost_key
        if key not in self._known:
            self._known[key] = self._look_up(key)
        if (per_epoch := self._known[key]) is not None:
            return per_epoch * config.trainer.epochs
        return expected_seconds(replace(config, trainer=replace(config.trainer, threads=self.threads)))

    @property
    def source(self) -> str:
        """What the times are from."""
        measured = sum(known is not None for known in self._known.values())
        if measured == len(self._known):
            return "from earlier runs"
        told = "from the arithmetic: within a factor of two"
        return f"{measured} of {len(self._known)} configs from earlier runs, else {told}" if measured else told

    def _look_up(self, key: str) -> float | None:
        """Median seconds per epoch of earlier runs, with all that a run does beside; None without any."""
        runs = self.tracker.epoch_times(key, self.threads) if self.tracker else []
        return median(seconds / epochs for seconds, epochs in runs) if runs else None


def _print_grid(
    sweep: Sweep, description: str, tracker: Tracker | None, times: _Times, has: Shape, console: Console
) -> None:
    out = Table(title=f"{sweep.name}: {description}", title_justify="left")
    for name in ("config", "overrides", "parameters", "known", "to train", "per run"):
        out.add_column(name, justify="left" if name in ("config", "overrides") else "right")
    rows: list[tuple[str, ...]] = []
    hashes: dict[str, str] = {}
    seen: set[str] = set()
    runs, known, equal = 0, 0, 0
    times_of_runs: list[float] = []
    for trial in sweep.trials or []:
        source = source_key(trial.base.data)
        if source not in hashes:
            hashes[source] = data.data_sha256(trial.base.data)
        signatures = [resolve(trial.config(seed), hashes[source]).signature for seed in sweep.seeds]
        new = [s for s in signatures if s not in seen]
        tracked = {s for s in new if tracker and tracker.find_finished(s)}
        seen |= set(signatures)
        missing, each = len(new) - len(tracked), times.of(trial.base)
        known, equal, runs = known + len(tracked), equal + len(signatures) - len(new), runs + missing
        times_of_runs += [each] * missing
        row = (trial.label, " ".join(trial.overrides), _parameters(trial), str(len(tracked)), str(missing), told(each))
        rows.append(row)
    for cells in rows if len(rows) <= sum(SHOWN) else [*rows[: SHOWN[0]], ("...",), *rows[-SHOWN[1] :]]:
        out.add_row(*cells)
    console.print(out)
    if len(rows) > sum(SHOWN):
        console.print(f"{len(rows):,} configs, of which the first {SHOWN[0]} and the last {SHOWN[1]} are shown")
    duplicates = f", {equal} equal to another here" if equal else ""
    wall = told(sum(times_of_runs) / _parallel(has, runs) + (START_SECONDS if runs else 0))
    console.print(
        f"{runs} runs to train, {known} known{duplicates}; {_workers(has, runs)}, "
        f"expected time {wall} ({times.source})",
        highlight=False,
    )
    if missed := _missed_budget(sweep, times_of_runs, has):
        console.print(missed, style="red", soft_wrap=True, highlight=False)


def _print_space(sweep: Sweep, description: str, known: int, times: _Times, has: Shape, console: Console) -> None:
    assert sweep.space is not None
    out = Table(title=f"{sweep.name}: {description}", title_justify="left")
    for name in ("parameter", "values", "when"):
        out.add_column(name)
    for parameter in sweep.space.parameters:
        values = parameter.values
        kind = ("whole numbers, " if parameter.whole else "") + ("logarithmic" if parameter.log else "")
        shown = _listed(values) if values is not None else f"{parameter.low:g} to {parameter.high:g} {kind}"
        out.add_row(parameter.key, shown, " and ".join(f"{c.key}{c.op}{c.value}" for c in parameter.when))
    console.print(out)
    size = sweep.space.size(sweep.base_value)
    console.print(
        f"{'infinitely many' if size is None else f'{size:,}'} points; objectives {sweep.objectives}, "
        f"sampler {sweep.sampler}, pruner {sweep.pruner}",
        highlight=False,
    )
    if known:
        console.print(f"{known} trials are known and count towards the total", highlight=False)
    base = Trial("base", (), {}, sweep.config)
    each = times.of(base.base)
    if sweep.limits.n_trials:
        runs = max(0, sweep.limits.n_trials - known) * len(sweep.seeds)
        wall = told(runs * each / _parallel(has, runs) + START_SECONDS)
        console.print(
            f"{sweep.limits.n_trials} trials x {len(sweep.seeds)} seeds; the base config has {_parameters(base)} "
            f"parameters and takes {told(each)} per run;\n{_workers(has, runs)}, about {wall} without pruning "
            f"({times.source})",
            highlight=False,
        )


def _known_trials(sweep: Sweep) -> int:
    """Trials that count already; raises ConfigError where a launch would be refused. Writes nothing."""
    from sweeps.search.optuna_study import Study, is_known

    return Study(sweep, "plan").counts.finished if is_known(sweep) else 0


def _parameters(trial: Trial) -> str:
    return f"{model.total_params(model.layers(trial.base)):,}"


def _listed(values: Sequence[Value]) -> str:
    """Values in a line: all, or where they are many the first and the last."""
    words = [str(value) for value in values]
    if len(words) > sum(SHOWN):
        words = [*words[: SHOWN[0]], "...", *words[-SHOWN[1] :], f"({len(values):,} values)"]
    return ", ".join(words)


def _workers(has: Shape, runs: int) -> str:
    workers = max(1, min(has.workers, runs))
    return "1 worker" if workers == 1 else f"{workers} workers"


def _parallel(has: Shape, runs: int) -> float:
    """How many runs' worth of time alone goes by at once: workers share memory, and the parent needs some."""
    return max(1.0, 0.9 * min(has.workers, cores(), max(runs, 1)))
