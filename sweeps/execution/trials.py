"""The trials of a sweep: their runs, and what the proposer records once these have ended."""

from __future__ import annotations

from statistics import fmean

from pipeline.progress import short_number
from sweeps.claims.words import metric_in_words
from sweeps.execution.schedule import Schedule, SweepRun
from sweeps.search.proposers import Outcome, Proposer
from sweeps.sweep import Sweep, Trial


class Trials:
    """Trials by what is known of their runs.

    Attributes:
        runs: The runs of every trial, by its label, in the order of the seeds.
        reused: Number of runs that were finished already.
    """

    def __init__(self, sweep: Sweep, proposer: Proposer, schedule: Schedule) -> None:
        self.sweep, self.proposer, self.schedule = sweep, proposer, schedule
        self.runs: dict[str, list[SweepRun]] = {}
        self.reused = 0
        self.settled: set[str] = set()

    def settle(self, trial: Trial) -> bool:
        """Tell the proposer how a trial ended, if it has; return whether it has just now."""
        runs = self.runs[trial.label]
        self._judge_seeds(trial, runs)
        if trial.label in self.settled or not all(run.is_done for run in runs):
            return False
        self.settled.add(trial.label)
        outcome = self._outcome(runs)
        self.proposer.record(trial, outcome)
        self.proposer.ended[outcome.state] += 1
        return True

    def _judge_seeds(self, trial: Trial, runs: list[SweepRun]) -> None:
        """Give a trial up if a seed of it failed, or if the pruner, asked after each seed in order, says so."""
        if not self.proposer.prunes(trial):
            return
        hopeless = any(run.failed for run in runs)
        for step, run in enumerate(runs if len(runs) > 1 else ()):
            if run.tracked is None:
                break
            hopeless |= self.proposer.report(trial, run.tracked.metrics[self.sweep.objective], step)
        if hopeless:
            self.schedule.cancel(runs)

    def _outcome(self, runs: list[SweepRun]) -> Outcome:
        tracked = [run.tracked for run in runs if run.tracked]
        values = {str(run.seed): run.tracked.metrics[self.sweep.objective] for run in runs if run.tracked}
        attrs = {"seeds": self.proposer.seeds, "values": values, "metric": self.sweep.objective}
        attrs |= {"run_ids": [each.run_id for each in tracked], "signatures": [each.signature for each in tracked]}
        if reasons := [f"{run.key}: {run.failed}" for run in runs if run.failed]:
            return Outcome("failed", reason="; ".join(reasons))
        if len(tracked) < len(runs):
            return Outcome("pruned", attrs=attrs)
        means = [fmean(each.metrics[metric] for each in tracked) for metric in self.sweep.objectives]
        return Outcome("complete", means, attrs=attrs)

    def runs_in_all(self) -> tuple[int, int]:
        """Return how many runs there are, as far as is known, and how many of them are done."""
        if self.proposer.listed:
            runs = [run for runs in self.runs.values() for run in runs]
            return len(runs), sum(run.is_done for run in runs)
        ended, seeds = sum(self.proposer.ended.values()), len(self.proposer.seeds)
        return self.proposer.total * seeds, ended * seeds

    def summary(self) -> str:
        """Return best value and counts so far, in one line."""
        noun, best = "config" if self.proposer.listed else "trial", self.proposer.best()
        counts = [f"{count} {state}" for state, count in self.proposer.ended.items() if count]
        parts = [] if best is None else [f"best {metric_in_words(self.sweep.objective)} {short_number(best)}"]
        parts += [f"{noun}s: {', '.join(counts)}"] if counts else []
        return "; ".join(parts + ([f"{self.reused} runs reused"] if self.reused else []))
