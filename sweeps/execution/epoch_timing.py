"""Seconds per epoch measured side by side: one worker, the configs in turn, several rounds.

A sweep's own seconds per epoch are taken while runs share the machine, at different times of the day: they are no
evidence for "trains more slowly". These are.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from rich.console import Console
from rich.progress import track

from pipeline.system import hardware
from pipeline.tracking.tracker import Tracker
from pipeline.training.cost import suitable_threads
from pipeline.training.identity import ResolvedRun, resolve
from pipeline.training.result import TrainingError
from sweeps.backends.base import Backend, Done, Epoch, Failed, Job, Resources
from sweeps.backends.local import LocalBackend
from sweeps.config.ablation import TimingConfig
from sweeps.sweep import Trial

FILE = "timings.json"
# The first epoch also traces the model and is not counted.
EPOCHS = 2


def tracked_timings(trials: Sequence[Trial], tracker: Tracker, parent: str) -> dict[str, list[float]]:
    """Return seconds per epoch of every trial, round by round, as kept with the sweep; empty if none are."""
    seconds = _kept(tracker, parent).get("seconds")
    return {trial.label: seconds.get(trial.label, []) for trial in trials} if seconds else {}


def timings(
    trials: Sequence[Trial], timing: TimingConfig, tracker: Tracker, parent: str, console: Console
) -> dict[str, list[float]]:
    """Seconds per epoch of every trial, round by round: those kept with the sweep, or measured now and kept.

    Measured again where the configs, the code, the machine or the rounds are others than those of the kept ones.

    Args:
        trials: The trials to compare.
        timing: Rounds, and training examples of a timed epoch.
        tracker, parent: Where they are kept: as a file of the sweep's parent run.
        console: Shows the progress.
    """
    if not trials:
        return {}
    key = _key(trials, timing)
    kept = _kept(tracker, parent)
    if kept.get("seconds") and kept["of"] == key:
        return {trial.label: kept["seconds"].get(trial.label, []) for trial in trials}
    seconds = _measure(trials, timing, console)
    tracker.write_file(parent, FILE, json.dumps({"of": key, "seconds": seconds}, indent=2))
    return seconds


def _kept(tracker: Tracker, parent: str) -> dict[str, Any]:
    """What was kept; nothing where that is damaged."""
    try:
        told = json.loads(tracker.read_file(parent, FILE) or "{}")
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _key(trials: Sequence[Trial], timing: TimingConfig) -> dict[str, object]:
    """What the timings are of."""
    machine = {"processor": hardware.processor(), "threads": _threads(trials)}
    return machine | asdict(timing) | {"work": {trial.label: _timed(trial, timing, 1).cost_key for trial in trials}}


def _threads(trials: Sequence[Trial]) -> int:
    """Threads for all alike: as many as the smallest network's steps keep busy; more would hold it up."""
    return min(suitable_threads(trial.base) for trial in trials)


def _timed(trial: Trial, timing: TimingConfig, threads: int) -> ResolvedRun:
    """The trial's run as it is timed: few examples, nothing evaluated."""
    base = trial.base
    trainer = replace(base.trainer, epochs=EPOCHS, evaluate_test=False, train_eval_size=1, stop_at_accuracy=None)
    data = replace(base.data, limit=min(timing.examples, base.data.train_size), val_fraction=0.0, train_fraction=1.0)
    return resolve(replace(base, data=data, trainer=trainer, seed=0), "", threads)


def _measure(trials: Sequence[Trial], timing: TimingConfig, console: Console) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {trial.label: [] for trial in trials}
    # Each round begins with another trial, so that none always follows the same one.
    order = [trials[(place + turn) % len(trials)] for turn in range(timing.rounds) for place in range(len(trials))]
    told = f"timing {len(trials)} configs side by side"
    with LocalBackend(Resources(1, _threads(trials)), max_memory=float("inf")) as backend:
        failed: set[str] = set()
        for trial in track(order, told, console=console, transient=True):
            if trial.label in failed:
                continue
            backend.start(Job(trial.label, _timed(trial, timing, _threads(trials))))
            try:
                seconds[trial.label].append(_seconds(backend, trial))
            except TrainingError as error:
                failed.add(trial.label)
                seconds[trial.label].clear()
                console.print(str(error), style="red", soft_wrap=True)
    return seconds


def _seconds(backend: Backend, trial: Trial) -> float:
    """Seconds of the last epoch of the run that the backend trains."""
    while True:
        for key, message in backend.messages(1.0):
            if isinstance(message, Epoch):
                backend.answer(key, go_on=True)
            elif isinstance(message, Done):
                return message.result.final["seconds_per_epoch"]
            elif isinstance(message, Failed):
                raise TrainingError(f"timing {trial.label} failed: {message.reason}")
