"""train(config, on_epoch) -> RunResult: data, model, training, evaluation.."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import isfinite
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.config.schema import RunConfig
from pipeline.datasets import dataset as data
from pipeline.models import layers as model
from pipeline.system.addresses import masked
from pipeline.system.hardware import resolve_precision
from pipeline.system.tensorflow import start_tensorflow
from pipeline.training.checkpoints import Chain, Checkpoint
from pipeline.training.cost import threads

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
    return masked(f"{type(error).__name__}: {lines[0]}")[:300]


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
    from a checkpoint of its chain: the order of the examples is a function of seed and epoch (`trainer.shuffle`), and
    random generators are part of the checkpoint.

    Args:
        config: The run.
        on_epoch: Called with the epoch (from 1) and its metrics; training stops where it returns False.
        on_steps: Called at most some twenty times per epoch with epoch, steps done, steps per epoch, running metrics.
        dataset: The set as `data.load` gives it, if the caller has it already.
        chain: Where checkpoints are looked for and kept, after every epoch the newest; none if None.
        milestones: Epochs at which a shorter run would end: their checkpoints stay, and their results are told.
        on_milestone: Called with a milestone's epoch and the result that a run of so many epochs has.

    Raises:
        TrainingError: if the loss is not finite, with the epoch and step where that began.
        DataError: if the data cannot be had.
    """
    training = _Training(config, dataset, on_epoch, on_steps, chain, milestones, on_milestone)
    if training.replay():
        training.go_on()
    return training.ended()


def restore_model(config: RunConfig, checkpoint: Checkpoint) -> keras.Model:
    """The trained model of a checkpoint of `config`'s chain; uncompiled."""
    start_tensorflow(config.trainer.threads)
    import keras

    keras.config.set_dtype_policy(resolve_precision(config.trainer.precision))
    net = model.build(config)
    for variable, value in zip(net.variables, checkpoint.arrays, strict=False):  # the optimizer's come after
        variable.assign(value)
    return net


class _Training:
    """One run's network, what is known of its epochs, and who is to be told."""

    def __init__(
        self,
        config: RunConfig,
        dataset: data.Dataset | None,
        on_epoch: OnEpoch,
        on_steps: OnSteps,
        chain: Chain | None,
        milestones: Sequence[int],
        on_milestone: OnMilestone,
    ) -> None:
        self.start = time.perf_counter()
        self.config, self.chain, self.milestones = config, chain, milestones
        self.on_epoch, self.on_steps, self.on_milestone = on_epoch, on_steps, on_milestone
        self.parts = data.split(dataset or data.load(config.data), config)
        _seed_everything(config)
        from pipeline.training.loop import Evaluation, Training

        self.net = model.build(config, lean=True)
        self.loop = Training(self.net, config, self.parts.train)
        self.evaluate = Evaluation(self.net, config, self.parts.test)
        self.history: dict[str, list[float]] = {}
        self.seconds: list[float] = []
        self.stopped = ""
        self.saved: int | None = None
        self.known = self._restored()

    @property
    def variables(self) -> list[Any]:
        """All variables that decide how training goes on: weights, random generators, the optimizer's."""
        return [*self.net.variables, *self.loop.optimizer.variables]

    def _restored(self) -> Checkpoint | None:
        """Put the newest checkpoint that does not lie behind the run's end into the model; it, if there is one."""
        known = self.chain.latest(self.config.trainer.epochs) if self.chain else None
        end = _stop_epoch(self.config, known.history) if known else None
        if self.chain and known and end and end < known.epoch:
            known = self.chain.latest(end)
        if known:
            for variable, value in zip(self.variables, known.arrays, strict=True):
                variable.assign(value)
        return known

    def replay(self) -> bool:
        """Tell of the epochs that a checkpoint knows, as if trained now; whether any are left to train."""
        if self.known is None:
            return True
        for epoch in range(1, self.known.epoch + 1):
            self.seconds.append(self.known.seconds[epoch - 1])
            metrics = {name: values[epoch - 1] for name, values in self.known.history.items()}
            self._note(metrics)
            self._tell(epoch, metrics)
            if self.stopped:
                return False
        if self.known.epoch in self.milestones:
            self.on_milestone(self.known.epoch, self._result())
        return self.known.epoch < self.config.trainer.epochs

    def go_on(self) -> None:
        """Train the epochs that are left, evaluating, saving and telling after each, until told to stop."""
        for epoch in range(len(self.seconds) + 1, self.config.trainer.epochs + 1):
            metrics = self._train_epoch(epoch) | self._evaluated(epoch)
            self._note(metrics)
            self._save(epoch)
            self._tell(epoch, metrics)
            if self.stopped:
                return
            if epoch in self.milestones:
                self.on_milestone(epoch, self._result())

    def _train_epoch(self, epoch: int) -> dict[str, float]:
        from pipeline.training.loop import NotFiniteError

        steps = self.loop.steps

        def tell(done: int, means: dict[str, float]) -> None:
            self.on_steps(epoch, done, steps, _named("train/", means))

        start = time.perf_counter()
        try:
            means = self.loop.epoch(epoch - 1, tell)
        except NotFiniteError as error:
            step = error.args[0]
            raise TrainingError(f"the loss is not finite since epoch {epoch}, step {step} of {steps}") from None
        self.seconds.append(time.perf_counter() - start)
        return _named("train/", means)

    def _evaluated(self, epoch: int) -> dict[str, float]:
        evaluated = {"val": self.parts.val} if len(self.parts.val) else {}
        if self.config.trainer.evaluate_test:
            evaluated["test"] = self.parts.test
        metrics: dict[str, float] = {}
        for name, part in evaluated.items():
            metrics |= _named(f"{name}/", self.evaluate(part))
        if bad := [name for name, value in metrics.items() if not isfinite(value)]:
            steps = self.loop.steps
            raise TrainingError(f"{', '.join(bad)} is not finite after epoch {epoch}, step {steps} of {steps}")
        return metrics

    def _save(self, epoch: int) -> None:
        """Keep the state after this epoch, and no longer that of the one before, unless a run ends or ended there."""
        if self.chain is None:
            return
        ends_another = self.chain.path(epoch).exists()
        arrays = [np.asarray(variable) for variable in self.variables]
        self.chain.save(Checkpoint(epoch, arrays, self.history, self.seconds))
        if self.saved is not None and self.saved not in self.milestones:
            self.chain.remove(self.saved)
        self.saved = None if ends_another else epoch

    def _note(self, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            self.history.setdefault(name, []).append(value)

    def _tell(self, epoch: int, metrics: dict[str, float]) -> None:
        """Ask whether to go on; stop where not, or where the accuracy aimed at is reached."""
        if not self.on_epoch(epoch, metrics):
            self.stopped = "asked"
        elif _stop_epoch(self.config, self.history):
            self.stopped = "stop_at_accuracy"

    def _result(self) -> RunResult:
        """What a run that ends now has."""
        result = RunResult({name: list(values) for name, values in self.history.items()}, stopped=self.stopped)
        result.final = self._final_metrics(result)
        result.final["seconds_per_epoch"] = median(self.seconds[1:] or self.seconds)
        earlier = sum(self.known.seconds) if self.known else 0.0
        result.final["seconds"] = earlier + time.perf_counter() - self.start
        return result

    def ended(self) -> RunResult:
        """The run's result; no final metrics where it was asked to stop behind its checkpoint: that model is gone."""
        if self.known and len(self.seconds) < self.known.epoch:
            return RunResult(self.history, stopped=self.stopped)
        return self._result()

    def _final_metrics(self, result: RunResult) -> dict[str, float]:
        """The trained model on a fixed slice of its training set, its gap to the test set, size and prediction."""
        config = self.config
        regression = config.data.task == "regression"
        part = data.fixed_slice(self.parts.train, config.trainer.train_eval_size, stratified=not regression)
        final = _named("train_eval/", self.evaluate(part))
        if tested := result.history.get("test/accuracy"):
            final["gap/accuracy"] = final["train_eval/accuracy"] - tested[-1]
        if regression and config.trainer.evaluate_test:
            # Of one number from one: what the course's first network predicts for its last point.
            x = self.parts.test.x.astype(np.float32) / np.float32(config.data.scale)
            final["prediction"] = float(np.mean(self.net.predict_on_batch(x)))
        return final | {"epochs": float(result.epochs), "parameters": float(self.net.count_params())}


def _stop_epoch(config: RunConfig, history: dict[str, list[float]]) -> int | None:
    """The epoch after which `stop_at_accuracy` ends a run with this history; None where it does not."""
    target = config.trainer.stop_at_accuracy
    reached = (e for e, value in enumerate(history.get("train/accuracy", []), start=1) if target and value >= target)
    return next(reached, None)


def _seed_everything(config: RunConfig) -> None:
    start_tensorflow(threads(config))
    import keras

    keras.backend.clear_session()
    # After clear_session, which resets the policy to float32.
    keras.config.set_dtype_policy(resolve_precision(config.trainer.precision))
    keras.utils.set_random_seed(config.seed)


def _named(prefix: str, metrics: dict[str, float]) -> dict[str, float]:
    return {prefix + name: value for name, value in metrics.items()}
