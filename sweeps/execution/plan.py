"""What a sweep would do, and how long it would take, before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from pipeline.models import layers as model
from pipeline.progress import waiting
from pipeline.system.hardware import cores
from pipeline.training.cost import START_SECONDS, expected_seconds, seconds_at
from pipeline.training.identity import ResolvedRun, resolve
from pipeline.training.inspection import Inspection
from sweeps.backends.base import Resources
from sweeps.backends.local import LocalBackend, local_resources
from sweeps.claims.words import plural
from sweeps.execution.inspection import inspect_networks
from sweeps.execution.session import DataHashes
from sweeps.search.history import History
from sweeps.search.space import Space, Value
from sweeps.search.storage import has_study, open_study
from sweeps.sweep import Sweep, duration

if TYPE_CHECKING:
    from pipeline.tracking.tracker import Tracker

NOT_EXTENDED = "optimizer.schedule=cosine: a run with another number of epochs is trained from the first, not extended"
# Of more rows, so many of the first and of the last are printed.
SHOWN = (20, 5)


def print_plan(sweep: Sweep, console: Console) -> None:
    """Print every config that would run, what is known, and the expected time. Write nothing.

    Raises:
        ConfigError: if a launch would be refused.
        DataError: if the data cannot be had.
    """
    from pipeline.tracking.tracker import existing_tracker

    tracker = existing_tracker(sweep.store)
    is_here = sweep.config.backend.name == "local"  # elsewhere it is not known what trainer.precision=auto means
    finished = (
        History(open_study(sweep, "plan" if is_here else "report"), sweep).counts.finished if has_study(sweep) else 0
    )
    resources = local_resources(sweep)
    hashes = DataHashes(Console(quiet=True), fetch=False)
    with waiting(console, "building and timing the networks"):
        inspected = _inspected(sweep, hashes, resources.threads)
    times = _Times(tracker, resources.threads, inspected)
    table = Table(title=f"{sweep.name}: {sweep.description}", title_justify="left")
    if sweep.trials is None:
        lines = _plan_search(sweep, finished, times, resources, table)
    else:
        lines = _plan_grid(sweep, tracker, times, hashes, resources, table)
    console.print(table)
    if not is_here:
        lines.append(
            f"backend={sweep.config.backend.name} was not asked: {_workers(resources, resources.workers)} with "
            f"{resources.threads} thread{'s' * (resources.threads > 1)} each are assumed, as fast as this machine"
        )
    for line in [*lines, "dry run: nothing was trained"]:
        console.print(line, highlight=False)


def in_words(seconds: float) -> str:
    """Return a duration as a person says it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class _Times:
    """Expected seconds of runs: from earlier ones that were equally expensive, else from their arithmetic."""

    def __init__(self, tracker: Tracker | None, threads: int, inspections: Mapping[str, Inspection]) -> None:
        self.tracker, self.threads, self.inspections = tracker, threads, inspections
        self.measured: dict[str, float | None] = {}  # seconds per epoch by cost key

    def of(self, run: ResolvedRun) -> float:
        """Return the expected seconds of one run."""
        if run.cost_key not in self.measured:
            earlier = self.tracker.epoch_times(run.cost_key, self.threads) if self.tracker else []
            self.measured[run.cost_key] = median(seconds / n for seconds, n in earlier) if earlier else None
        per_epoch = self.measured[run.cost_key]
        if per_epoch is not None:
            return per_epoch * run.config.trainer.epochs
        if run.layers is not None:
            return expected_seconds(run.config, run.layers)
        return seconds_at(self.inspections[run.cost_key].seconds_per_step or 0, run.config)

    def parameters(self, run: ResolvedRun) -> int:
        """Return the number of parameters of a run's network."""
        return model.total_params(self.inspections[run.cost_key].layers if run.layers is None else run.layers)

    @property
    def source(self) -> str:
        """What the times are from."""
        measured = sum(seconds is not None for seconds in self.measured.values())
        if measured == len(self.measured):
            return "from earlier runs"
        rest = "from five steps of each" if self.inspections else "from the arithmetic: within a factor of two"
        return f"{measured} of {len(self.measured)} configs from earlier runs, else {rest}" if measured else rest


def _inspected(sweep: Sweep, hashes: DataHashes, threads: int) -> dict[str, Inspection]:
    """Build and time the networks that only Keras knows, if there are any, in a worker."""
    configs = [config for config in sweep.examples() if config.model.builder is not None]
    if not configs:
        return {}
    with LocalBackend(Resources(1, threads), sweep.config.workers_max_memory) as backend:
        return inspect_networks(configs, hashes, backend, timed=True)


def _plan_grid(
    sweep: Sweep, tracker: Tracker | None, times: _Times, hashes: DataHashes, resources: Resources, table: Table
) -> list[str]:
    """Fill the table with a row per config; return what is to be said below it."""
    for name in ("config", "overrides", "parameters", "known", "to train", "per run"):
        table.add_column(name, justify="left" if name in ("config", "overrides") else "right")
    rows: list[tuple[str, ...]] = []
    seen: set[str] = set()
    tracked = equal = 0
    seconds: list[float] = []  # of every run to train
    further: list[float] = []  # of those that later looks may ask for
    first = sweep.looks[0]
    for trial in sweep.trials or []:
        sha256 = hashes(trial.base.data)
        seeds = sweep.seeds if trial.label in sweep.claimed else sweep.seeds[:first]
        every = [resolve(trial.config(seed), sha256, resources.threads) for seed in seeds]
        runs, later = every[:first], [run.signature for run in every[first:]]
        new = [run.signature for run in runs if run.signature not in seen]
        reused = [signature for signature in new if tracker and tracker.find_finished(signature)]
        seen.update(new)
        missing, each = len(new) - len(reused), times.of(runs[0])
        tracked, equal = tracked + len(reused), equal + len(runs) - len(new)
        seconds += [each] * missing
        further += [each for signature in later if not (tracker and tracker.find_finished(signature))]
        cells = (trial.label, " ".join(trial.overrides), f"{times.parameters(runs[0]):,}")
        rows.append((*cells, str(len(reused)), str(missing), in_words(each)))
    shown = rows if len(rows) <= sum(SHOWN) else [*rows[: SHOWN[0]], ("...",), *rows[-SHOWN[1] :]]
    for row in shown:
        table.add_row(*row)
    lines = []
    if len(rows) > sum(SHOWN):
        lines.append(f"{len(rows):,} configs, of which the first {SHOWN[0]} and the last {SHOWN[1]} are shown")
    duplicates = f", {equal} equal to another here" if equal else ""
    wall = sum(seconds) / parallel(resources.workers, len(seconds)) + (START_SECONDS if seconds else 0)
    lines.append(
        f"{len(seconds)} runs to train, {tracked} known{duplicates}; {_workers(resources, len(seconds))}, "
        f"expected time {in_words(wall)} ({times.source})"
    )
    if further:
        most = wall + sum(further) / parallel(resources.workers, len(further))
        lines.append(
            f"this is the first look, at {first} seeds; claims that it leaves open need at most {len(further)} runs "
            f"more, up to {sweep.looks[-1]} seeds: {in_words(most)} in all"
        )
    if any(trial.base.optimizer.depends_on_epochs for trial in sweep.trials or []):
        lines.append(NOT_EXTENDED)
    if sweep.config.budget is not None and wall > duration(sweep.config.budget):
        lines.append(f"budget={sweep.config.budget} is not enough: what it cuts off, the same command continues")
    return lines


def _plan_search(sweep: Sweep, finished: int, times: _Times, resources: Resources, table: Table) -> list[str]:
    """Fill the table with a row per parameter; return what is to be said below it."""
    assert sweep.space is not None
    for name in ("parameter", "values", "when"):
        table.add_column(name)
    for parameter in sweep.space.parameters:
        values = parameter.values
        kind = ("whole numbers, " if parameter.whole else "") + ("logarithmic" if parameter.log else "")
        listed = _listed(values) if values is not None else f"{parameter.low:g} to {parameter.high:g} {kind}"
        table.add_row(parameter.key, listed, " and ".join(f"{c.key}{c.op}{c.value}" for c in parameter.when))
    size = sweep.space.size(sweep.base_value)
    most = f"up to {sweep.space.most_points:,.0f}" if sweep.space.is_countable else "infinitely many"
    points = most if size is None else f"{size:,}"
    objectives = " and ".join(f"{direction} {metric}" for metric, direction in sweep.objectives.items())
    lines = [f"{points} points; {objectives}; sampler {sweep.sampler}, pruner {sweep.pruner}"]
    if finished:
        lines.append(f"{finished} trials are known and count towards the total")
    schedules = {sweep.config.optimizer.schedule, *_values(sweep.space, "optimizer.schedule")}
    if "cosine" in schedules:
        lines.append(NOT_EXTENDED)
    (example,) = sweep.examples()
    first = resolve(example, "", resources.threads)
    each = times.of(first)
    if sweep.limits.n_trials:
        runs = max(0, sweep.limits.n_trials - finished) * len(sweep.seeds)
        wall = in_words(runs * each / parallel(resources.workers, runs) + START_SECONDS)
        seeds = plural(len(sweep.seeds), "seed{s}")
        lines.append(
            f"{sweep.limits.n_trials} trials x {seeds}; the first point has "
            f"{times.parameters(first):,} parameters and takes {in_words(each)} per run;\n"
            f"{_workers(resources, runs)}, about {wall} without pruning ({times.source})"
        )
    return lines


def _values(space: Space, key: str) -> Sequence[Value]:
    """Return the values of a key that a space varies by a list of them."""
    return next((parameter.values or () for parameter in space.parameters if parameter.key == key), ())


def _listed(values: Sequence[Value]) -> str:
    """Return values in a line: all, or of many the first and the last."""
    words = [str(value) for value in values]
    if len(words) > sum(SHOWN):
        words = [*words[: SHOWN[0]], "...", *words[-SHOWN[1] :], f"({len(values):,} values)"]
    return ", ".join(words)


def _workers(resources: Resources, runs: int) -> str:
    workers = max(1, min(resources.workers, runs))
    return "1 worker" if workers == 1 else f"{workers} workers"


def parallel(workers: int, runs: int) -> float:
    """Return how many runs' worth of time alone goes by at once: workers share memory, and the parent needs some."""
    return max(1.0, 0.9 * min(workers, cores(), max(runs, 1)))
