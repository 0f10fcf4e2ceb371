"""The sentences that a page begins with. They say what was measured and judged, and never more than the verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from pipeline.tracking.reader import TrackedRun
from sweeps.claims.verdicts import CONTRADICTED, INCONCLUSIVE, REPRODUCED, Finding
from sweeps.claims.words import metric_in_words, number_in_words, plural
from sweeps.reports.findings import AblationFindings
from sweeps.reports.tables import mean_and_deviation
from sweeps.results import StudyResult, TrialResult, best_result, comparable_results
from sweeps.sweep import Sweep

# Verbs by verdict, of one and of several. A published number inside an interval is not proved by that.
OF_CLAIMS = {
    REPRODUCED: ("holds", "hold"),
    CONTRADICTED: ("is contradicted", "are contradicted"),
    INCONCLUSIVE: ("is not decided", "are not decided"),
}
OF_NUMBERS = OF_CLAIMS | {REPRODUCED: ("cannot be told apart from ours", "cannot be told apart from ours")}


def ablation_headline(findings: AblationFindings, results: Sequence[TrialResult], sweep: Sweep) -> str:
    """Return how many claims and published numbers hold, and which config came out best."""
    parts = [claims_in_words(findings.claims), numbers_in_words(findings.published), best_in_words(results, sweep)]
    return " ".join(filter(None, parts)) or "Nothing has finished yet."


def claims_in_words(findings: Sequence[Finding]) -> str:
    """Return how many claims hold, and at how many seeds that was decided; empty without any."""
    return _counted(findings, "claim", OF_CLAIMS, _seeds_in_words(findings))


def numbers_in_words(findings: Sequence[Finding]) -> str:
    """Return how many published numbers may be ours; empty without any."""
    return _counted(findings, "published number", OF_NUMBERS, "")


def best_in_words(results: Sequence[TrialResult], sweep: Sweep) -> str:
    """Return which config has the best mean over the seeds that all have; that it beats the next is not said."""
    best = best_result(comparable_results(results, sweep), sweep)
    if best is None:
        return ""
    values = best.values(sweep.objective)
    mean, over = ("mean ", f"over {len(values)} seeds") if len(values) > 1 else ("", "with one seed")
    if any(len(result.runs) > len(values) for result in results):
        over = f"over the first {len(values)} seeds"
    return f"{best_of(sweep, mean).capitalize()} measured: {best.label}, {number_in_words(fmean(values))} {over}."


def best_of(sweep: Sweep, mean: str = "") -> str:
    """Return what the best config has, as in `highest test accuracy`."""
    return f"{'highest' if sweep.sign > 0 else 'lowest'} {mean}{metric_in_words(sweep.objective)}"


def grid_headline(results: Sequence[TrialResult], sweep: Sweep) -> str:
    """Return which config of a grid came out best, and that nothing says by chance or not."""
    best = best_in_words(results, sweep)
    untested = "A grid makes no claims: whether the difference to the others is chance is not tested."
    return f"{best} {untested}" if best else "Nothing has finished yet."


def study_headline(study: StudyResult, confirmed: Sequence[TrackedRun], sweep: Sweep) -> str:
    """Return the best trial of a search, and what fresh seeds gave."""
    best, objective = study.best[0], metric_in_words(sweep.objective)
    count = sum(trial.state == "COMPLETE" for trial in study.trials)
    trials = plural(count, "completed trial{s}")
    among = f"{plural(len(study.finalists), 'finalist{s}')}, of {trials}" if study.finalists else trials
    mean = f", mean of {plural(len(best.seeds), 'seed{s}')}" if study.finalists else ""
    chosen = f"Trial {best.number} is the best of {among}: {objective} {number_in_words(best.values[0])}{mean}."
    if not confirmed:
        return f"{chosen} It was chosen by that value, which flatters it; no fresh seeds have confirmed it."
    again = [f"{metric_in_words(metric)} {_spread(metric, confirmed)}" for metric in tested(confirmed, sweep)]
    return f"{chosen} Trained again on {plural(len(confirmed), 'fresh seed{s}')}: {', '.join(again)}."


def tested(confirmed: Sequence[TrackedRun], sweep: Sweep) -> list[str]:
    """Return the metrics that describe a confirmation: the objective, and the same on the test set."""
    quantity = sweep.objective.partition("/")[2]
    metrics = dict.fromkeys([sweep.objective, f"test/{quantity}"])
    return [metric for metric in metrics if all(metric in run.metrics for run in confirmed)]


def _spread(metric: str, runs: Sequence[TrackedRun]) -> str:
    return mean_and_deviation([run.metrics[metric] for run in runs])


def _counted(findings: Sequence[Finding], noun: str, verbs: dict[str, tuple[str, str]], over: str) -> str:
    counts = Counter(finding.verdict for finding in findings)
    total, end = len(findings), f" ({over})." if over else "."
    if not total:
        return ""
    if counts[INCONCLUSIVE] == total > 1:
        return f"None of the {total} {noun}s is decided{end}"
    if len(counts) == 1:
        (verdict,) = counts
        subject = f"The {noun}" if total == 1 else f"Both {noun}s" if total == 2 else f"All {total} {noun}s"
        return f"{subject} {verbs[verdict][total > 1]}{end}"
    parts = [f"{counts[verdict]} {verbs[verdict][counts[verdict] > 1]}" for verdict in verbs if counts[verdict]]
    return f"Of {total} {noun}s {' and '.join([', '.join(parts[:-1]), parts[-1]])}{end}"


def _seeds_in_words(findings: Sequence[Finding]) -> str:
    """Return at how many seeds, and in how many rounds of timing, claims were judged."""
    words = []
    for repeats, noun, place in (("seeds", "seed{s}", "at"), ("rounds", "round{s} of timing", "in")):
        given = [it.outcome.n for it in findings if it.outcome and it.outcome.repeats == repeats]
        if given:
            least = f"{min(given)} to " if min(given) < max(given) else ""
            words.append(f"{place} {least}{plural(max(given), noun)}")
    is_decided = not any(finding.is_open for finding in findings)
    return ("decided " if is_decided else "") + " and ".join(words) if words else ""
