"""One run as a user asks for it: reuse an equal tracked run, or train and track, whatever happens."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Console

from pipeline.config.overrides import in_store, is_of_store, key_of, value_text
from pipeline.config.schema import RunConfig
from pipeline.datasets import dataset as data
from pipeline.progress import ProgressReporter, report_on, short_number
from pipeline.system.messages import one_line
from pipeline.system.tensorflow import start_tensorflow
from pipeline.tracking.reader import TrackedRun
from pipeline.training.checkpoints import folder_of, free
from pipeline.training.identity import ResolvedRun, recall, resolve
from pipeline.training.inspection import inspect
from pipeline.training.result import RunResult, TrainingError
from pipeline.training.trainer import OnEpoch, OnSteps, restore_model, train

if TYPE_CHECKING:
    import keras

    from pipeline.tracking.tracker import Tracker

EXPERIMENT = "train"
DRAWN = r"\d+\.\d{6,}(e[+-]?\d+)?"  # a number as samplers draw them
LOST = "this launch was suspended, or cut off from the store, and another may have taken the run over: start it again"
NO_CHECKPOINT = "no checkpoint of its last epoch is left, see checkpoints.max_gib"


class Trainer:
    """Trains runs and logs their models in this process; base of what does so in another."""

    def reporter(self, console: Console) -> ProgressReporter:
        """Return what shows progress."""
        return report_on(console)

    def inspect(self, run: ResolvedRun) -> None:
        """Build the network of the user's own once. Raise ConfigError if that fails."""
        inspect(run)

    def train(self, run: ResolvedRun, on_epoch: OnEpoch, on_steps: OnSteps, dataset: data.Dataset) -> RunResult:
        """Train a run, from its newest checkpoint on. Raise TrainingError if that fails."""
        start_tensorflow(run.threads)
        return train(run, on_epoch, on_steps, dataset, run.checkpoints)

    def log_model(self, config: RunConfig, tracked: TrackedRun, dataset: data.Dataset, tracker: Tracker) -> None:
        """Log the model of a run: its checkpoint's, or trained again if that is gone."""
        net = trained_model(recall(config, tracked.tags), int(tracked.metrics["epochs"]))
        tracker.models.log(tracked.run_id, net or train_again(config, tracked, dataset), config.data)


def run(config: RunConfig, overrides: list[str], console: Console, trainer: Trainer | None = None) -> TrackedRun:
    """Train and track one run, or show an equal tracked one; return what is tracked.

    Args:
        config: The run.
        overrides: What it was composed from; it is named by them.
        console: Shows what is done.
        trainer: Where it is trained; None for this process.

    Raises:
        DataError: if the data cannot be had.
        TrainingError: if the training fails.
    """
    from pipeline.tracking.leases import Leases, of_run
    from pipeline.tracking.tracker import Tracker

    dataset = data.load(config.data, console.print)
    resolved = resolve(config, dataset.sha256)
    trainer = trainer or Trainer()
    if resolved.layers is None:
        trainer.inspect(resolved)
    tracker = Tracker(config.store)
    with Leases(config.store, EXPERIMENT) as leases:
        tracker.launch = leases.tag
        tracker.close_abandoned()
        tracker.restore(EXPERIMENT, console.print)
        lease = of_run(resolved.resume_key)
        launch = _Launch(resolved, overrides, console, tracker, trainer, dataset, partial(leases.is_ours, lease))
        # Wait for another launch with an equal run, to reuse it, or with a shorter one, to resume it.
        with leases.held(lease, lambda holder: console.print(f"waiting for {holder}, which trains this run")):
            if tracked := tracker.find_finished(resolved.signature):
                launch.show(tracked)
                return tracked
            return tracker.get(launch.train_and_track())


@dataclass(frozen=True)
class _Launch:
    """A run and all that it needs."""

    run: ResolvedRun
    overrides: list[str]
    console: Console
    tracker: Tracker
    trainer: Trainer
    dataset: data.Dataset
    is_ours: Callable[[], bool]  # whether no other launch has taken it over

    def show(self, tracked: TrackedRun) -> None:
        """Print the metrics of an equal run; train it again if its model is wanted and gone."""
        config, console, tracker = self.run.composed, self.console, self.tracker
        console.print(f"an equal run is tracked as {tracked.run_id}; nothing is trained", soft_wrap=True)
        _print_result(tracked.metrics, console)
        if config.store.log_model == "none" or not config.checkpoints.max_gib:
            return
        has_checkpoint = tracked.metrics["epochs"] in recall(config, tracked.tags).checkpoints.epochs()
        if not has_checkpoint and not any(tracker.models.has(each.run_id) for each in tracker.with_sources(tracked)):
            console.print("its model is gone: it is trained again, and logged if it gives the same numbers")
            self.trainer.log_model(config, tracked, self.dataset, tracker)

    def train_and_track(self) -> str:
        """Train the run, log its epochs as they end, its final metrics and its model; return its id."""
        run, tracker, console = self.run, self.tracker, self.console
        config, epochs = run.config, run.config.trainer.epochs
        if earlier := max((epoch for epoch in run.checkpoints.epochs() if epoch <= epochs), default=0):
            console.print(f"epochs 1 to {earlier} are resumed from a checkpoint", highlight=False)
        name = run_name(self.overrides, config.seed)
        run_id = tracker.open_run(run, EXPERIMENT, name, {}, self.overrides)
        with _closed_whatever_happens(tracker, run_id), self.trainer.reporter(console) as progress:

            def on_epoch(epoch: int, metrics: dict[str, float]) -> bool:
                progress.on_epoch(name, epochs, epoch, metrics)
                tracker.log_epoch(run_id, epoch, metrics)
                return True

            def on_steps(epoch: int, step: int, steps: int, metrics: dict[str, float]) -> None:
                progress.on_steps(name, epochs, epoch, step, steps, metrics)

            result = self.trainer.train(run, on_epoch, on_steps, self.dataset)
            self._log_model(run_id, result)
            if not self.is_ours():
                raise TrainingError(LOST)
            if trouble := tracker.finish_run(run_id, result, name):
                console.print(trouble, highlight=False, soft_wrap=True)
        if config.checkpoints.max_gib:
            free(folder_of(config.store), config.checkpoints.max_gib)
        _print_result(result.metrics, console)
        root = config.store.root
        page = config.store.pages if config.store.is_server else in_store("convsweep ui", root)
        line = f"tracked as run {run_id} of experiment {EXPERIMENT}; to browse: {page}"
        console.print(line, soft_wrap=True)
        if config.store.log_model != "none" and config.checkpoints.max_gib:
            words = [f"convsweep explain {run_id[:8]}", f"convsweep predict {run_id[:8]} IMAGE"]
            console.print(f"its model: {', '.join(in_store(each, root) for each in words)}", soft_wrap=True)
        return run_id

    def _log_model(self, run_id: str, result: RunResult) -> None:
        config = self.run.composed
        if config.store.log_model == "none":
            return
        if not config.checkpoints.max_gib:
            self.console.print(f"no model is logged: {NO_CHECKPOINT}")
            return
        tracked = TrackedRun(run_id, "RUNNING", result.metrics, self.run.tags)
        self.trainer.log_model(config, tracked, self.dataset, self.tracker)


def trained_model(resolved: ResolvedRun, epochs: int) -> keras.Model | None:
    """Return the model after so many epochs from the run's checkpoint; None if that is gone."""
    checkpoint = resolved.checkpoints.latest(epochs)
    return restore_model(resolved, checkpoint) if checkpoint and checkpoint.epoch == epochs else None


def train_again(config: RunConfig, tracked: TrackedRun, dataset: data.Dataset | None = None) -> keras.Model:
    """Train a finished run again and return its model.

    Raises:
        TrainingError: if the numbers differ from those tracked, or no checkpoints are kept.
    """
    resolved = recall(config, tracked.tags)
    start_tensorflow(resolved.threads)
    result = train(resolved, dataset=dataset, checkpoints=resolved.checkpoints)
    for name, values in result.history.items():
        before = tracked.metrics.get(name, float("nan"))
        if before != values[-1]:
            raise TrainingError(
                f"trained again, the run has {name} {values[-1]:.6f}, not {before:.6f} as tracked: threads or "
                "processor differ. store.log_model=none asks for no model"
            )
    if net := trained_model(resolved, result.epochs):
        return net
    raise TrainingError(NO_CHECKPOINT)


def run_name(overrides: Sequence[str], seed: int) -> str:
    """Name a run by what differs, as in `filters=32 seed=1`; numbers that a sampler drew are rounded."""
    named = [o for o in overrides if not is_of_store(o) and key_of(o) not in ("seed", "data.dir", "data.cache")]
    words = [key_of(o).rpartition(".")[2] + f"={value_text(o)}" * ("=" in o) for o in named]
    return re.sub(DRAWN, lambda number: f"{float(number[0]):.4g}", " ".join([*words, f"seed={seed}"]))


@contextmanager
def _closed_whatever_happens(tracker: Tracker, run_id: str) -> Iterator[None]:
    """Close the run as FAILED or KILLED, with the reason, if what is inside does not end well."""
    try:
        yield
    except KeyboardInterrupt:
        tracker.close(run_id, "KILLED", "interrupted")
        raise
    except TrainingError as error:
        tracker.close(run_id, "FAILED", str(error), traceback.format_exc())
        raise
    except Exception as error:
        tracker.close(run_id, "FAILED", one_line(error), traceback.format_exc())
        raise TrainingError(f"{one_line(error)} (the traceback is an artifact of run {run_id})") from error


def _print_result(metrics: dict[str, float], console: Console) -> None:
    """Print what a run reached, in a line: `test accuracy .9028, loss .2936 (train .9777); 71,754 parameters; ...`."""
    part = next((part for part in ("test", "val") if f"{part}/loss" in metrics), "train_eval")
    reached = [f"{q} {short_number(metrics[f'{part}/{q}'])}" for q in ("accuracy", "loss") if f"{part}/{q}" in metrics]
    train = metrics.get("train_eval/accuracy", metrics["train_eval/loss"])
    line = f"{part.removesuffix('_eval')} {', '.join(reached)} (train {short_number(train)})"
    line += f"; prediction {metrics['prediction']:.4f}" if "prediction" in metrics else ""
    line += f"; {metrics['parameters']:,.0f} parameters; {metrics['epochs']:,.0f} epochs in {metrics['seconds']:,.1f} s"
    console.print(line, soft_wrap=True, highlight=False)
