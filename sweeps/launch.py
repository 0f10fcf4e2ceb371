"""Launching an ablation: everything before and after the engine, and the dry run."""

from __future__ import annotations

import tempfile
from pathlib import Path

from filelock import FileLock, Timeout
from rich.console import Console
from rich.table import Table

from pipeline import data, model
from pipeline.config import ConfigError
from pipeline.estimate import expected_seconds
from pipeline.hardware import cores
from pipeline.progress import watch
from pipeline.run import checkpoint_file
from sweeps.ablation import Ablation
from sweeps.engine import Engine
from sweeps.report import Row, draw_axis, table, write_csv
from sweeps.study import Sweep


def plan(ablation: Ablation, console: Console) -> int:
    """Print every config that would run, with its parameters and expected time; the exit code."""
    sweep, seconds = ablation.sweep, 0.0
    out = Table(title=f"{sweep.name}: {ablation.config.description}", title_justify="left")
    for name in ("config", "overrides", "parameters", "seeds", "per run"):
        out.add_column(name, justify="left" if name in ("config", "overrides") else "right")
    for trial in sweep.trials:
        each = expected_seconds(trial.base)
        seconds += each * len(sweep.seeds)
        parameters = f"{model.total_params(model.layers(trial.base)):,}"
        seeds = ",".join(map(str, sweep.seeds))
        out.add_row(trial.label, " ".join(trial.overrides), parameters, seeds, f"{each:.0f} s")
    console.print(out)
    runs = len(sweep.trials) * len(sweep.seeds)
    console.print(
        f"{runs} runs, {_workers(sweep)} workers, expected time {seconds / 60:.1f} min (within a factor of two)"
    )
    console.print("dry run: nothing was trained; runs that are tracked already would be reused")
    return 0


def launch(ablation: Ablation, console: Console) -> int:
    """Run what is missing of the ablation and show all of it; the exit code.

    Raises:
        ConfigError: if the sweep is running already, or exists with another config.
        DataError: if the data cannot be had.
    """
    sweep = ablation.sweep
    lock = sweep.store.folder / "locks" / f"{sweep.name}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=0):
            return _launch(ablation, console)
    except Timeout:
        raise ConfigError(f"the sweep {sweep.name} is running already, in another process (lock file {lock})") from None


def _launch(ablation: Ablation, console: Console) -> int:
    from pipeline.tracking import Tracker
    from sweeps.study import Study

    sweep = ablation.sweep
    study = Study(sweep)
    data_sha256 = data.load(sweep.trials[0].base.data, console.print).sha256
    tracker = Tracker(sweep.store)
    tracker.close_abandoned()
    study.close_abandoned()
    parent = tracker.open_sweep(
        sweep.name, {"convsweep.seeds": str(sweep.seeds), "mlflow.note.content": ablation.config.description}
    )
    path = _save_view(ablation, tracker, parent)
    address = f"http://127.0.0.1:{sweep.store.ui_port}{path}"
    try:
        with watch(console) as progress:
            engine = Engine(sweep, tracker, study, parent, data_sha256, progress)
            missing = engine.reuse()
            console.print(
                f"{sweep.name}: {len(engine.units)} runs, {len(engine.units) - missing} known, {missing} to train"
            )
            engine.run()
        rows = _rows(ablation, engine)
        _publish(ablation, rows, tracker, parent, console)
        failed = [unit for unit in engine.units if unit.tracked is None]
        _log_best_model(engine, tracker, console)
    except BaseException as error:
        tracker.close(parent, "KILLED", f"interrupted ({type(error).__name__})")
        raise
    tracker.close(parent, "FAILED" if failed else "FINISHED", f"{len(failed)} runs failed" if failed else "")
    for unit in failed:
        console.print(f"failed: {unit.key}: {unit.reason}", style="red", soft_wrap=True)
    console.print(f"to browse: convsweep ui {sweep.name}\n  which serves {address}", soft_wrap=True, highlight=False)
    return 1 if failed else 0


def _rows(ablation: Ablation, engine: Engine) -> list[Row]:
    rows = []
    for trial in ablation.sweep.trials:
        units = [unit for unit in engine.units if unit.trial is trial and unit.tracked]
        told = ablation.config.trials[trial.label]
        runs = [unit.tracked for unit in units if unit.tracked]
        rows.append(Row(trial.label, told.tick, [unit.seed for unit in units], runs, told.published))
    return rows


def _publish(ablation: Ablation, rows: list[Row], tracker: object, parent: str, console: Console) -> None:
    """Print the table; log results.csv, the figure and best.yaml on the parent run."""
    from pipeline.tracking import Tracker

    assert isinstance(tracker, Tracker)
    sweep, config = ablation.sweep, ablation.config
    title = f"{sweep.name}: {config.description}"
    console.print(table(title, rows))
    metric = sweep.objective.partition("/")[2]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_csv(rows, folder / "results.csv")
        draw_axis(rows, metric, config.axis, sweep.name, folder / f"{metric}_by_{config.axis}.png")
        tracker.log_files(parent, sorted(folder.iterdir()))


def _log_best_model(engine: Engine, tracker: object, console: Console) -> None:
    """Log the models that `store.log_model` asks for: of the best run by the objective, or of every run."""
    from pipeline.tracking import Tracker

    assert isinstance(tracker, Tracker)
    sweep = engine.sweep
    done = [(unit, unit.tracked) for unit in engine.units if unit.tracked]
    if not done or sweep.store.log_model == "none":
        return
    if sweep.store.log_model == "best":
        sign = 1 if sweep.direction == "maximize" else -1
        done = [max(done, key=lambda pair: sign * pair[1].metrics[sweep.objective])]
    for unit, run in done:
        file = checkpoint_file(unit.config, run.signature)
        if not tracker.has_model(run.run_id) and file.exists():
            tracker.log_model(run.run_id, file, unit.config)
            console.print(f"logged the model of {unit.key} with its run", highlight=False)


def _save_view(ablation: Ablation, tracker: object, parent: str) -> str:
    """Save MLflow's view of the sweep: its runs grouped by what it varies, seeds averaged; its address."""
    from pipeline.tracking import Tracker

    assert isinstance(tracker, Tracker)
    keys = [f"{key}.name" if "." not in key else key for key in ablation.sweep.varied]
    columns = [f"params.{key}" for key in [*keys, "seed"]]
    columns += [
        f"metrics.{name}" for name in ("test/accuracy", "test/loss", "train/accuracy", "train/loss", "gap/accuracy")
    ]
    return tracker.save_view(ablation.sweep.name, parent, [("param", key) for key in keys], columns)


def _workers(sweep: Sweep) -> int:
    return sweep.workers or cores()
