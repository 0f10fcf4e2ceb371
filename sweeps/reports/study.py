"""What a study's page shows beside its tables: the best trials as a chart, all learning curves, and the best config."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

from pipeline.tracking.reader import TRIAL, TrackedRun
from sweeps.claims.words import metric_in_words, number_in_words
from sweeps.reports.context import ReportContext
from sweeps.reports.figures import Drawing, draw_trials
from sweeps.reports.headline import tested
from sweeps.reports.tables import confirmation_metrics, mean_and_deviation, point_in_words
from sweeps.results import StudyResult, TrialResult, ranked
from sweeps.sweep import Sweep

RunsByTrial = Mapping[str, Sequence[TrackedRun]]
# Curves are read one run after the other.
MOST_CURVES = 100
# Of the figures that Optuna draws, by file.
CAPTIONS = {
    "history.png": "The objective of every trial in order, and the best so far.",
    "importance.png": "How much of the objective's variation each parameter explains.",
    "slice.png": "The objective by each parameter alone: a dot per trial.",
    "parallel_coordinate.png": "Every trial as a line through its parameters; the darker, the better.",
    "pareto_front.png": "All objectives of every trial; of the best, none is better in all.",
}


def runs_by_trial(context: ReportContext) -> RunsByTrial:
    """Return a study's runs by trial, those that were pruned and those that failed too."""
    runs: dict[str, list[TrackedRun]] = {}
    for run in reversed(context.tracker.children(context.parent, context.sweep.name)):
        runs.setdefault(run.tags.get(TRIAL, ""), []).append(run)
    return runs


def best_trials(study: StudyResult, sweep: Sweep, runs: RunsByTrial) -> list[TrialResult]:
    """Return the completed trials with their finished runs, finalists first, with their fresh seeds; the best first."""
    tracked = {run.run_id: run for each in runs.values() for run in each}
    numbers = {trial.number for trial in study.finalists}
    others = [trial for trial in ranked(study.trials, sweep) if trial.number not in numbers]
    results = []
    for trial in [*study.finalists, *others]:
        own = {
            seed: tracked[run_id] for seed, run_id in zip(trial.seeds, trial.run_ids, strict=True) if run_id in tracked
        }
        results.append(TrialResult(f"trial {trial.number}", f"trial {trial.number}", [*own], [*own.values()]))
    return results


def count_states(study: StudyResult) -> list[tuple[int, str]]:
    """Return how many trials there are, and how they ended."""
    states = Counter(trial.state.lower() for trial in study.trials)
    return [(len(study.trials), "trials"), *((count, state) for state, count in sorted(states.items()))]


def curves_drawing(context: ReportContext, study: StudyResult, runs: RunsByTrial) -> list[Drawing]:
    """Return the figure of the objective after every epoch, of the newest trials; none if it is not of an epoch."""
    metric, best = context.sweep.objective, str(study.best[0].number)
    numbers = {str(trial.number) for trial in study.trials[-MOST_CURVES:]} | {best}
    curves: dict[str, list[list[float]]] = {}
    for trial in numbers & runs.keys() if metric.startswith("val/") else ():
        histories = [context.tracker.history(run.run_id) for run in runs[trial]]
        curves[trial] = [history[metric] for history in histories if metric in history]
    caption = f"{metric_in_words(metric)} after each epoch: a line per run, pruned ones are short, the best stands out."
    draw = partial(draw_trials, curves, best, metric, context.sweep.name)
    return [Drawing("trials.png", caption, draw)] if any(curves.values()) else []


def best_card(study: StudyResult, confirmed: Sequence[TrackedRun], sweep: Sweep) -> list[tuple[str, str]]:
    """Return the best config, what it reached when it was chosen and on fresh seeds, and how it is trained again."""
    best = study.best[0]
    card = {"config": f"trial {best.number}: {point_in_words(best, sweep)}"}
    for metric, value in zip(sweep.objectives, best.values, strict=True):
        card[metric_in_words(metric)] = f"{number_in_words(value)} when it was chosen"
    if confirmed:
        for metric in tested(confirmed, sweep):
            words, values = metric_in_words(metric), [run.metrics[metric] for run in confirmed]
            fresh = f"{mean_and_deviation(values)} on {len(values)} fresh seeds"
            card[words] = "; ".join(filter(None, [card.get(words), fresh]))
        bias = confirmation_metrics(best, confirmed, sweep)["selection_bias"]
        card["selection bias"] = f"{bias:+.4f}: how much better it was when it was chosen"
    return [*card.items(), ("train it again; best.yaml lies beside this page", "convsweep train --from best.yaml")]
