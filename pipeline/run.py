"""One run as a user asks for it: known? then what is tracked; else trained and tracked, whatever happens."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout
from rich.console import Console

from pipeline.config.schema import RunConfig, StoreConfig, is_of_store
from pipeline.datasets import dataset as data
from pipeline.progress import watch
from pipeline.system import hardware
from pipeline.system.tensorflow import start_tensorflow
from pipeline.tracking.retry import UnopenedStoreError
from pipeline.training.checkpoints import Chain, free
from pipeline.training.cost import threads
from pipeline.training.identity import TRAINING_VERSION, chain, signature, versions, work
from pipeline.training.trainer import TrainingError, one_line, restore_model, train

if TYPE_CHECKING:
    import keras

    from pipeline.tracking.tracker import TrackedRun, Tracker

EXPERIMENT = "train"
NO_CHECKPOINT = "no checkpoint of its last epoch is left, see checkpoints.keep"


def run_tags(config: RunConfig, data_sha256: str) -> dict[str, str]:
    """Tags that say what a run is and what it ran on."""
    return {
        "convsweep.signature": signature(config, data_sha256),
        "convsweep.chain": chain(config, data_sha256),
        "convsweep.work": work(config),
        "convsweep.data_sha256": data_sha256,
        "convsweep.training_version": str(TRAINING_VERSION),
        "convsweep.precision": hardware.resolve_precision(config.trainer.precision),
        "convsweep.threads": str(threads(config)),
        "convsweep.processor": hardware.processor(),
        "convsweep.versions": ", ".join(f"{name} {number}" for name, number in versions().items()),
    }


def chains(store: StoreConfig) -> Path:
    """The folder of all checkpoints of a store."""
    return store.folder / "checkpoints"


def chain_of(config: RunConfig, tags: Mapping[str, str]) -> Chain | None:
    """The checkpoints that a run with these tags continues from, and leaves; None where none are to be kept."""
    known = tags.get("convsweep.chain") if config.checkpoints.keep else None
    # Not part of a signature, as it changes low digits at most; but what is continued is continued to the bit.
    threads = tags.get("convsweep.threads", "")
    return Chain(chains(config.store) / f"{known[:40]}-{threads}") if known else None


def decided(config: RunConfig, tags: Mapping[str, str]) -> RunConfig:
    """The config with the precision that a run with these tags has, which was decided when they were made."""
    precision = tags.get("convsweep.precision", config.trainer.precision)
    return replace(config, trainer=replace(config.trainer, precision=precision))


def trained_model(config: RunConfig, tags: Mapping[str, str], epochs: int) -> keras.Model | None:
    """The model of a run of so many epochs as its last checkpoint has it; None where that was not kept."""
    kept = chain_of(config, tags)
    checkpoint = kept.latest(epochs) if kept else None
    return restore_model(decided(config, tags), checkpoint) if checkpoint and checkpoint.epoch == epochs else None


def train_again(config: RunConfig, known: TrackedRun, dataset: data.Dataset | None = None) -> keras.Model:
    """Train a finished run again and return its model.

    Raises:
        TrainingError: if the numbers are others than those tracked, or checkpoints are not to be kept.
    """
    result = train(decided(config, known.tags), dataset=dataset, chain=chain_of(config, known.tags))
    for name, values in result.history.items():
        tracked = known.metrics.get(name, float("nan"))
        if tracked != values[-1]:
            raise TrainingError(
                f"trained again, the run has {name} {values[-1]:.6f}, not {tracked:.6f} as tracked: threads or "
                "processor are others than then. store.log_model=none asks for no model"
            )
    net = trained_model(config, known.tags, result.epochs)
    if net is None:
        raise TrainingError(NO_CHECKPOINT)
    return net


@contextmanager
def locked(store: StoreConfig, name: str, timeout: float = -1) -> Iterator[None]:
    """Hold the store's lock `name`, waiting `timeout` seconds for it, for ever where that is negative.

    Raises:
        filelock.Timeout: if another process holds it for longer.
        UnopenedStoreError: if the lock cannot be had at all.
    """
    path = store.folder / "locks" / f"{name}.lock"
    lock = FileLock(path, timeout)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise
    except OSError as error:
        raise UnopenedStoreError(f"the store {store.folder} cannot be used: {one_line(error)} ({path})") from error
    try:
        yield
    finally:
        lock.release()


def run(config: RunConfig, overrides: list[str], console: Console) -> int:
    """Train and track one run, or tell what is tracked of an equal one; the exit code.

    Raises:
        DataError: if the data cannot be had.
    """
    from pipeline.tracking.tracker import Tracker

    dataset = data.load(config.data, console.print)
    tags = run_tags(config, dataset.sha256)
    tracker = Tracker(config.store)
    tracker.close_abandoned()
    tracker.restore(EXPERIMENT, console.print)
    with locked(config.store, tags["convsweep.chain"][:32]):  # equal runs train once, shorter ones are continued
        return _run(config, overrides, console, tracker, tags, dataset)


def _run(
    config: RunConfig,
    overrides: list[str],
    console: Console,
    tracker: Tracker,
    tags: dict[str, str],
    dataset: data.Dataset,
) -> int:
    if known := tracker.find_finished(tags["convsweep.signature"]):
        console.print(f"known: an equal run is tracked as {known.run_id}; nothing is trained", soft_wrap=True)
        _print_metrics(known.metrics, console)
        if config.store.log_model != "none" and config.checkpoints.keep:
            _require_model(config, known, console, tracker, dataset)
        return 0
    tags["convsweep.threads"] = str(_threads(config, tags))
    start_tensorflow(int(tags["convsweep.threads"]))
    name = run_name(overrides, config.seed)
    run_id = tracker.open_run(config, EXPERIMENT, name, tags, overrides)
    kept = chain_of(config, tags)
    epochs = config.trainer.epochs
    if before := _epochs_kept(config, tags):
        console.print(f"epochs 1 to {before} are kept from an earlier run, and not trained again", highlight=False)
    with _closed_whatever_happens(tracker, run_id), watch(console) as progress:

        def on_epoch(epoch: int, metrics: dict[str, float]) -> bool:
            progress.on_epoch(name, epochs, epoch, metrics)
            tracker.log_epoch(run_id, epoch, metrics)
            return True

        def on_steps(epoch: int, step: int, steps: int, metrics: dict[str, float]) -> None:
            progress.on_steps(name, epochs, epoch, step, steps, metrics)

        result = train(decided(config, tags), on_epoch, on_steps, dataset, kept)
        if config.store.log_model != "none":
            if net := trained_model(config, tags, result.epochs):
                tracker.log_model(run_id, net, config)
            else:
                console.print(f"no model is logged: {NO_CHECKPOINT}")
        if trouble := tracker.finish_run(run_id, result, name):
            console.print(trouble, highlight=False, soft_wrap=True)
    if config.checkpoints.keep:
        free(chains(config.store), config.checkpoints.keep)
    _print_metrics(result.metrics, console)
    console.print(f"tracked as run {run_id} of experiment {EXPERIMENT}; to browse: convsweep ui", soft_wrap=True)
    return 0


def _require_model(
    config: RunConfig, known: TrackedRun, console: Console, tracker: Tracker, dataset: data.Dataset
) -> None:
    """Train a finished run again where neither MLflow nor a checkpoint has its model any more, and log that."""
    has_checkpoint = _epochs_kept(config, known.tags) == known.metrics["epochs"]
    if has_checkpoint or any(tracker.has_model(each.run_id) for each in tracker.with_sources(known)):
        return
    console.print("its model is gone: it is trained again, and logged if it gives the same numbers")
    start_tensorflow(int(known.tags["convsweep.threads"]))
    tracker.log_model(known.run_id, train_again(config, known, dataset), config)


def _threads(config: RunConfig, tags: Mapping[str, str]) -> int:
    """As many threads as trained the most epochs that are kept and not too many; where none are, what suits the run."""
    suited = threads(config)
    if config.trainer.threads:
        return suited

    def epochs_kept(count: int) -> int:
        return _epochs_kept(config, {**tags, "convsweep.threads": str(count)})

    counts: list[int] = [suited, *range(1, hardware.cores() + 1)]
    return max(counts, key=epochs_kept)  # the first of equals


def _epochs_kept(config: RunConfig, tags: Mapping[str, str]) -> int:
    """From which epoch the run goes on; 0 where it begins anew."""
    kept = chain_of(config, tags)
    return max((epoch for epoch in kept.epochs() if epoch <= config.trainer.epochs), default=0) if kept else 0


def run_name(overrides: list[str], seed: int) -> str:
    """A run named by what differs: `filters=32 seed=1`."""
    told = [o.lstrip("+").rpartition(".")[2] if "=" not in o else _short(o) for o in overrides]
    return " ".join([*(t for t in told if t and not t.startswith("seed=")), f"seed={seed}"])


def _short(override: str) -> str:
    key, _, value = override.partition("=")
    return (
        ""
        if is_of_store(override) or key.startswith(("data.dir", "data.cache"))
        else f"{key.rpartition('.')[2]}={value}"
    )


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
        digits = 0 if name in ("epochs", "parameters") else 4
        console.print(f"  {name:22} {metrics[name]:12,.{digits}f}", highlight=False)
