"""A launch of a sweep: data, workers, leases, stores, parent run, and, whatever happens, their proper end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Console

from pipeline.config.checks import ConfigError
from pipeline.config.data import DataConfig
from pipeline.config.overrides import is_of_store
from pipeline.config.schema import RunConfig
from pipeline.datasets import dataset as data
from pipeline.datasets.cache import source_key
from pipeline.progress import ProgressReporter, report_on, waiting
from pipeline.system.messages import one_line
from pipeline.tracking.leases import Leases
from pipeline.tracking.params import rests
from pipeline.tracking.reader import as_text
from pipeline.tracking.retry import StoreError
from sweeps.backends.base import Backend
from sweeps.backends.choose import choose_backend
from sweeps.claims.words import plural
from sweeps.config.study import trained_with
from sweeps.execution.engine import Engine
from sweeps.execution.inspection import inspect_networks
from sweeps.execution.membership import Membership
from sweeps.execution.recorder import Recorder
from sweeps.execution.schedule import SweepRun
from sweeps.execution.signals import Interruption
from sweeps.results import COMMAND, Runs
from sweeps.search.history import History
from sweeps.search.proposers import Proposer
from sweeps.search.storage import has_study, open_study
from sweeps.sweep import Sweep, base_identity, duration
from sweeps.views import links, save_notes, save_sweep_views

if TYPE_CHECKING:
    from pipeline.tracking.reader import TrackedRun
    from pipeline.tracking.tracker import Tracker


Reporter = Callable[[], ProgressReporter]


class DataHashes:
    """SHA-256 of datasets, each fetched, checked and hashed once."""

    def __init__(self, console: Console, fetch: bool = True) -> None:
        """Hash nothing yet; `fetch=False` leaves files alone whose hash is in their config."""
        self.console, self.fetch = console, fetch
        self.by_source: dict[str, str] = {}

    def __call__(self, config: DataConfig) -> str:
        """Return the hash of a dataset's content.

        Raises:
            DataError: if the data cannot be had.
        """
        key = source_key(config)
        if key not in self.by_source:
            say = self.console.print
            self.by_source[key] = data.load(config, say).sha256 if self.fetch else data.data_sha256(config, say)
        return self.by_source[key]


@dataclass
class Session:
    """What the phases of a launch share.

    Attributes:
        sweep: What is launched.
        tracker, parent: Where it is tracked: the store, and the id of its parent run.
        history: What Optuna remembers of it.
        backend: Where it is trained.
        console: Shows what is done; quiet if nobody asks.
        data_sha256: Hashes of the data that it is trained on.
        reporter: Makes what shows progress.
        interruption: Whether the user wants it to end.
        address: MLflow's page of the sweep, while `convsweep ui` serves it.
        membership: This launch among others of the sweep, and what it holds of the store.
        runs: Runs of this launch by trial, those that were finished already included.
        errors: What failed beside the runs, a line each.
    """

    sweep: Sweep
    tracker: Tracker
    parent: str
    history: History
    backend: Backend
    console: Console
    data_sha256: DataHashes
    reporter: Reporter = ProgressReporter
    interruption: Interruption = field(default_factory=Interruption)
    address: str = ""
    membership: Membership = field(default_factory=Membership)
    runs: dict[str, list[SweepRun]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Look up what the sweep has finished already."""
        self.recorder = Recorder(self.sweep, self.tracker, self.parent, self.membership.leases)
        budget = self.sweep.config.budget
        limits = [self.sweep.limits.seconds, duration(budget) if budget else None]
        seconds = min((limit for limit in limits if limit is not None), default=None)
        self.deadline = None if seconds is None else time.monotonic() + seconds

    def train(self, proposer: Proposer, is_limited: bool = True) -> list[SweepRun]:
        """Train what the proposer proposes and is not finished; return all of its runs.

        Args:
            proposer: What gives the trials and their seeds.
            is_limited: Whether the sweep's time limits cut it off.

        Raises:
            KeyboardInterrupt: after Ctrl-C or SIGTERM; what is finished is recorded.
        """
        reporter = self.reporter()
        engine = Engine(
            self.sweep,
            proposer,
            self.backend,
            self.recorder,
            self.data_sha256,
            self.interruption,
            reporter,
            is_over=(lambda: self.is_over) if is_limited else (lambda: self.interruption.is_requested),
        )
        engine.add_listed()
        self._print_start(engine)
        try:
            with reporter:
                engine.run()
        finally:
            self.runs |= engine.trials.runs
        if left := engine.schedule.left:
            self.console.print(f"the time is up: {left} runs are left; the same command continues", style="yellow")
        return [run for runs in engine.trials.runs.values() for run in runs]

    def _print_start(self, engine: Engine) -> None:
        listed = [run for trial in engine.proposer.listed for run in engine.trials.runs[trial.label]]
        if listed:
            missing = [run.run.signature for run in listed if not run.is_done]
            distinct = len(set(missing))
            line = f"{len(listed)} runs, {len(listed) - len(missing)} known, {distinct} to train"
            equal = len(missing) - distinct
            line += f", {equal} equal to another here" if equal else ""
        else:
            total = self.sweep.limits.n_trials
            finished = self.history.counts.finished
            of = f" of {total}" if total and total >= finished else ""
            line = f"{finished}{of} trials known, {plural(len(engine.proposer.seeds), 'seed{s}')} each"
        self.console.print(f"{self.sweep.name}: {line}", soft_wrap=True)

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be started: the time is up, or there was a signal."""
        return self.interruption.is_requested or (self.deadline is not None and time.monotonic() >= self.deadline)

    @property
    def tracked(self) -> Runs:
        """Finished runs of this launch by trial and seed."""
        return {label: {run.seed: run.tracked for run in runs if run.tracked} for label, runs in self.runs.items()}

    @property
    def finished(self) -> list[tuple[RunConfig, TrackedRun]]:
        """Config and run of everything that is finished in this launch."""
        return [(run.run.composed, run.tracked) for runs in self.runs.values() for run in runs if run.tracked]

    @property
    def failed(self) -> list[SweepRun]:
        """Runs that failed for good."""
        return [run for runs in self.runs.values() for run in runs if run.failed]


@contextmanager
def open_session(
    sweep: Sweep, console: Console, reporter: Reporter | None = None, join: bool = False
) -> Iterator[Session]:
    """Open a launch of the sweep; close its parent run as what became of it, if no other launch works on it.

    Args:
        sweep: What to launch.
        console: Shows what is done.
        reporter: Makes what shows progress; None for the console.
        join: Work beside launches of the sweep that are running already.

    Raises:
        ConfigError: if the sweep is running already and not joined, or exists with another config.
        DataError: if the data cannot be had.
        StoreError: if the store fails.
    """
    try:
        hashes = DataHashes(console)
        for base in [sweep.config, *(trial.base for trial in sweep.trials or [])]:
            hashes(base.data)  # fetch data first
        # Workers start before Optuna and MLflow are imported: they have as much to import themselves.
        with choose_backend(sweep, console.print) as backend:
            with waiting(console, "starting the workers"):
                _inspect_new(sweep, hashes, backend)
            _ask_server(sweep)
            with Leases(sweep.store, f"sweep {sweep.name}") as leases:
                membership = Membership(sweep.name, leases)
                opening = membership.entered(join, is_search=sweep.trials is None, console_print=console.print)
                with waiting(console, "opening the store"), opening:
                    session = _open(
                        sweep, membership, backend, hashes, console, reporter or partial(report_on, console)
                    )
                with _parent_closed(session):
                    yield session
    except OSError as error:
        raise StoreError(f"the store {sweep.store.folder} fails: {one_line(error)}. {StoreError.advice}") from error


def _inspect_new(sweep: Sweep, hashes: DataHashes, backend: Backend) -> None:
    """Build the networks of the user's own that were never trained; raises as `inspect_networks`."""
    from pipeline.tracking.tracker import existing_tracker

    own = [config for config in sweep.examples() if config.model.builder is not None]
    tracker = existing_tracker(sweep.store) if own else None
    inspect_networks(own, hashes, backend, is_known=tracker.was_trained if tracker else lambda cost_key: False)


def _ask_server(sweep: Sweep) -> None:
    """Raise UnopenedStoreError if MLflow's server is away, or may not be written, before anything is created elsewhere.

    Nor is anything created on it if Optuna's database is away.
    """
    if sweep.store.tracking_uri is None:
        return
    from pipeline.tracking.tracker import Tracker

    tracker = Tracker(sweep.store)
    if sweep.store.is_server:
        has_study(sweep)
        tracker.experiment(sweep.name)


def _open(
    sweep: Sweep, membership: Membership, backend: Backend, hashes: DataHashes, console: Console, reporter: Reporter
) -> Session:
    from pipeline.tracking.tracker import Tracker

    sweep = trained_with(sweep, backend.resources.precision)
    history = History(open_study(sweep), sweep)
    tracker = Tracker(sweep.store)
    tracker.launch = membership.leases.tag
    tracker.close_abandoned()
    command = json.dumps([word for word in sweep.command if not is_of_store(word)])
    tags = {"convsweep.seeds": str(sweep.config.seeds), COMMAND: command}
    tracker.restore(sweep.name, console.print)
    base = {key: as_text(value) for key, value in base_identity(sweep.config).items() if not rests(key, value)}
    parent = tracker.open_sweep(sweep.name, tags, base)
    address = save_sweep_views(sweep, tracker, parent)
    note = f"{links(sweep, tracker, parent, has_report=False)}\n\n{sweep.description}"
    save_notes(sweep, tracker, parent, note, sweep.description)
    return Session(
        sweep, tracker, parent, history, backend, console, hashes, reporter, address=address, membership=membership
    )


@contextmanager
def _parent_closed(session: Session) -> Iterator[None]:
    """Close the parent run, with the reason if what is inside fails, unless other launches go on with the sweep."""

    def leave(status: str, reason: str) -> None:
        session.membership.leave(lambda: session.tracker.close(session.parent, status, reason))

    try:
        yield
    except BaseException as error:
        killed = isinstance(error, KeyboardInterrupt | ConfigError)
        with suppress(Exception):  # the store itself may be what failed; the next launch closes what is left open
            leave("KILLED" if killed else "FAILED", one_line(error))
        raise
    failed = len(session.failed)
    leave("FAILED" if failed else "FINISHED", f"{failed} runs failed" if failed else "")
