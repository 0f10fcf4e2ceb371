"""One run as a user asks for it: reuse an equal tracked run, or train and track, whatever happens."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console

from pipeline.config.overrides import is_of_store, key_of, value_text
from pipeline.config.schema import RunConfig
from pipeline.datasets import dataset as data
from pipeline.progress import report_on
from pipeline.system.messages import one_line
from pipeline.system.tensorflow import start_tensorflow
from pipeline.training.checkpoints import folder_of, free
from pipeline.training.identity import ResolvedRun, recall, resolve
from pipeline.training.inspection import inspect
from pipeline.training.result import RunResult, TrainingError
from pipeline.training.trainer import restore_model, train

if TYPE_CHECKING:
    import keras

    from pipeline.tracking.reader import TrackedRun
    from pipeline.tracking.tracker import Tracker

EXPERIMENT = "train"
NO_CHECKPOINT = "no checkpoint of its last epoch is left, see checkpoints.max_gib"


def run(config: RunConfig, overrides: list[str], console: Console) -> int:
    """Train and track one run, or show an equal tracked one; return the exit code.

    Raises:
        DataError: if the data cannot be had.
        TrainingError: if the training fails.
    """
    from pipeline.tracking.locks import locked
    from pipeline.tracking.tracker import Tracker

    dataset = data.load(config.data, console.print)
    resolved = resolve(config, dataset.sha256)
    if resolved.layers is None:
        inspect(resolved)
    tracker = Tracker(config.store)
    tracker.close_abandoned()
    tracker.restore(EXPERIMENT, console.print)
    # Wait for another process with an equal run, to reuse it, or with a shorter one, to resume it.
    with locked(config.store, resolved.resume_key[:32]):
        if tracked := tracker.find_finished(resolved.signature):
            _show_tracked(tracked, config, console, tracker, dataset)
        else:
            _train_and_track(resolved, overrides, console, tracker, dataset)
    return 0


def _show_tracked(
    tracked: TrackedRun, config: RunConfig, console: Console, tracker: Tracker, dataset: data.Dataset
) -> None:
    """Print the metrics of an equal run; train it again if its model is wanted and gone."""
    console.print(f"an equal run is tracked as {tracked.run_id}; nothing is trained", soft_wrap=True)
    _print_metrics(tracked.metrics, console)
    if config.store.log_model == "none" or not config.checkpoints.max_gib:
        return
    has_checkpoint = tracked.metrics["epochs"] in recall(config, tracked.tags).checkpoints.epochs()
    if not has_checkpoint and not any(tracker.models.has(each.run_id) for each in tracker.with_sources(tracked)):
        console.print("its model is gone: it is trained again, and logged if it gives the same numbers")
        tracker.models.log(tracked.run_id, train_again(config, tracked, dataset), config.data)


def _train_and_track(
    resolved: ResolvedRun, overrides: list[str], console: Console, tracker: Tracker, dataset: data.Dataset
) -> None:
    start_tensorflow(resolved.threads)
    config, epochs = resolved.config, resolved.config.trainer.epochs
    if earlier := max((epoch for epoch in resolved.checkpoints.epochs() if epoch <= epochs), default=0):
        console.print(f"epochs 1 to {earlier} are resumed from a checkpoint", highlight=False)
    name = run_name(overrides, config.seed)
    run_id = tracker.open_run(resolved, EXPERIMENT, name, {}, overrides)
    with _closed_whatever_happens(tracker, run_id), report_on(console) as progress:

        def on_epoch(epoch: int, metrics: dict[str, float]) -> bool:
            progress.on_epoch(name, epochs, epoch, metrics)
            tracker.log_epoch(run_id, epoch, metrics)
            return True

        def on_steps(epoch: int, step: int, steps: int, metrics: dict[str, float]) -> None:
            progress.on_steps(name, epochs, epoch, step, steps, metrics)

        result = train(resolved, on_epoch, on_steps, dataset, resolved.checkpoints)
        _log_model(resolved, result, run_id, console, tracker)
        if trouble := tracker.finish_run(run_id, result, name):
            console.print(trouble, highlight=False, soft_wrap=True)
    if config.checkpoints.max_gib:
        free(folder_of(config.store), config.checkpoints.max_gib)
    _print_metrics(result.metrics, console)
    console.print(f"tracked as run {run_id} of experiment {EXPERIMENT}; to browse: convsweep ui", soft_wrap=True)


def _log_model(resolved: ResolvedRun, result: RunResult, run_id: str, console: Console, tracker: Tracker) -> None:
    if resolved.config.store.log_model == "none":
        return
    if net := trained_model(resolved, result.epochs):
        tracker.models.log(run_id, net, resolved.config.data)
    else:
        console.print(f"no model is logged: {NO_CHECKPOINT}")


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
    """Name a run by what differs: `filters=32 seed=1`."""
    named = [o for o in overrides if not is_of_store(o) and key_of(o) not in ("seed", "data.dir", "data.cache")]
    words = [key_of(o).rpartition(".")[2] + f"={value_text(o)}" * ("=" in o) for o in named]
    return " ".join([*words, f"seed={seed}"])


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


def _print_metrics(metrics: dict[str, float], console: Console) -> None:
    for name in sorted(metrics):
        form = {"epochs": ",.0f", "parameters": ",.0f", "train/learning_rate": ".3g"}.get(name, ",.4f")
        console.print(f"  {name:22} {metrics[name]:12{form}}", highlight=False)
