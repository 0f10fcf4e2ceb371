"""Logging the models that `store.log_model` asks for, by the workers, and registering the best."""

from __future__ import annotations

from statistics import fmean, stdev
from typing import TYPE_CHECKING

from pipeline.config.schema import RunConfig
from pipeline.inference.load import ALIAS
from pipeline.progress import waiting
from pipeline.run import NO_CHECKPOINT
from pipeline.tracking.reader import TRIAL
from sweeps.backends.base import POLL_SECONDS, Done, Failed, LogModel
from sweeps.claims.words import metric_in_words
from sweeps.execution.session import Session

if TYPE_CHECKING:
    from pipeline.tracking.reader import TrackedRun

ConfiguredRun = tuple[RunConfig, "TrackedRun"]


def log_models(session: Session, best: list[ConfiguredRun], others: list[ConfiguredRun]) -> None:
    """Log models that are not logged yet, and register the best run's as NAME@best.

    What goes wrong is added to the session's errors.

    Args:
        session: The launch.
        best: Runs of the best config, of which the best one's model is the sweep's.
        others: All finished runs, which `store.log_model=all` asks for.
    """
    sweep, store = session.sweep, session.sweep.store
    if store.log_model == "none" or not best:
        return
    if not sweep.config.checkpoints.max_gib:
        session.console.print(f"no model is logged: {NO_CHECKPOINT}")
        return
    chosen = max(best, key=lambda pair: sweep.sign * pair[1].metrics[sweep.objective])
    wanted = {
        run.run_id: LogModel(config, run) for config, run in [chosen, *(others if store.log_model == "all" else [])]
    }
    with waiting(session.console, "logging the model"):
        _log([job for run_id, job in wanted.items() if not session.tracker.models.has(run_id)], session)
    description = _description(chosen, [run for _, run in best], session)
    if session.tracker.models.register(chosen[1].run_id, sweep.name, ALIAS, description):
        name = chosen[1].tags.get("mlflow.runName", chosen[1].run_id)
        by = f"the best by {metric_in_words(sweep.objective)}"
        line = f"the model of {name}, {by}, is registered as {sweep.name}@{ALIAS}"
        session.console.print(line, soft_wrap=True, highlight=False)


def _description(chosen: ConfiguredRun, runs: list[TrackedRun], session: Session) -> str:
    """Return what the registry says of the model, as Markdown: what was trained, how good it is, how to load it."""
    sweep, (config, run) = session.sweep, chosen
    values = [each.metrics[sweep.objective] for each in runs]
    spread = f" ± {stdev(values):.4f}" if len(values) > 1 else ""
    seeds = ", ".join(sorted((each.params["seed"] for each in runs), key=int))
    model = f"{sweep.name}@{ALIAS}"
    lines = [
        f"The best config of the sweep {sweep.name} ({sweep.description}): {run.tags[TRIAL]}.",
        f"- {sweep.objective}: {run.metrics[sweep.objective]:.4f} with this seed, {config.seed}; "
        f"{fmean(values):.4f}{spread} over the seeds {seeds}",
        f"- data: {config.data.name}; input {config.data.shape}, divided by {config.data.scale:g}",
        f"- use it: `convsweep predict {model} FILE`, `convsweep explain {model}`",
    ]
    if config.model.builder is None:
        lines.append(f"- load it: `mlflow.keras.load_model('models:/{model}')`")
    return "\n".join([lines[0], "", *lines[1:]])


def _log(jobs: list[LogModel], session: Session) -> None:
    """Hand the jobs to the workers, and wait for them."""
    backend, running = session.backend, 0
    while jobs or running:
        while jobs and backend.idle:
            backend.start(jobs.pop(0))
            running += 1
        for key, message in backend.messages(POLL_SECONDS):
            running -= isinstance(message, Done | Failed)
            if isinstance(message, Failed):
                session.errors.append(f"the model of {key} is not logged: {message.reason}")
