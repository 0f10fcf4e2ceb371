"""Launching sweeps: each function trains what is missing, judges, publishes, and returns what came of it.

They print on the console that they are given, and nothing by default.
"""

from __future__ import annotations

from dataclasses import replace

from rich.console import Console

from pipeline.tracking.reader import TrackedRun
from pipeline.tracking.tracker import Tracker
from sweeps.claims.verdicts import Finding
from sweeps.config.ablation import Ablation
from sweeps.execution.epoch_timing import time_epochs
from sweeps.execution.looks import first_look, look_in_words, next_in_words, next_look, promising_claims
from sweeps.execution.model_logging import ConfiguredRun, log_models
from sweeps.execution.session import Reporter, Session, open_session
from sweeps.load import ablation_results
from sweeps.reports.context import ReportContext
from sweeps.reports.findings import judge_ablation
from sweeps.reports.publish import publish_ablation, publish_grid, publish_study
from sweeps.results import (
    CONFIRMED,
    FINALIST,
    StudyResult,
    StudyTrial,
    TrialResult,
    best_result,
    lost_trials,
    tracked_runs,
    trial_of,
    trial_results,
)
from sweeps.search.finalists import finalists_of, with_finalists
from sweeps.search.history import study_result
from sweeps.search.optuna_figures import draw_grid
from sweeps.search.proposers import Batch, Grid, Proposer, Sampler
from sweeps.sweep import Sweep
from sweeps.sweep_result import AblationResult, GridResult, StudySweepResult

QUIET = Console(quiet=True)


def ablate(
    ablation: Ablation, console: Console = QUIET, reporter: Reporter | None = None, join: bool = False
) -> AblationResult:
    """Train what is missing of an ablation, time epochs if a claim compares speed, judge the claims, publish.

    With `seeds=auto` the trials of claims that are not decided are trained with further seeds, look by look.

    Args:
        ablation: What to launch.
        console: Shows what is done.
        reporter: Makes what shows progress; None for the console.
        join: Work beside launches of it that are running already; else these are an error.

    Raises:
        ConfigError: if the sweep is running already, or exists with another config.
        DataError: if the data cannot be had.
        KeyboardInterrupt: after Ctrl-C or SIGTERM; what is finished is tracked.
        StoreError: if the store fails.
        BackendError: if there is no worker to train with, and will be none.
    """
    sweep = ablation.sweep
    with open_session(sweep, console, reporter, join) as session:
        look: Batch | None = first_look(sweep)
        timed, seconds = ablation.timed_trials, dict[str, list[float]]()
        while look:
            session.train(Grid(sweep, session.history, session.membership.leases, look))
            if timed and not seconds:
                with session.membership.in_turn(console.print):
                    seconds = time_epochs(timed, ablation.timing, session.tracker, session.parent, console)
            known, _ = tracked_runs(session.tracker, session.parent, sweep)  # of earlier launches, too
            results = ablation_results(ablation, known, session.tracker)
            findings = judge_ablation(ablation, results, seconds)
            following = None if session.is_over else next_look(look, sweep, findings.claims)
            _say_look(session, look, following, findings.claims, results)
            look = following
        with session.membership.in_turn(console.print):
            log_models(session, _best_runs(session, results), session.finished)
            publish_ablation(_context(session), ablation, results, seconds, findings)
    return AblationResult(*_outcome(session), results, ablation, seconds, findings)


def _say_look(
    session: Session, look: Batch, following: Batch | None, claims: list[Finding], results: list[TrialResult]
) -> None:
    sweep = session.sweep
    lines = look_in_words(look, sweep, claims)
    if following:
        lines.append(next_in_words(following, results, session.backend.resources.workers))
    elif look.seeds == [*range(len(sweep.seeds))] and promising_claims(look, sweep, claims):  # those that auto takes
        lines.append("  seeds=auto adds seeds for what is open")
    for line in lines:
        session.console.print(line, soft_wrap=True, highlight=False)


def grid(sweep: Sweep, console: Console = QUIET, reporter: Reporter | None = None, join: bool = False) -> GridResult:
    """Train what is missing of a grid, and publish. Raises as `ablate`."""
    with open_session(sweep, console, reporter, join) as session:
        session.train(Grid(sweep, session.history, session.membership.leases))
        with session.membership.in_turn(console.print):
            results = trial_results(sweep, session.tracked, session.tracker)
            log_models(session, _best_runs(session, results), session.finished)
            publish_grid(_context(session), results)
    return GridResult(*_outcome(session), results)


def study(sweep: Sweep, console: Console = QUIET, reporter: Reporter | None = None) -> StudySweepResult:
    """Search, choose among the finalists, confirm the chosen config with the test set, publish. Raises as `ablate`.

    It is never joined: one launch alone asks its sampler.
    """
    with open_session(sweep, console, reporter) as session:
        session.train(_sampler(session))
        result = study_result(session.history)
        confirmed: list[TrackedRun] = []
        try:
            result = _choose(session, result)
            confirmed = _confirm(session, result.best, list(sweep.confirm_seeds))
        finally:  # an interrupted confirmation keeps the study's page
            publish_study(_context(session), result, confirmed)
        log_models(session, *_study_runs(session, result.best, result.trials))
    return StudySweepResult(*_outcome(session), result, confirmed)


def _sampler(session: Session) -> Sampler:
    """Return the study's proposer, which proposes again what was cut off, or whose runs are gone."""
    sampler = Sampler(session.sweep, session.history, lambda: session.is_over)
    sampler.close_abandoned()
    if lost := lost_trials(session.history.run_ids(), session.tracker, session.parent, session.sweep):
        session.console.print(f"trials whose runs are gone from MLflow: {len(lost)}; they are trained again")
        sampler.propose_again(lost)
    return sampler


def _choose(session: Session, result: StudyResult) -> StudyResult:
    """Train the finalists on fresh seeds; return the study with the best of them as its best trial."""
    sweep, finalists = session.sweep, finalists_of(result, session.sweep)
    if not finalists:
        return result
    numbers, seeds = ", ".join(str(trial.number) for trial in finalists), list(sweep.finalist_seeds)
    session.console.print(f"trials {numbers} are trained again on fresh seeds {seeds}; the best by its mean is chosen")
    points = [trial_of(sweep, trial) for trial in finalists]
    again = [replace(point, label=point.label + FINALIST) for point in points]
    session.train(Proposer(seeds, again), is_limited=False)
    runs, _ = tracked_runs(session.tracker, session.parent, sweep)  # of earlier launches, too
    return with_finalists(result, runs, sweep)


def _confirm(session: Session, best: list[StudyTrial], seeds: list[int]) -> list[TrackedRun]:
    """Train the chosen config on fresh seeds with the test set, which nothing has seen that chose it."""
    if not best or not seeds:
        return []
    session.console.print(
        f"trial {best[0].number} is confirmed on fresh seeds {seeds}; only this looks at the test set"
    )
    point = trial_of(session.sweep, best[0])
    trainer = replace(point.base.trainer, evaluate_test=True)
    trial = replace(point, label=point.label + CONFIRMED, base=replace(point.base, trainer=trainer))
    return [run.tracked for run in session.train(Proposer(seeds, [trial]), is_limited=False) if run.tracked]


def _best_runs(session: Session, results: list[TrialResult]) -> list[ConfiguredRun]:
    """Return config and run of every seed of a grid's best trial."""
    best = best_result(results, session.sweep)
    return [(run.run.composed, run.tracked) for run in session.runs[best.label] if run.tracked] if best else []


def _study_runs(
    session: Session, best: list[StudyTrial], trials: list[StudyTrial]
) -> tuple[list[ConfiguredRun], list[ConfiguredRun]]:
    """Return config and run of the confirmation's seeds, or else the best trial's, and of everything finished."""

    def runs_of(trial: StudyTrial) -> list[ConfiguredRun]:
        point, pairs = trial_of(session.sweep, trial), zip(trial.seeds, trial.run_ids, strict=True)
        return [(point.config(seed), session.tracker.get(run_id)) for seed, run_id in pairs]

    if not best or session.sweep.store.log_model == "none":
        return [], []
    everything = session.sweep.store.log_model == "all"
    others = [pair for trial in trials if trial.state == "COMPLETE" for pair in runs_of(trial)] if everything else []
    confirmed = session.runs.get(f"{best[0].number}{CONFIRMED}", [])
    chosen = [(run.run.composed, run.tracked) for run in confirmed if run.tracked]
    return chosen or runs_of(best[0]), session.finished + others


def _context(session: Session) -> ReportContext:
    return ReportContext(session.sweep, session.tracker, session.parent, session.console, draw_grid)


def _outcome(session: Session) -> tuple[Sweep, Tracker, str, int, list[str], str]:
    """Return what the results of all sweeps have."""
    failures = [f"failed: {run.key}: {run.failed}" for run in session.failed] + session.errors
    return session.sweep, session.tracker, session.parent, 0, failures, session.address
