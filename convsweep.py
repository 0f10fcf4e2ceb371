"""convsweep in Python: launch sweeps, look at their results, train single runs; like the commands of the same names.

>>> import convsweep
>>> config = convsweep.compose({"model.filters": 16, "trainer.epochs": 2})
>>> config.model.filters, config.trainer.epochs
(16, 2)

Everything is trained in worker processes. Nothing is printed without `progress=True`, nothing exits, and nothing in
the program is changed: no environment variable, signal handler, random generator, setting of Keras, MLflow or
Matplotlib. All errors are `ConvsweepError`. Importing this module imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config.checks import ConfigError
from pipeline.datasets.cache import DataError
from pipeline.system.errors import ConvsweepError
from pipeline.system.unchanged import unchanged
from pipeline.tracking.retry import StoreError
from pipeline.training.result import RunResult, TrainingError

if TYPE_CHECKING:
    from pipeline.config.schema import RunConfig
    from sweeps.arrays import Arrays
    from sweeps.sweep_result import AblationResult, FinishedRun, GridResult, StudySweepResult, SweepResult

__all__ = [
    "ConfigError",
    "ConvsweepError",
    "DataError",
    "RunResult",
    "StoreError",
    "TrainingError",
    "ablate",
    "compose",
    "grid",
    "load_results",
    "run",
    "study",
    "train",
    "use_config_folder",
]

Overrides = str | Sequence[str] | Mapping[str, Any]


def ablate(name: str, overrides: Overrides = (), *, progress: bool = False, join: bool = False) -> AblationResult:
    """Run an ablation beside its published numbers, as `convsweep ablate`.

    Args:
        name: A file of conf/ablation.
        overrides: As on the command line, `["seeds=[0,1,2]"]`, or by key, `{"seeds": [0, 1, 2]}`.
        progress: Show bars.
        join: If it is running already, in another program or on another machine, help that launch, training what it
            has not begun; False raises an error instead.

    Raises:
        ConfigError: for anything wrong in the name or the overrides, or if it is running already: nothing was started.
        DataError: if the data cannot be had.
        StoreError: if the store fails.
        ConvsweepError: if backend=ray has no worker, and will have none.
        KeyboardInterrupt: after Ctrl-C; what is finished is kept, and the same call continues.
    """
    with _call():
        from sweeps.config.ablation import compose_ablation
        from sweeps.launch import QUIET
        from sweeps.launch import ablate as launch

        return launch(compose_ablation(name, _words(overrides)), QUIET, _reporter(progress), join)


def study(name: str, overrides: Overrides = (), *, progress: bool = False) -> StudySweepResult:
    """Search a space of conf/study with a sampler, as `convsweep study`. Arguments and errors are those of `ablate`.

    It cannot be joined: one launch alone asks its sampler.
    """
    with _call():
        from sweeps.config.study import compose_study
        from sweeps.launch import QUIET
        from sweeps.launch import study as launch

        return launch(compose_study(name, _words(overrides)), QUIET, _reporter(progress))


def grid(
    swept: Mapping[str, Sequence[Any]] | Callable[..., Any],
    overrides: Overrides = (),
    *,
    data: Arrays | None = None,
    task: str | None = None,
    seeds: int | Sequence[int] = 3,
    name: str | None = None,
    progress: bool = False,
    join: bool = False,
    **args: Any,
) -> GridResult:
    """Train every combination of values with every seed, as `convsweep train -m`.

    By config key, `grid({"model.filters": [16, 32]})`; or with a function of your own that builds a model, and arrays:
    `grid(build, data=((x, y), (x_test, y_test)), filters=[16, 32], depth=2)`. Called again, it continues.

    Args:
        swept: Values by config key; or a function `build(input_shape, outputs, **args)` that returns an uncompiled
            Keras model with `outputs` linear units. It may be a notebook's or a script's own.
        overrides: Overrides of the base config, as in `ablate`.
        data: Arrays `(x, y), (x_test, y_test)`; None for the dataset of the overrides.
        task: multiclass, binary or regression; None for multiclass if y is whole numbers, regression if it is floats.
        seeds: How many, or which.
        name: The sweep's name; None for one made from what is swept.
        progress: Show bars.
        join: As in `ablate`.
        args: Arguments of the function; a list holds values to sweep.

    Raises:
        As `ablate`.
    """
    with _call():
        from sweeps.config.multirun import compose_multirun
        from sweeps.launch import QUIET
        from sweeps.launch import grid as launch

        base = [*_data_words(data, task, _words(overrides)), *_words(overrides)]
        words = base + _swept_words(swept, args)
        chosen = list(range(seeds)) if isinstance(seeds, int) else [int(seed) for seed in seeds]
        sweep = compose_multirun(words, {"seeds": chosen, "name": name})
        return launch(sweep, QUIET, _reporter(progress), join)


def load_results(name: str, overrides: Overrides = ()) -> SweepResult:
    """Return what is tracked of a sweep. Nothing is trained.

    Args:
        name: The sweep's name.
        overrides: Say where the store is, as in `{"store.root": "mlruns"}`.

    Raises:
        ConfigError: if there is no such sweep.
        StoreError: if the store fails.
    """
    with _call():
        from sweeps.load import load_results as load

        return load(name, _words(overrides))


def compose(overrides: Overrides = ()) -> RunConfig:
    """Return the config of one run, as `convsweep train` composes it. Raise ConfigError for anything wrong in it."""
    with _call():
        from pipeline.config.compose import compose as compose_config
        from pipeline.config.schema import RunConfig
        from pipeline.datasets.complete import completed
        from sweeps.backend_config import refuse_backend

        refuse_backend(_words(overrides))
        return completed(compose_config(RunConfig, "train", _words(overrides)))


def train(config: RunConfig, *, progress: bool = False) -> RunResult:
    """Train one run in a worker process, and track nothing. Equal runs are trained again.

    Raises:
        ConfigError: if the network does not fit the data.
        DataError: if the data cannot be had.
        TrainingError: if the training fails.
    """
    with _call():
        from pipeline.datasets.dataset import load
        from pipeline.training.identity import resolve
        from sweeps.backends.base import Job
        from sweeps.execution.single_run import in_worker

        run, epochs = resolve(config, load(config.data).sha256), config.trainer.epochs
        with _reporter(progress)() as reporter:

            def on_epoch(epoch: int, metrics: dict[str, float]) -> bool:
                reporter.on_epoch("run", epochs, epoch, metrics)
                return True

            def on_steps(epoch: int, step: int, steps: int, metrics: dict[str, float]) -> None:
                reporter.on_steps("run", epochs, epoch, step, steps, metrics)

            return in_worker(Job("run", run), run.threads, on_epoch, on_steps)


def run(overrides: Overrides = (), *, progress: bool = False) -> FinishedRun:
    """Train and track one run in a worker process, as `convsweep train`; an equal run that is tracked is reused.

    Raises:
        As `train`, and StoreError if the store fails.
    """
    with _call():
        from pipeline.run import run as launch
        from sweeps.execution.single_run import WorkerTrainer
        from sweeps.launch import QUIET
        from sweeps.sweep_result import FinishedRun

        config = compose(overrides)
        tracked = launch(config, _words(overrides), QUIET, WorkerTrainer(_reporter(progress)()))
        return FinishedRun(tracked.run_id, config, tracked.metrics)


def use_config_folder(folder: str | Path | None) -> None:
    """Search this folder of configs before the built-in one, as `--config-dir` does; None for conf/ of the current one.

    Raises:
        ConfigError: if the folder is not a config folder.
    """
    with unchanged():
        from pipeline.config.groups import use_config_folder as use

        use(folder)


@contextmanager
def _call() -> Iterator[None]:
    """Look at the config files afresh, and leave the program as it was."""
    from pipeline.config.groups import config_files

    with unchanged():
        config_files(afresh=True)
        yield


def _words(overrides: Overrides) -> list[str]:
    """Return overrides as words of the command line."""
    from pipeline.config.overrides import as_override

    if isinstance(overrides, str):
        return [overrides]
    if isinstance(overrides, Mapping):
        return [as_override(key, value) for key, value in overrides.items()]
    return list(overrides)


def _swept_words(swept: Mapping[str, Sequence[Any]] | Callable[..., Any], args: Mapping[str, Any]) -> list[str]:
    """Return what a grid sweeps as words of `convsweep train -m`; of a function, its fixed arguments too."""
    from pipeline.config.functions import register
    from pipeline.config.overrides import as_override, as_sweep

    if isinstance(swept, Mapping):
        if args:
            raise ConfigError(f"grid() has no argument {next(iter(args))}: arguments of a function go with a function")
        return [as_sweep(key, values) for key, values in swept.items()]
    fixed = {name: value for name, value in args.items() if not isinstance(value, list | tuple | range)}
    words = ["model=builder", as_override("model.builder", register(swept))]
    words += [as_override(f"model.args.{name}", value) for name, value in fixed.items()]
    return words + [as_sweep(f"model.args.{name}", args[name]) for name in args if name not in fixed]


def _data_words(data: Arrays | None, task: str | None, overrides: Sequence[str]) -> list[str]:
    if data is None:
        return [] if task is None else [f"data.task={task}"]
    from sweeps.arrays import array_overrides

    return array_overrides(data, task, overrides)


def _reporter(progress: bool) -> Callable[[], Any]:
    from rich.console import Console

    from pipeline.progress import ProgressReporter, report_on

    return (lambda: report_on(Console(markup=False))) if progress else ProgressReporter


def __getattr__(attribute: str) -> str:
    if attribute == "__version__":
        from importlib.metadata import version

        return version("convsweep")
    raise AttributeError(f"module {__name__!r} has no attribute {attribute!r}")
