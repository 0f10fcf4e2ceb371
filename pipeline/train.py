"""train(config, on_epoch) -> RunResult: data, model, fit, evaluation. `python -m pipeline.train` trains."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline import data, model
from pipeline.checkpoints import Chain, Checkpoint
from pipeline.config import RunConfig
from pipeline.hardware import resolve_precision
from pipeline.runtime import start_tensorflow

if TYPE_CHECKING:
    import keras

OnEpoch = Callable[[int, dict[str, float]], bool]
OnSteps = Callable[[int, int, int, dict[str, float]], None]
OnMilestone = Callable[[int, "RunResult"], None]


class TrainingError(RuntimeError):
    """A training that failed for its own reason, as in a loss that is no longer a number."""


def one_line(error: BaseException) -> str:
    """An exception as one line of at most 300 characters: its kind and the beginning of its message."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:300]


@dataclass
class RunResult:
    """What one run gave.

    Attributes:
        history: Per metric (`train/loss`, `test/accuracy`, ...) its value after each epoch, epochs 1..E in order.
        final: `train_eval/...`, `gap/accuracy`, `epochs` (trained), `parameters`, `seconds`, `seconds_per_epoch`
            (median, without the first of several epochs, which also traces the model), a regression's `prediction`.
        stopped: Why it ended before `trainer.epochs`: `stop_at_accuracy`, `asked`, or empty.
    """

    history: dict[str, list[float]] = field(default_factory=dict)
    final: dict[str, float] = field(default_factory=dict)
    stopped: str = ""

    @property
    def epochs(self) -> int:
        """Epochs trained."""
        return len(next(iter(self.history.values()), []))

    @property
    def metrics(self) -> dict[str, float]:
        """Every metric's last value, `final` included."""
        return {name: values[-1] for name, values in self.history.items()} | self.final


def train(
    config: RunConfig,
    on_epoch: OnEpoch = lambda epoch, metrics: True,
    on_steps: OnSteps = lambda epoch, step, steps, metrics: None,
    dataset: data.Dataset | None = None,
    chain: Chain | None = None,
    milestones: Sequence[int] = (),
    on_milestone: OnMilestone = lambda epoch, result: None,
) -> RunResult:
    """Train one model with one seed, evaluating after every epoch.

    Same config, seed, threads and precision give the same metrics bit for bit, whether trained in one go or continued
    from a checkpoint of its chain: the order of the examples is a function of (seed, epoch), and random generators are
    part of the checkpoint.

    Args:
        config: The run.
        on_epoch: Called with the epoch (from 1) and its metrics; training stops where it returns False.
        on_steps: Called some twenty times per epoch with epoch, steps done, steps per epoch, running metrics.
        dataset: The set as `data.load` gives it, if the caller has it already.
        chain: Where checkpoints are looked for and kept, after every epoch the newest; none if None.
        milestones: Epochs at which a shorter run would end: their checkpoints stay, and their results are told.
        on_milestone: Called with a milestone's epoch and the result that a run of so many epochs has.

    Raises:
        TrainingError: if the loss is not finite, with the epoch and step where that began.
        DataError: if the data cannot be had.
    """
    start = time.perf_counter()
    _seed_everything(config)
    parts = data.split(dataset or data.load(config.data), config)
    net = _compiled(config, parts)
    known = _restored(config, net, chain)
    earlier = sum(known.seconds) if known else 0.0

    def result_now(history: dict[str, list[float]], seconds: list[float], stopped: str) -> RunResult:
        result = RunResult({name: list(values) for name, values in history.items()}, stopped=stopped)
        result.final = _final_metrics(config, parts, net, result)
        result.final["seconds_per_epoch"] = median(seconds[1:] or seconds)
        result.final["seconds"] = earlier + time.perf_counter() - start
        return result

    watcher = _watcher(config, parts, on_epoch, on_steps, chain, known, tuple(milestones))
    watcher.on_milestone = lambda epoch: on_milestone(epoch, result_now(watcher.history, watcher.seconds, ""))
    if watcher.replay():
        net.fit(
            _batches(config, parts.train, watcher.epoch),
            initial_epoch=known.epoch if known else 0,
            epochs=config.trainer.epochs,
            verbose=0,
            shuffle=False,
            callbacks=[watcher],
        )
    if known and len(watcher.seconds) < known.epoch:  # asked to stop at an epoch that lies behind: its model is gone
        return RunResult(watcher.history, stopped=watcher.stopped)
    return result_now(watcher.history, watcher.seconds, watcher.stopped)


def restore_model(config: RunConfig, checkpoint: Checkpoint) -> keras.Model:
    """The trained model of a checkpoint of `config`'s chain; uncompiled."""
    start_tensorflow(config.trainer.threads)
    import keras

    keras.config.set_dtype_policy(resolve_precision(config.trainer.precision))
    net = model.build(config)
    for variable, value in zip(net.variables, checkpoint.arrays, strict=False):  # the optimizer's come after
        variable.assign(value)
    return net


def _restored(config: RunConfig, net: keras.Model, chain: Chain | None) -> Checkpoint | None:
    """Put the newest checkpoint that does not lie behind the run's end into the model; what it was, if there is one."""
    net.optimizer.build(net.trainable_variables)
    known = chain.latest(config.trainer.epochs) if chain else None
    end = _stop_epoch(config, known.history) if known else None
    if chain and known and end and end < known.epoch:
        known = chain.latest(end)
    if known:
        for variable, value in zip(_state(net), known.arrays, strict=True):
            variable.assign(value)
    return known


def _state(net: keras.Model) -> list[Any]:
    """All variables that decide how training goes on: weights, random generators, the optimizer's."""
    kept = {id(variable) for variable in net.metrics_variables}
    return [v for v in net.variables if id(v) not in kept] + list(net.optimizer.variables)


def _stop_epoch(config: RunConfig, history: dict[str, list[float]]) -> int | None:
    """The epoch after which `stop_at_accuracy` ends a run with this history; None where it does not."""
    target = config.trainer.stop_at_accuracy
    reached = (e for e, value in enumerate(history.get("train/accuracy", []), start=1) if target and value > target)
    return next(reached, None)


def _seed_everything(config: RunConfig) -> None:
    start_tensorflow(config.trainer.threads)
    import keras

    keras.backend.clear_session()
    # After clear_session, which resets the policy to float32.
    keras.config.set_dtype_policy(resolve_precision(config.trainer.precision))
    keras.utils.set_random_seed(config.seed)


def _compiled(config: RunConfig, parts: data.Dataset) -> keras.Model:
    import keras

    kinds = {"adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD, "rmsprop": keras.optimizers.RMSprop}
    optimizer = config.optimizer
    momentum = {} if optimizer.name == "adam" else {"momentum": optimizer.momentum}
    net = model.build(config)
    net.compile(
        optimizer=kinds[optimizer.name](learning_rate=optimizer.learning_rate, **momentum),
        loss=_loss(config),
        metrics=[*_metrics(config), _finite_steps()],
        steps_per_execution=config.trainer.steps_per_execution or -(-_steps(config, parts.train) // 20),
        jit_compile=False,  # XLA on CPU is several times slower here
    )
    return net


def _loss(config: RunConfig) -> str:
    losses = {"multiclass": "sparse_categorical_crossentropy", "binary": "binary_crossentropy", "regression": "mse"}
    return losses[config.data.task]


def _metrics(config: RunConfig) -> list[str]:
    return [] if config.data.task == "regression" else ["accuracy"]


def _steps(config: RunConfig, examples: data.Examples) -> int:
    """Steps per epoch."""
    every = -(-len(examples) // config.trainer.batch_size)
    return min(config.trainer.steps_per_epoch or every, every)


def _batches(config: RunConfig, examples: data.Examples, epoch: Any) -> Any:
    """One epoch's batches as a tf.data.Dataset: shuffled by (seed, epoch), scaled to float32 in the graph.

    `epoch` is a variable that is read when an epoch's iteration begins, so that epoch 5 has the same order whether or
    not epochs 0 to 4 ran before it in this process.
    """
    import tensorflow as tf

    x, y = tf.constant(examples.x), tf.constant(examples.y)
    size, steps = config.trainer.batch_size, _steps(config, examples)

    def one_epoch(_: Any) -> Any:
        seed = tf.stack([config.seed, epoch.read_value()])
        order = tf.random.experimental.stateless_shuffle(tf.range(len(examples)), seed=seed)

        def batch(step: Any) -> Any:
            rows = order[step * size : (step + 1) * size]
            return tf.cast(tf.gather(x, rows), tf.float32) / config.data.scale, tf.gather(y, rows)

        return tf.data.Dataset.range(steps, output_type=tf.int32).map(batch)

    options = tf.data.Options()
    options.autotune.enabled = False
    options.threading.private_threadpool_size = 1
    batches = tf.data.Dataset.from_tensors(0).flat_map(one_epoch)
    return batches.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(4).with_options(options)


def evaluate(net: keras.Model, examples: data.Examples, config: RunConfig) -> dict[str, float]:
    """Loss and metrics of `net` on `examples`, dropout off; in batches of `trainer.eval_batch_size`."""
    totals: dict[str, float] = {}
    for start in range(0, len(examples), config.trainer.eval_batch_size):
        y = examples.y[start : start + config.trainer.eval_batch_size]
        x = examples.x[start : start + len(y)].astype(np.float32) / np.float32(config.data.scale)
        logs = _named("", net.test_on_batch(x, y, return_dict=True))
        totals = {name: totals.get(name, 0.0) + len(y) * value for name, value in logs.items()}
    return {name: total / len(examples) for name, total in totals.items()}


def _final_metrics(config: RunConfig, parts: data.Dataset, net: keras.Model, result: RunResult) -> dict[str, float]:
    """The trained model on a fixed slice of its training set, its gap to the test set, its size, its prediction."""
    regression = config.data.task == "regression"
    part = data.fixed_slice(parts.train, config.trainer.train_eval_size, stratified=not regression)
    final = {f"train_eval/{name}": value for name, value in evaluate(net, part, config).items()}
    if tested := result.history.get("test/accuracy"):
        final["gap/accuracy"] = final["train_eval/accuracy"] - tested[-1]
    if (
        regression and config.trainer.evaluate_test
    ):  # of one number from one: what the course's first network predicts for its last point
        x = parts.test.x.astype(np.float32) / np.float32(config.data.scale)
        final["prediction"] = float(np.mean(net.predict_on_batch(x)))
    return final | {"epochs": float(result.epochs), "parameters": float(net.count_params())}


def _named(prefix: str, logs: dict[str, Any]) -> dict[str, float]:
    """Keras's logs as floats, without our own counter."""
    return {prefix + name: float(value) for name, value in logs.items() if name != FINITE}


FINITE = "finite_steps"


def _finite_steps() -> Any:
    """A Keras metric that counts the steps of an epoch whose outputs were all finite."""
    import keras
    from keras import ops

    class FiniteSteps(keras.metrics.Metric):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name=FINITE)
            self.count = self.add_variable((), "zeros", name="count", dtype="float32")

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            self.count.assign_add(ops.cast(ops.all(ops.isfinite(y_pred)), "float32"))

        def result(self) -> Any:
            return ops.convert_to_tensor(self.count)

    return FiniteSteps()


def _watcher(
    config: RunConfig,
    parts: data.Dataset,
    on_epoch: OnEpoch,
    on_steps: OnSteps,
    chain: Chain | None,
    known: Checkpoint | None,
    milestones: tuple[int, ...],
) -> Any:
    """The callback around Keras's fit: sets the epoch, evaluates, saves, tells, and stops where it should."""
    import keras
    import tensorflow as tf

    steps = _steps(config, parts.train)
    evaluated = {"val": parts.val} if len(parts.val) else {}
    if config.trainer.evaluate_test:
        evaluated["test"] = parts.test

    class Watcher(keras.callbacks.Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.epoch = tf.Variable(0, dtype=tf.int32, trainable=False)
            self.history: dict[str, list[float]] = {}
            self.seconds: list[float] = []
            self.stopped = ""
            self.on_milestone: Callable[[int], None] = lambda epoch: None
            self.saved: int | None = None

        def replay(self) -> bool:
            """Tell of the epochs that a checkpoint knows, as if trained now; whether any are left to train."""
            for epoch in range(1, known.epoch + 1 if known else 1):
                assert known is not None
                self.seconds.append(known.seconds[epoch - 1])
                metrics = {name: values[epoch - 1] for name, values in known.history.items()}
                for name, value in metrics.items():
                    self.history.setdefault(name, []).append(value)
                self.tell(epoch, metrics)
                if self.stopped:
                    return False
            if known and known.epoch in milestones:
                self.on_milestone(known.epoch)
            return not known or known.epoch < config.trainer.epochs

        def tell(self, epoch: int, metrics: dict[str, float]) -> None:
            """Ask whether to go on, and stop where not, or where the accuracy aimed at is reached."""
            if not on_epoch(epoch, metrics):
                self.stopped = "asked"
            elif _stop_epoch(config, self.history):
                self.stopped = "stop_at_accuracy"

        def save(self, epoch: int) -> None:
            """Keep the state after this epoch, and no longer that of the one before, unless a run ends there."""
            if chain is None:
                return
            arrays = [np.asarray(variable) for variable in _state(self.model)]
            chain.save(Checkpoint(epoch, arrays, self.history, self.seconds))
            if self.saved is not None and self.saved not in milestones:
                chain.remove(self.saved)
            self.saved = epoch

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.epoch.assign(epoch)
            self.start = time.perf_counter()

        def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
            done = min(batch + 1, steps)
            if not np.isfinite(float(logs["loss"])):
                step = min(int(float(logs[FINITE])) + 1, done)
                now = int(self.epoch.numpy()) + 1
                raise TrainingError(f"the loss is not finite since epoch {now}, step {step} of {steps}")
            on_steps(int(self.epoch.numpy()) + 1, done, steps, _named("train/", logs))

        def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
            self.seconds.append(time.perf_counter() - self.start)
            metrics = _named("train/", logs)
            for name, part in evaluated.items():
                metrics |= {f"{name}/{key}": value for key, value in evaluate(self.model, part, config).items()}
            if bad := [name for name, value in metrics.items() if not np.isfinite(value)]:
                raise TrainingError(f"{', '.join(bad)} is not finite after epoch {epoch + 1}, step {steps} of {steps}")
            for name, value in metrics.items():
                self.history.setdefault(name, []).append(value)
            self.save(epoch + 1)
            self.tell(epoch + 1, metrics)
            self.model.stop_training = bool(self.stopped)
            if epoch + 1 in milestones and not self.stopped:
                self.on_milestone(epoch + 1)

    return Watcher()


if __name__ == "__main__":
    import sys
    from importlib import import_module

    # Looked up by name: the command line stands above this package, which imports nothing of it.
    sys.exit(import_module("sweeps.cli").main(["train", *sys.argv[1:]]))
