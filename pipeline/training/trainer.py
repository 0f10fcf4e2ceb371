"""train(run, on_epoch) -> RunResult: data, network, epochs, evaluation."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import isfinite
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.config.code import import_function
from pipeline.config.schema import TrainerConfig
from pipeline.datasets import dataset as data
from pipeline.datasets.image_statistics import image_statistics
from pipeline.models.build import build
from pipeline.models.builder import KEY as BUILDER_KEY
from pipeline.models.builder import layers_of
from pipeline.models.layers import optimized_layers, summary
from pipeline.models.tasks import TASKS
from pipeline.system.tensorflow import start_tensorflow
from pipeline.training.by_class import accuracy_by_class, class_metrics
from pipeline.training.changed_images import changed_sets
from pipeline.training.checkpoints import Checkpoint, CheckpointStore, NoCheckpoints
from pipeline.training.cost import multiplications_per_step
from pipeline.training.identity import ResolvedRun
from pipeline.training.result import RunResult, TrainingError

if TYPE_CHECKING:
    import keras

OnEpoch = Callable[[int, dict[str, float]], bool]
OnSteps = Callable[[int, int, int, dict[str, float]], None]


def train(
    run: ResolvedRun,
    on_epoch: OnEpoch = lambda epoch, metrics: True,
    on_steps: OnSteps = lambda epoch, step, steps, metrics: None,
    dataset: data.Dataset | None = None,
    checkpoints: CheckpointStore | None = None,
) -> RunResult:
    """Train one model with one seed, evaluating after every epoch.

    Same config, seed, threads and precision give the same metrics bit for bit, whether trained in one go or resumed
    from a checkpoint: the order of the examples is a function of seed and epoch (`trainer.shuffle`), and random
    generators are part of the checkpoint.

    Args:
        run: The run.
        on_epoch: Called with the epoch (from 1) and its metrics; training stops where it returns False.
        on_steps: Called at most some twenty times per epoch with epoch, steps done, steps per epoch, running metrics.
        dataset: The dataset as `data.load` gives it, if the caller has it already.
        checkpoints: Where to resume from, and to save after every epoch; None for nowhere.

    Raises:
        TrainingError: if the loss is not finite, with the epoch and step where that began.
        DataError: if the data cannot be had.
    """
    training = _Training(run, dataset, on_epoch, on_steps, checkpoints or NoCheckpoints())
    if training.replay():
        training.go_on()
    return training.ended()


def resumable(checkpoints: CheckpointStore, trainer: TrainerConfig) -> Checkpoint | None:
    """Return the newest checkpoint that is not beyond the end of a run, by its epochs and by its target."""
    checkpoint = checkpoints.latest(trainer.epochs)
    end = _stop_epoch(trainer.stop_at_accuracy, checkpoint.history) if checkpoint else None
    return checkpoints.latest(end) if checkpoint and end and end < checkpoint.epoch else checkpoint


def restore_model(run: ResolvedRun, checkpoint: Checkpoint) -> keras.Model:
    """Return the model of a checkpoint of the run, uncompiled."""
    start_tensorflow(run.threads)
    import keras

    keras.config.set_dtype_policy(run.config.trainer.precision)
    net = build(run.config.model, run.config.data, run.layers)
    for variable, value in zip(net.variables, checkpoint.arrays, strict=False):  # the optimizer's come after
        variable.assign(value)
    return net


class _Training:
    """One run's network and epochs, and the callbacks for them."""

    def __init__(
        self,
        run: ResolvedRun,
        dataset: data.Dataset | None,
        on_epoch: OnEpoch,
        on_steps: OnSteps,
        checkpoints: CheckpointStore,
    ) -> None:
        self.start = time.perf_counter()
        self.config = config = run.config
        self.on_epoch, self.on_steps, self.checkpoints = on_epoch, on_steps, checkpoints
        self.parts = data.split(dataset or data.load(config.data), config.data, config.seed)
        seed_everything(run)
        from pipeline.training.loop import Evaluation, Training

        stack = run.layers and optimized_layers(config.model, config.data, run.layers)
        self.net = build(config.model, config.data, stack)
        self.loop = Training(self.net, config, self.parts.train, multiplications_per_step(config.trainer, run.layers))
        self.evaluate = Evaluation(self.net, config, self.parts.test)
        self.hits: dict[str, np.ndarray] = {}  # by part and class, after the last epoch that is trained here
        self.gradient_norms = self._gradient_norms()  # of the first weights: before a checkpoint's are restored
        self.history: dict[str, list[float]] = {}
        self.seconds: list[float] = []
        self.stopped = ""
        self.saved: int | None = None
        self.resumed = self._restored()

    @property
    def variables(self) -> list[Any]:
        """All variables that decide how training goes on: weights, random generators, the optimizer's."""
        return [*self.net.variables, *self.loop.optimizer.variables]

    def _gradient_norms(self) -> dict[str, float]:
        """Return the norm of the gradient by layer, on one fixed batch, if asked for."""
        if not self.config.trainer.gradient_norms:
            return {}
        has_classes = TASKS[self.config.data.task].has_accuracy
        batch = data.fixed_slice(self.parts.train, self.config.trainer.batch_size, stratified=has_classes)
        return _named("gradient_norm/", self.loop.gradient_norms(batch))

    def _restored(self) -> Checkpoint | None:
        """Load the newest checkpoint that is not beyond the run's end into the model."""
        checkpoint = resumable(self.checkpoints, self.config.trainer)
        if checkpoint:
            for variable, value in zip(self.variables, checkpoint.arrays, strict=True):
                variable.assign(value)
        return checkpoint

    def replay(self) -> bool:
        """Report the checkpoint's epochs as if trained now; return whether any are left to train."""
        if self.resumed is None:
            return True
        for epoch, seconds in enumerate(self.resumed.seconds, start=1):
            self.seconds.append(seconds)
            self._end_epoch(epoch, {name: values[epoch - 1] for name, values in self.resumed.history.items()})
            if self.stopped:
                return False
        return self.resumed.epoch < self.config.trainer.epochs

    def go_on(self) -> None:
        """Train the epochs that are left, evaluating, saving and reporting after each, until one is to be the last."""
        for epoch in range(len(self.seconds) + 1, self.config.trainer.epochs + 1):
            self._end_epoch(epoch, self._train_epoch(epoch) | self._evaluated(epoch), save=True)
            if self.stopped:
                return

    def _end_epoch(self, epoch: int, metrics: dict[str, float], save: bool = False) -> None:
        """Add the metrics to the history, save a checkpoint, report; note whether training ends here."""
        for name, value in metrics.items():
            self.history.setdefault(name, []).append(value)
        if save:
            self._save(epoch)
        if not self.on_epoch(epoch, metrics):
            self.stopped = "asked"
        elif _stop_epoch(self.config.trainer.stop_at_accuracy, self.history):
            self.stopped = "stop_at_accuracy"

    def _train_epoch(self, epoch: int) -> dict[str, float]:
        from pipeline.training.loop import NotFiniteError

        steps = self.loop.steps

        def report(done: int, means: dict[str, float]) -> None:
            self.on_steps(epoch, done, steps, _named("train/", means))

        start = time.perf_counter()
        try:
            means = self.loop.epoch(epoch - 1, report)
        except NotFiniteError as error:
            step = error.args[0]
            raise TrainingError(f"the loss is not finite since epoch {epoch}, step {step} of {steps}") from None
        self.seconds.append(time.perf_counter() - start)
        return _named("train/", means)

    def _evaluated(self, epoch: int) -> dict[str, float]:
        parts = {"val": self.parts.val} if len(self.parts.val) else {}
        if self.config.trainer.evaluate_test:
            parts["test"] = self.parts.test
        metrics: dict[str, float] = {}
        for name, part in parts.items():
            means, self.hits[name] = self.evaluate.counted(part)
            metrics |= _named(f"{name}/", means)
        if bad := [name for name, value in metrics.items() if not isfinite(value)]:
            steps = self.loop.steps
            raise TrainingError(f"{', '.join(bad)} is not finite after epoch {epoch}, step {steps} of {steps}")
        return metrics

    def _save(self, epoch: int) -> None:
        """Save a checkpoint and delete the one before, unless a shorter run ended there."""
        ends_another = epoch in self.checkpoints.epochs()
        arrays = [np.asarray(variable) for variable in self.variables]
        self.checkpoints.save(Checkpoint(epoch, arrays, self.history, self.seconds))
        if self.saved is not None:
            self.checkpoints.remove(self.saved)
        self.saved = None if ends_another else epoch

    def ended(self) -> RunResult:
        """Return the result; without final metrics if it stopped before its checkpoint, whose model is another."""
        result = RunResult(self.history, stopped=self.stopped)
        result.image_statistics = image_statistics(self.parts.train.x, self.config.data)
        if self.config.model.builder is not None:
            result.summary = summary(layers_of(self.net))
        if self.resumed and len(self.seconds) < self.resumed.epoch:
            return result
        result.final = self._final_metrics(result)
        result.final["seconds_per_epoch"] = median(self.seconds[1:] or self.seconds)
        earlier = sum(self.resumed.seconds) if self.resumed else 0.0
        result.final["seconds"] = earlier + time.perf_counter() - self.start
        return result

    def _final_metrics(self, result: RunResult) -> dict[str, float]:
        """Evaluate on a fixed slice of the training set; add the gap to the test set, its classes, size, prediction."""
        config, has_accuracy = self.config, TASKS[self.config.data.task].has_accuracy
        part = data.fixed_slice(self.parts.train, config.trainer.train_eval_size, stratified=has_accuracy)
        final = _named("train_eval/", self.evaluate(part))
        if tested := result.history.get("test/accuracy"):
            final["gap/accuracy"] = final["train_eval/accuracy"] - tested[-1]
            final |= self._by_class()
        if not has_accuracy and config.trainer.evaluate_test:
            # Of one number from one: what the course's first network predicts for its last point.
            x, size, scale = self.parts.test.x, config.trainer.eval_batch_size, np.float32(config.data.scale)
            batches = (x[at : at + size].astype(np.float32) / scale for at in range(0, len(x), size))
            final["prediction"] = float(
                np.mean(np.concatenate([self.net.predict_on_batch(batch) for batch in batches]))
            )
        final |= self.gradient_norms | self._on_changed_images(result)
        return final | {"epochs": float(result.epochs), "parameters": float(self.net.count_params())}

    def _on_changed_images(self, result: RunResult) -> dict[str, float]:
        """Evaluate on the test set under each change that is asked for, if on the test set at all."""
        metrics: dict[str, float] = {}
        if not self.config.trainer.evaluate_test:
            return metrics
        for name, examples in changed_sets(self.parts.test, self.config):
            means = self.evaluate(examples)
            metrics |= _named(f"test_{name}/", means)
            if "accuracy" in means:
                metrics[f"gap_{name}/accuracy"] = result.history["test/accuracy"][-1] - means["accuracy"]
        return metrics

    def _by_class(self) -> dict[str, float]:
        """Return test accuracy by class, by the last evaluation; one is made where a checkpoint had all epochs."""
        if not class_metrics(self.config.data):
            return {}
        hits = self.hits["test"] if "test" in self.hits else self.evaluate.counted(self.parts.test)[1]
        return accuracy_by_class(self.config.data, self.parts.test.y, hits)


def _stop_epoch(target: float | None, history: dict[str, list[float]]) -> int | None:
    """Return the epoch after which `stop_at_accuracy` ends a run with this history, or None."""
    reached = (e for e, value in enumerate(history.get("train/accuracy", []), start=1) if target and value >= target)
    return next(reached, None)


def seed_everything(run: ResolvedRun) -> None:
    """Start TensorFlow, if it is not, and set all that a fresh training begins with: policy, seeds, no old graphs."""
    start_tensorflow(run.threads)
    import keras

    if run.config.model.builder:  # first: its module, once imported, may set what is set here
        import_function(BUILDER_KEY, run.config.model.builder)
    keras.backend.clear_session()
    keras.config.set_floatx("float32")
    # After clear_session, which resets the policy to float32.
    keras.config.set_dtype_policy(run.config.trainer.precision)
    keras.utils.set_random_seed(run.config.seed)


def _named(prefix: str, metrics: dict[str, float]) -> dict[str, float]:
    return {prefix + name: value for name, value in metrics.items()}
