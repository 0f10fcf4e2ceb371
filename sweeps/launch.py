"""Launching a sweep: what stands before and after the engine; the plan that a dry run prints."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import yaml
from filelock import FileLock, Timeout
from rich.console import Console

from pipeline import data
from pipeline.config import ConfigError, DataConfig, RunConfig, to_dict
from pipeline.patience import StoreError
from pipeline.progress import watch
from pipeline.run import checkpoint_file
from pipeline.train import one_line
from sweeps.ablation import Ablation
from sweeps.engine import CONFIRMED, Engine, Unit
from sweeps.plan import refuse_over_budget
from sweeps.report import Row, draw_axis, mean_and_deviation, study_table, tables, write_csv, write_study_csv
from sweeps.search import StudyConfig
from sweeps.study import Study
from sweeps.sweep import Sweep, Trial

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from pipeline.tracking import TrackedRun, Tracker

REGISTERED_ALIAS = "best"


@dataclass
class Launch:
    """One launch: the sweep, what it writes to, and its parent run."""

    sweep: Sweep
    tracker: Tracker
    study: Study
    engine: Engine
    parent: str
    console: Console


def launch_ablation(ablation: Ablation, console: Console) -> int:
    """Run what is missing of the ablation and show all of it; the exit code.

    Raises:
        ConfigError: if the sweep is running already, exists with another config, or needs more than its budget.
        DataError: if the data cannot be had.
    """

    def publish(launched: Launch) -> None:
        rows = [
            Row(trial.label, told.tick, *_finished(launched.engine.units_of(trial.label)), told.published)
            for trial, told in zip(ablation.sweep.trials or [], ablation.config.trials.values(), strict=True)
        ]
        _publish_grid(launched, rows, ablation.config.description, ablation.config.axis)

    return _locked(ablation.sweep, ablation.config.description, publish, console)


def launch_search(config: StudyConfig, sweep: Sweep, console: Console) -> int:
    """Run a study, or a Hydra-native sweep, and show what came of it; the exit code. Raises as `launch_ablation`."""

    def publish(launched: Launch) -> None:
        if sweep.trials is not None:
            trials = [(trial, _finished(launched.engine.units_of(trial.label))) for trial in sweep.trials]
            rows = [Row(trial.label, trial.label.replace(" ", "\n"), *finished, {}) for trial, finished in trials]
            _publish_grid(launched, rows, config.description, ", ".join(sweep.varied))
        else:
            _publish_study(launched, config)

    return _locked(sweep, config.description, publish, console)


def _locked(sweep: Sweep, description: str, publish: Callable[[Launch], None], console: Console) -> int:
    lock = sweep.store.folder / "locks" / f"{sweep.name}.lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock, timeout=0):
            return _launch(sweep, description, publish, console)
    except Timeout:
        raise ConfigError(f"the sweep {sweep.name} is running already, in another process (lock file {lock})") from None
    except OSError as error:
        raise StoreError(f"the store {sweep.store.folder} cannot be used: {one_line(error)}") from error


def _launch(sweep: Sweep, description: str, publish: Callable[[Launch], None], console: Console) -> int:
    from pipeline.tracking import Tracker

    data_sha256 = _Hashes(console)
    for used in [sweep.config, *(trial.base for trial in sweep.trials or [])]:
        data_sha256(used.data)  # had before anything is started
    study = Study(sweep)
    tracker = Tracker(sweep.store)
    tracker.close_abandoned()
    study.close_abandoned()
    tags = {"convsweep.seeds": str(sweep.seeds), "mlflow.note.content": description}
    parent = tracker.open_sweep(sweep.name, tags)
    try:
        address = f"http://127.0.0.1:{sweep.store.ui_port}{_save_view(sweep, tracker, parent)}"
        with Engine(sweep, tracker, study, parent, data_sha256) as engine:
            engine.add_listed()
            refuse_over_budget(sweep, engine.queue, tracker)
            _tell_start(sweep, engine, console)
            with watch(console) as engine.watch:
                engine.run()
            launched = Launch(sweep, tracker, study, engine, parent, console)
            publish(launched)
        _log_best_model(launched)
    except BaseException as error:
        killed = isinstance(error, KeyboardInterrupt | ConfigError)
        with suppress(Exception):  # the store itself may be what failed; the next launch closes what is left open
            tracker.close(parent, "KILLED" if killed else "FAILED", one_line(error))
        raise
    failed = [unit for unit in engine.units if unit.reason]
    tracker.close(parent, "FAILED" if failed else "FINISHED", f"{len(failed)} runs failed" if failed else "")
    for unit in failed:
        console.print(f"failed: {unit.key}: {unit.reason}", style="red", soft_wrap=True)
    console.print(f"to browse: convsweep ui {sweep.name}\n  which serves {address}", soft_wrap=True, highlight=False)
    return 1 if failed else 0


class _Hashes:
    """SHA-256 of data sets, each fetched, checked and hashed once."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.known: dict[tuple[object, ...], str] = {}

    def __call__(self, config: DataConfig) -> str:
        key = (config.name, config.dir, config.cache, config.format, config.folder, config.train_size, config.test_size)
        if key not in self.known:
            self.known[key] = data.load(config, self.console.print).sha256
        return self.known[key]


def _tell_start(sweep: Sweep, engine: Engine, console: Console) -> None:
    if sweep.trials is not None:
        known = len(engine.units) - len(engine.queue)
        console.print(f"{sweep.name}: {len(engine.units)} runs, {known} known, {len(engine.queue)} to train")
    else:
        counts, total = engine.study.counts, sweep.limits.n_trials
        of_total = f" of {total}" if total else ""
        console.print(f"{sweep.name}: {counts.finished}{of_total} trials known, {len(sweep.seeds)} seeds each")


def _finished(units: list[Unit]) -> tuple[list[int], list[TrackedRun]]:
    """Seeds and tracked runs of the units that finished."""
    done = [unit for unit in units if unit.tracked]
    return [unit.seed for unit in done], [unit.tracked for unit in done if unit.tracked]


def _publish_grid(launched: Launch, rows: list[Row], description: str, axis: str) -> None:
    """Print the table; log results.csv and the figure on the parent run."""
    sweep = launched.sweep
    for part in tables(f"{sweep.name}: {description}", rows, launched.console.width):
        launched.console.print(part)
    metric = sweep.objective.partition("/")[2]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_csv(rows, folder / "results.csv")
        name = axis.replace(", ", "_").replace(".", "_")
        draw_axis(rows, metric, axis, sweep.name, folder / f"{metric}_by_{name}.png")
        if best := _best_units(launched):
            values = [unit.tracked.metrics[sweep.objective] for unit in best if unit.tracked]
            told = f"{best[0].trial.label}: {sweep.objective} {fmean(values):.6f}, mean over the seeds {sweep.seeds}."
            _write_best(best[0].config, told, folder / "best.yaml", sweep)
        launched.tracker.log_files(launched.parent, sorted(folder.iterdir()))


def _publish_study(launched: Launch, config: StudyConfig) -> None:
    """Confirm the best config, print the best trials, and log figures, results.csv and best.yaml on the parent run."""
    sweep, study, console = launched.sweep, launched.study, launched.console
    best = study.best_trials()
    if not best:
        console.print("no trial was completed", style="red")
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_study_csv(study.trials(), sweep, folder / "results.csv")
        for trouble in study.draw(folder):
            console.print(f"no figure of {trouble}", highlight=False, soft_wrap=True)
        point = _point(sweep, best[0])
        told = f"Trial {best[0].number}: {sweep.objective} {best[0].values[0]:.6f}, mean over the seeds {sweep.seeds}."
        _write_best(point.config(sweep.seeds[0]), told, folder / "best.yaml", sweep)
        launched.tracker.log_files(launched.parent, sorted(folder.iterdir()))
    console.print(study_table(f"{sweep.name}: {config.description}", study.trials(), best, sweep))
    if config.confirm_seeds:
        _confirm(launched, point, best[0], config.confirm_seeds)


def _confirm(launched: Launch, point: Trial, best: FrozenTrial, seeds: list[int]) -> None:
    """Train the best config on fresh seeds; tell its test metrics, and by how much its selection flattered it."""
    sweep, console = launched.sweep, launched.console
    console.print(f"trial {best.number} is confirmed on fresh seeds {seeds}; only this looks at the test set")
    with watch(console) as launched.engine.watch:
        units = launched.engine.confirm(point, seeds)
    runs = [unit.tracked for unit in units if unit.tracked]
    if not runs:
        return
    told = {}
    for metric in sorted({name for run in runs for name in run.metrics if name.startswith(("test/", "val/"))}):
        values = [run.metrics[metric] for run in runs]
        told[f"confirm/{metric}"] = fmean(values)
        console.print(f"  confirmed {metric:14} {mean_and_deviation(values)} (n={len(values)})", highlight=False)
    bias = sweep.sign * (best.values[0] - told[f"confirm/{sweep.objective}"])
    told["selection_bias"] = bias
    console.print(
        f"  {sweep.objective} was {best.values[0]:.4f} when trial {best.number} was chosen: its choice flattered it by "
        f"{bias:+.4f}",
        highlight=False,
    )
    launched.tracker.log_epoch(launched.parent, 0, told)


def _best_run(launched: Launch) -> tuple[RunConfig, TrackedRun] | None:
    """Config and run whose model is the sweep's: of the confirmation where there is one, else of the best trial."""
    sweep = launched.sweep
    confirmed = [unit for unit in launched.engine.units if unit.trial.label.endswith(CONFIRMED)]
    found = [(unit.config, unit.tracked) for unit in confirmed if unit.tracked]
    if not found and sweep.trials is not None:
        units = _best_units(launched)
        found = [(unit.config, unit.tracked) for unit in units if unit.tracked]
    elif not found and (best := launched.study.best_trials()):
        point = _point(sweep, best[0])
        seeds, run_ids = best[0].user_attrs["seeds"], best[0].user_attrs["run_ids"]
        found = [
            (point.config(seed), launched.tracker.get(run_id)) for seed, run_id in zip(seeds, run_ids, strict=True)
        ]
    return max(found, key=lambda pair: sweep.sign * pair[1].metrics[sweep.objective], default=None)


def _best_units(launched: Launch) -> list[Unit]:
    """Runs of a grid's best trial: by the mean of the objective over the seeds, among trials without a failed run."""
    sweep, by_label = launched.sweep, launched.engine.by_label
    whole = [units for units in by_label.values() if all(unit.tracked for unit in units)]

    def mean(units: list[Unit]) -> float:
        return fmean(unit.tracked.metrics[sweep.objective] for unit in units if unit.tracked)

    return max(whole, key=lambda units: sweep.sign * mean(units), default=[])


def _point(sweep: Sweep, best: FrozenTrial) -> Trial:
    """A finished trial of a study with its config."""
    assert sweep.space is not None
    return sweep.trial(str(best.number), sweep.space.overrides(sweep.space.point(best.params)), {})


def _write_best(config: RunConfig, told: str, path: Path, sweep: Sweep) -> None:
    """The best config, as `convsweep train --from best.yaml` reads it; `told` says how good it was."""
    head = (
        f"# The best config of the sweep {sweep.name}; to train it again: convsweep train --from best.yaml\n# {told}\n"
    )
    path.write_text(head + yaml.safe_dump(to_dict(config), sort_keys=False))


def _log_best_model(launched: Launch) -> None:
    """Log the models that `store.log_model` asks for, and register the best one under an alias."""
    sweep, tracker = launched.sweep, launched.tracker
    best = _best_run(launched)
    if best is None or sweep.store.log_model == "none":
        return
    every = [(unit.config, unit.tracked) for unit in launched.engine.units if unit.tracked]
    for config, run in every if sweep.store.log_model == "all" else [best]:
        file = checkpoint_file(config, run.signature)
        if not tracker.has_model(run.run_id) and file.exists():
            tracker.log_model(run.run_id, file, config)
    if tracker.register(best[1].run_id, sweep.name, REGISTERED_ALIAS):
        name = best[1].tags.get("mlflow.runName", best[1].run_id)
        launched.console.print(f"the model of {name} is registered as {sweep.name}@{REGISTERED_ALIAS}", highlight=False)


def _save_view(sweep: Sweep, tracker: Tracker, parent: str) -> str:
    """Save MLflow's view of the sweep: its runs grouped by what it varies, seeds averaged; its address."""
    keys = [f"{key}.name" if "." not in key else key for key in sweep.varied]
    part = sweep.objective.partition("/")[0]
    metrics = [f"{part}/accuracy", f"{part}/loss", "train/accuracy", "train/loss", "gap/accuracy"]
    columns = [f"params.{key}" for key in [*keys, "seed"]] + [f"metrics.{name}" for name in metrics]
    group_by = [("param", key) for key in keys] if sweep.trials is not None else [("tag", "convsweep.trial")]
    return tracker.save_view(sweep.name, parent, group_by, columns)
