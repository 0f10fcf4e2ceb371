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

from pipeline.models.layers import layers
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


def time_epochs(
    trials: Sequence[Trial], timing: TimingConfig, tracker: Tracker, parent: str, console: Console
) -> dict[str, list[float]]:
    """Return seconds per epoch of every trial, round by round: those tracked with the sweep, or measured now.

    They are measured again if the configs, the machine or the rounds differ from those of the tracked ones.

    Args:
        trials: The trials to compare.
        timing: Rounds, and training examples of a timed epoch.
        tracker, parent: Where they are tracked: as a file of the sweep's parent run.
        console: Shows the progress.
    """
    if not trials:
        return {}
    bases = [trial.base for trial in trials]  # threads that suit the smallest network:
    threads = min(suitable_threads(base.trainer, layers(base.model, base.data)) for base in bases)
    runs = {trial.label: _timed(trial, timing, threads) for trial in trials}
    machine = {"processor": hardware.processor(), "threads": threads}
    subject = machine | asdict(timing) | {"work": {label: run.cost_key for label, run in runs.items()}}
    if _tracked(tracker, parent).get("of") != subject:
        seconds = _measure(runs, timing.rounds, threads, console)
        tracker.write_file(parent, FILE, json.dumps({"of": subject, "seconds": seconds}, indent=2))
    return tracked_timings(trials, tracker, parent)


def tracked_timings(trials: Sequence[Trial], tracker: Tracker, parent: str) -> dict[str, list[float]]:
    """Return seconds per epoch of every trial, round by round, as tracked with the sweep; empty if none are."""
    seconds = _tracked(tracker, parent).get("seconds")
    return {trial.label: seconds.get(trial.label, []) for trial in trials} if seconds else {}


def _tracked(tracker: Tracker, parent: str) -> dict[str, Any]:
    """Return the tracked file; nothing if it is damaged."""
    try:
        content = json.loads(tracker.read_file(parent, FILE) or "{}")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _timed(trial: Trial, timing: TimingConfig, threads: int) -> ResolvedRun:
    """Return the trial's run as it is timed: few examples, nothing evaluated."""
    base = trial.base
    trainer = replace(base.trainer, epochs=EPOCHS, evaluate_test=False, train_eval_size=1, stop_at_accuracy=None)
    data = replace(base.data, limit=min(timing.examples, base.data.train_size), val_fraction=0.0, train_fraction=1.0)
    optimizer = replace(base.optimizer, warmup_epochs=0.0)  # which may be longer than the epochs that are timed
    return resolve(replace(base, data=data, optimizer=optimizer, trainer=trainer, seed=0), "", threads)


def _measure(runs: dict[str, ResolvedRun], rounds: int, threads: int, console: Console) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {label: [] for label in runs}
    labels, failed = list(runs), set[str]()
    # Each round begins with another trial, so that none always follows the same one.
    order = [labels[(place + turn) % len(labels)] for turn in range(rounds) for place in range(len(labels))]
    with LocalBackend(Resources(1, threads), max_memory=float("inf")) as backend:
        for label in track(order, f"timing {len(runs)} configs side by side", console=console, transient=True):
            if label in failed:
                continue
            backend.start(Job(label, runs[label]))
            try:
                seconds[label].append(_seconds(backend))
            except TrainingError as error:
                failed.add(label)
                seconds[label].clear()
                console.print(f"timing {label} failed: {error}", style="red", soft_wrap=True)
    return seconds


def _seconds(backend: Backend) -> float:
    """Return the seconds of the last epoch of the run that the backend trains."""
    while True:
        for key, message in backend.messages(1.0):
            if isinstance(message, Epoch):
                backend.answer(key, go_on=True)
            elif isinstance(message, Done):
                return message.result.final["seconds_per_epoch"]
            elif isinstance(message, Failed):
                raise TrainingError(message.reason)
