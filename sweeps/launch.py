"""Launching a sweep: what stands before and after the engine."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from filelock import Timeout
from rich.console import Console

from pipeline.config.schema import ConfigError, DataConfig, RunConfig, is_of_store
from pipeline.datasets import dataset as data
from pipeline.datasets.download import source_key
from pipeline.inference.load import ALIAS
from pipeline.progress import watch
from pipeline.run import NO_CHECKPOINT
from pipeline.system.addresses import masked
from pipeline.tracking.locks import locked
from pipeline.tracking.retry import StoreError
from pipeline.training.trainer import one_line
from sweeps.backends.local import Keep, Warm
from sweeps.config.ablation import Ablation
from sweeps.config.study import StudyConfig
from sweeps.execution.engine import CONFIRMED, Engine, Unit
from sweeps.execution.epoch_timing import timings
from sweeps.execution.plan import refuse_over_budget
from sweeps.load import COMMAND, ablation_results, grid_results, study_result
from sweeps.reports.findings import judge_ablation
from sweeps.reports.publish import Publication, best_row, point_of, publish_ablation, publish_grid, publish_study
from sweeps.results import Row, StudyTrial, lost_trials
from sweeps.search.optuna_study import Study
from sweeps.sweep import Sweep

if TYPE_CHECKING:
    from pipeline.tracking.tracker import TrackedRun, Tracker


@dataclass
class Launch:
    """One launch: the sweep, what it writes to, and its parent run."""

    sweep: Sweep
    tracker: Tracker
    study: Study
    engine: Engine
    parent: str
    to: Publication

    def runs(self) -> dict[str, dict[int, TrackedRun]]:
        """Finished runs by trial and seed."""
        by_label = self.engine.by_label
        return {label: {u.seed: u.tracked for u in units if u.tracked} for label, units in by_label.items()}


def launch_ablation(ablation: Ablation, console: Console) -> int:
    """Run what is missing of the ablation, judge its claims and show all of it; the exit code.

    Raises:
        ConfigError: if the sweep is running already, exists with another config, or needs more than its budget.
        DataError: if the data cannot be had.
    """

    def publish(launched: Launch) -> bool:
        launched.engine.kept()  # what is timed now wants the machine for itself
        results = ablation_results(ablation, launched.runs(), launched.tracker)
        compared = [trial for trial in ablation.sweep.trials or [] if trial.label in ablation.config.timed]
        seconds = timings(compared, ablation.timing, launched.tracker, launched.parent, console)
        findings = judge_ablation(ablation, results, seconds)
        publish_ablation(launched.to, ablation, results, seconds, findings)
        wrong = findings.contradicted
        if ablation.strict and wrong:
            why = f"{ablation.sweep.name}: strict=true, and CONTRADICTED is {', '.join(wrong)}"
            console.print(why, style="red", soft_wrap=True)
        return not (ablation.strict and wrong)

    return _locked(ablation.sweep, ablation.config.description, publish, console)


def launch_search(config: StudyConfig, sweep: Sweep, console: Console) -> int:
    """Run a study, or a Hydra-native sweep, and show what came of it; the exit code. Raises as `launch_ablation`."""

    def publish(launched: Launch) -> bool:
        if sweep.trials is not None:
            publish_grid(launched.to, grid_results(sweep, launched.runs(), launched.tracker), sweep.config.statistics)
            return True
        result = study_result(launched.study)
        try:
            confirmed = _confirm(launched, result.best[0], config.confirm_seeds) if result.best else []
        except KeyboardInterrupt:
            publish_study(launched.to, result, [])
            raise
        publish_study(launched.to, result, confirmed)
        return True

    return _locked(sweep, config.description, publish, console)


def _locked(sweep: Sweep, description: str, publish: Callable[[Launch], bool], console: Console) -> int:
    try:
        with locked(sweep.store, sweep.name, timeout=0):
            return _launch(sweep, description, publish, console)
    except Timeout as error:
        running = f"the sweep {sweep.name} is running already, in another process"
        raise ConfigError(f"{running} (lock file {error.lock_file})") from None
    except OSError as error:
        raise StoreError(f"the store {sweep.store.folder} fails: {one_line(error)}. {StoreError.advice}") from error


def _launch(sweep: Sweep, description: str, publish: Callable[[Launch], bool], console: Console) -> int:
    data_sha256 = _Hashes(console)
    for used in [sweep.config, *(trial.base for trial in sweep.trials or [])]:
        data_sha256(used.data)  # had before anything is started
    # Started before Optuna and MLflow are imported and opened: there is as much for them to import.
    with Warm(sweep) as pool:
        from pipeline.tracking.tracker import Tracker

        # A server goes first: where it is away, nothing is made here.
        tracker = Tracker(sweep.store) if sweep.store.tracking_uri else None
        study = Study(sweep)
        if study.is_done:
            pool.dismiss()
        return _run(sweep, description, study, tracker or Tracker(sweep.store), data_sha256, pool, publish, console)


def _run(
    sweep: Sweep,
    description: str,
    study: Study,
    tracker: Tracker,
    data_sha256: _Hashes,
    pool: Warm,
    publish: Callable[[Launch], bool],
    console: Console,
) -> int:
    tracker.close_abandoned()
    study.close_abandoned()
    tags = {"convsweep.seeds": str(sweep.seeds), "mlflow.note.content": description}
    tags[COMMAND] = json.dumps([word for word in sweep.command if not is_of_store(word)])
    tracker.restore(sweep.name, console.print)
    parent = tracker.open_sweep(sweep.name, tags)
    if lost := lost_trials(study.run_ids(), tracker, parent, sweep) if sweep.trials is None else []:
        console.print(f"trials whose runs are gone from MLflow: {len(lost)}; they are trained again")
        study.ask_again(lost)
    to = Publication(sweep, description, tracker, parent, console)
    try:
        address = f"http://127.0.0.1:{sweep.store.ui_port}{_save_view(sweep, tracker, parent)}"
        with Engine(sweep, tracker, study, parent, data_sha256, pool) as engine:
            engine.add_listed()
            refuse_over_budget(sweep, engine.queue, tracker)
            _tell_start(sweep, engine, console)
            with watch(console) as engine.watch:
                engine.run()
            launched = Launch(sweep, tracker, study, engine, parent, to)
            held = _published(launched, publish)
    except BaseException as error:
        killed = isinstance(error, KeyboardInterrupt | ConfigError)
        with suppress(Exception):  # the store itself may be what failed; the next launch closes what is left open
            tracker.close(parent, "KILLED" if killed else "FAILED", one_line(error))
        raise
    failed = [unit for unit in engine.units if unit.reason]
    tracker.close(parent, "FAILED" if failed else "FINISHED", f"{len(failed)} runs failed" if failed else "")
    for unit in failed:
        console.print(masked(f"failed: {unit.key}: {unit.reason}"), style="red", soft_wrap=True)
    console.print(f"to browse: convsweep ui {sweep.name}\n  which serves {address}", soft_wrap=True, highlight=False)
    return 1 if failed or not held else 0


class _Hashes:
    """SHA-256 of data sets, each fetched, checked and hashed once."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.known: dict[str, str] = {}

    def __call__(self, config: DataConfig) -> str:
        key = source_key(config)
        if key not in self.known:
            self.known[key] = data.load(config, self.console.print).sha256
        return self.known[key]


def _tell_start(sweep: Sweep, engine: Engine, console: Console) -> None:
    if sweep.trials is not None:
        equal = len(engine.units) - len(engine.queue) - engine.reused
        told = f"{len(engine.units)} runs, {engine.reused} known, {len(engine.queue)} to train"
        told += f", {equal} equal to another here" if equal else ""
        console.print(f"{sweep.name}: {told}", soft_wrap=True)
    else:
        counts, total = engine.study.counts, sweep.limits.n_trials
        of_total = f" of {total}" if total else ""
        console.print(f"{sweep.name}: {counts.finished}{of_total} trials known, {len(sweep.seeds)} seeds each")


def _confirm(launched: Launch, best: StudyTrial, seeds: list[int]) -> list[TrackedRun]:
    """Train the best config on fresh seeds with the test set; its finished runs."""
    if not seeds:
        return []
    launched.to.console.print(
        f"trial {best.number} is confirmed on fresh seeds {seeds}; only this looks at the test set"
    )
    with watch(launched.to.console) as launched.engine.watch:
        units = launched.engine.confirm(point_of(launched.sweep, best), seeds)
    return [unit.tracked for unit in units if unit.tracked]


def _best_run(launched: Launch) -> tuple[RunConfig, TrackedRun] | None:
    """Config and run whose model is the sweep's: of the confirmation where there is one, else of the best trial."""
    sweep = launched.sweep
    confirmed = [unit for unit in launched.engine.units if unit.trial.label.endswith(CONFIRMED)]
    found = [(unit.config, unit.tracked) for unit in confirmed if unit.tracked]
    if not found and sweep.trials is not None:
        found = [(unit.config, unit.tracked) for unit in _best_units(launched) if unit.tracked]
    elif not found and (best := study_result(launched.study).best):
        found = _runs_of(launched, best[0])
    return max(found, key=lambda pair: sweep.sign * pair[1].metrics[sweep.objective], default=None)


def _runs_of(launched: Launch, trial: StudyTrial) -> list[tuple[RunConfig, TrackedRun]]:
    """Config and run of every seed of a study's completed trial, of this launch or an earlier one."""
    point, pairs = point_of(launched.sweep, trial), zip(trial.seeds, trial.run_ids, strict=True)
    return [(point.config(seed), launched.tracker.get(run_id)) for seed, run_id in pairs]


def _all_runs(launched: Launch) -> list[tuple[RunConfig, TrackedRun]]:
    """Config and run of everything that is finished, earlier launches of a study included."""
    found = [(unit.config, unit.tracked) for unit in launched.engine.units if unit.tracked]
    if launched.sweep.trials is None:
        trials = study_result(launched.study).trials
        found += [pair for trial in trials if trial.state == "COMPLETE" for pair in _runs_of(launched, trial)]
    return found


def _best_units(launched: Launch) -> list[Unit]:
    """Runs of a grid's best trial."""
    rows = [Row(label, "", list(by_seed), list(by_seed.values()), {}) for label, by_seed in launched.runs().items()]
    best = best_row(rows, launched.sweep)
    return launched.engine.units_of(best.label) if best else []


def _published(launched: Launch, publish: Callable[[Launch], bool]) -> bool:
    """Publish, while workers log models; register the best one. What `publish` says."""
    sweep, tracker = launched.sweep, launched.tracker
    if sweep.trials is None:  # publishing trains the best config on fresh seeds, whose models may be wanted
        held = publish(launched)
        launched.engine.keep(_models(launched))
    else:
        launched.engine.keep(_models(launched))
        held = publish(launched)
    for line in (wrong := launched.engine.kept()):
        launched.to.console.print(line, style="red", soft_wrap=True)
    best = _best_run(launched)
    if best and sweep.store.log_model != "none" and tracker.register(best[1].run_id, sweep.name, ALIAS):
        name = best[1].tags.get("mlflow.runName", best[1].run_id)
        launched.to.console.print(f"the model of {name} is registered as {sweep.name}@{ALIAS}", highlight=False)
    return held and not wrong


def _models(launched: Launch) -> list[Keep]:
    """The models that `store.log_model` asks for and that are not logged yet."""
    sweep, best = launched.sweep, _best_run(launched)
    if best is None or sweep.store.log_model == "none":
        return []
    if not sweep.config.checkpoints.max_gib:
        launched.to.console.print(f"no model is logged: {NO_CHECKPOINT}")
        return []
    wanted = _all_runs(launched) if sweep.store.log_model == "all" else [best]
    jobs = {run.run_id: Keep(config, run) for config, run in wanted}  # trials may share a run
    return [job for run_id, job in jobs.items() if not launched.tracker.has_model(run_id)]


def _save_view(sweep: Sweep, tracker: Tracker, parent: str) -> str:
    """Save MLflow's view of the sweep: its runs grouped by config, seeds averaged; its address."""
    keys = [f"{key}.name" if "." not in key else key for key in sweep.varied]
    part = sweep.objective.partition("/")[0]
    metrics = [f"{part}/accuracy", f"{part}/loss", "train/accuracy", "train/loss", "gap/accuracy"]
    columns = [f"params.{key}" for key in [*keys, "seed"]] + [f"metrics.{name}" for name in metrics]
    return tracker.save_view(sweep.name, parent, columns)
