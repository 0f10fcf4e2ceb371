"""Records runs of a sweep in MLflow: reuses equal ones, opens, logs and closes the others."""

from __future__ import annotations

from pipeline.tracking.reader import PARENT, SWEEP, TRIAL, TrackedRun
from pipeline.tracking.tracker import Tracker
from pipeline.training.checkpoints import folder_of, free
from sweeps.backends.base import Done, Failed
from sweeps.execution.schedule import SweepRun
from sweeps.sweep import Sweep

PRUNED_AT = "convsweep.pruned_at"
PROCESSOR = "convsweep.processor"


class Recorder:
    """Writes the runs of one sweep. The parent process alone writes: a worker that dies takes nothing with it."""

    def __init__(self, sweep: Sweep, tracker: Tracker, parent: str) -> None:
        """Look up what the sweep has finished already."""
        self.sweep, self.tracker, self.parent = sweep, tracker, parent
        self.finished: dict[str, TrackedRun] = {}  # by signature
        self.own: dict[tuple[str, str | None], TrackedRun] = {}  # by signature and trial
        for run in tracker.children(parent, sweep.name):
            if run.is_finished:
                self._remember(run)

    def _remember(self, run: TrackedRun) -> None:
        self.finished.setdefault(run.signature, run)
        self.own.setdefault((run.signature, run.tags.get(TRIAL)), run)

    def reuse(self, run: SweepRun, share: bool) -> bool:
        """Take an equal finished run: the trial's own, else a copy of another's; return whether there is one.

        Args:
            run: The run that would be trained.
            share: Whether trials of this sweep share a run instead of copying it.
        """
        signature = run.run.signature
        if own := self.own.get((signature, run.trial.label)) or (self.finished.get(signature) if share else None):
            run.tracked = own
            return True
        source = self.finished.get(signature) or self.tracker.find_finished(signature)
        if source is None:
            return False
        copy = self.tracker.copy_run(source, run.run, self.sweep.name, run.name, self._tags(run))
        run.tracked = self.tracker.get(copy)
        self._remember(run.tracked)
        return True

    def open(self, run: SweepRun) -> None:
        """Open a run that is being trained."""
        overrides = [*run.trial.overrides, f"seed={run.seed}"]
        run.run_id = self.tracker.open_run(run.run, self.sweep.name, run.name, self._tags(run), overrides)

    def epoch(self, run: SweepRun, epoch: int, metrics: dict[str, float]) -> None:
        """Log the metrics of an epoch."""
        self.tracker.log_epoch(run.run_id, epoch, metrics)

    def end(self, run: SweepRun, message: Done | Failed) -> str:
        """Close a run as what it became; return that in words."""
        if isinstance(message, Failed):
            self.tracker.close(run.run_id, "KILLED" if message.died else "FAILED", message.reason, message.details)
            outcome = message.reason
        elif run.pruned_at:
            outcome = f"pruned after epoch {run.pruned_at}"
            self.tracker.close(run.run_id, "KILLED", outcome, tags={PRUNED_AT: str(run.pruned_at)})
        elif run.cancelled:
            outcome = "stopped: its trial was given up"
            self.tracker.close(run.run_id, "KILLED", outcome)
        else:
            if message.processor not in ("", run.run.tags[PROCESSOR]):  # it was trained on another machine
                self.tracker.tag(run.run_id, {PROCESSOR: message.processor})
            trouble = self.tracker.finish_run(run.run_id, message.result, run.key)
            outcome = f"finished; {trouble}" if trouble else "finished"
            run.tracked = self.tracker.get(run.run_id)
            self._remember(run.tracked)
        run.run_id = ""
        return outcome

    def curve(self, run: TrackedRun, metric: str) -> list[float]:
        """Return the metric after each epoch of a tracked run."""
        return self.tracker.history(run.run_id)[metric]

    def interrupt(self, run: SweepRun) -> None:
        """Close a run that is being trained as interrupted."""
        self.tracker.close(run.run_id, "KILLED", "the sweep was interrupted")
        run.run_id = ""

    def free_checkpoints(self, running: list[SweepRun]) -> None:
        """Delete least recently used checkpoints beyond `checkpoints.max_gib`, but none of the runs being trained."""
        if max_gib := self.sweep.config.checkpoints.max_gib:
            free(folder_of(self.sweep.store), max_gib, [run.run.checkpoints.folder for run in running])

    def _tags(self, run: SweepRun) -> dict[str, str]:
        return {SWEEP: self.sweep.name, TRIAL: run.trial.label, PARENT: self.parent}
