"""What a sweep gave: its table, findings, figures, report and best model, shown in a terminal and in a notebook."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from rich.console import Console

from pipeline.config.checks import ConfigError, did_you_mean
from pipeline.config.groups import config_files
from pipeline.config.schema import RunConfig
from pipeline.system.unchanged import unchanged
from sweeps.config.ablation import Ablation
from sweeps.reports.context import REPORTS
from sweeps.reports.findings import AblationFindings
from sweeps.reports.frames import runs_frame, study_frame, summary_frame
from sweeps.reports.headline import ablation_headline, grid_headline, study_headline
from sweeps.reports.page import render
from sweeps.reports.tables import Table, confirmation_table, finalists_table, results_table, study_table
from sweeps.reports.terminal import show_findings, show_table
from sweeps.results import StudyResult, TrialResult, best_result, trial_of
from sweeps.sweep import Sweep

if TYPE_CHECKING:
    import keras
    import pandas as pd

    from pipeline.tracking.reader import TrackedRun
    from pipeline.tracking.tracker import Tracker

WIDTH = 120  # characters of a result's repr


@dataclass(frozen=True, repr=False)
class Figure:
    """A figure of a report, which shows itself in a notebook; Matplotlib is not needed for that."""

    path: Path

    def __repr__(self) -> str:
        return f"Figure({self.path.stem})"  # a notebook keeps it: without the folders of a machine

    def _repr_png_(self) -> bytes:
        return self.path.read_bytes()


@dataclass(frozen=True)
class Best:
    """A sweep's best trial.

    Attributes:
        trial: Its label.
        params: What it sets, by config key.
        metrics: Means over its finished runs.
        config: The config of its best run, of which `model` is.
        run_id: That run in MLflow.
        is_own: Whether this program has launched the sweep, and so named the code that the model may need.
    """

    trial: str
    params: Mapping[str, object]
    metrics: Mapping[str, float]
    config: RunConfig = field(repr=False)
    run_id: str
    is_own: bool = field(repr=False)

    def model(self, trust: bool = False) -> keras.Model:
        """Return the trained model of the best run, uncompiled.

        Args:
            trust: Whether to import the code that a tracked config names; that of a sweep launched here is known.

        Raises:
            ConfigError: if none is stored any more, or it needs code and no `trust`.
        """
        return trained_model(self.run_id, self.config, trust or self.is_own)


def trained_model(run_id: str, config: RunConfig, trust: bool) -> keras.Model:
    """Return the model of a tracked run from the store of `config`; raises as `Best.model`."""
    from pipeline.inference.load import load_model
    from pipeline.tracking.tracker import Tracker

    with unchanged():
        config_files(afresh=True)  # the project's folder is the first to import from again
        return load_model(run_id, config.store, Tracker(config.store), trust).net


@dataclass(frozen=True)
class FinishedRun:
    """A tracked run: its id in MLflow, its config, and the last value of every metric."""

    run_id: str
    config: RunConfig = field(repr=False)
    metrics: Mapping[str, float]

    def model(self) -> keras.Model:
        """Return the trained model, uncompiled. Raise ConfigError if it is not stored any more."""
        return trained_model(self.run_id, self.config, trust=True)


@dataclass(frozen=True, repr=False)
class SweepResult:
    """What a sweep gave.

    Attributes:
        sweep: As composed from the command that launched it.
        tracker, parent: Where it is tracked: the store, and the id of the sweep's run in it.
        left_out: Number of runs that cannot be averaged with the newest, made by other code or on other data.
        failures: What failed in this launch, a line each.
        address: MLflow's page of it, while `convsweep ui` serves it.
    """

    sweep: Sweep
    tracker: Tracker
    parent: str
    left_out: int
    failures: list[str]
    address: str

    @property
    def name(self) -> str:
        """The sweep's name: its experiment in MLflow, its study in Optuna, and what `load_results` takes."""
        return self.sweep.name

    @property
    def report(self) -> Path:
        """The report's page, report.html; `convsweep report NAME` writes it again if it is gone."""
        return self.sweep.store.folder / REPORTS / self.name / "report.html"

    @property
    def report_shown(self) -> str:
        """The same as it is written in `store.root`, from the folder that the program was in."""
        return str(Path(self.sweep.store.root) / REPORTS / self.name / "report.html")

    @property
    def figures(self) -> list[str]:
        """Names of the report's figures."""
        return sorted(path.stem for path in self.report.parent.glob("*.png"))

    def figure(self, name: str) -> Figure:
        """Return a figure of the report by its name, one of `figures`. Raise ConfigError if there is none."""
        if name.removesuffix(".png") not in self.figures:
            names = ", ".join(self.figures) or f"none; convsweep report {self.name} draws them"
            raise ConfigError(f"there is no figure {name}{did_you_mean(name, self.figures)}. There are: {names}")
        return Figure(self.report.with_name(f"{name.removesuffix('.png')}.png"))

    @property
    def table(self) -> pd.DataFrame:
        """What was measured, as a table."""
        raise NotImplementedError

    @property
    def headline(self) -> str:
        """What came out, in a sentence or three: what the report begins with."""
        raise NotImplementedError

    @property
    def best(self) -> Best | None:
        """The best trial by the sweep's objective; None if none has finished."""
        raise NotImplementedError

    @property
    def _tables(self) -> list[Table]:
        raise NotImplementedError

    @property
    def _findings(self) -> AblationFindings:
        return AblationFindings([], [])

    def __repr__(self) -> str:
        console = Console(file=io.StringIO(), width=WIDTH, markup=False, force_jupyter=False, color_system=None)
        for table in self._tables:
            show_table(table, console)
        show_findings(self._findings, console)
        for line in [*self.failures, f"report: {self.report_shown}"]:
            console.print(line, soft_wrap=True)
        return f"{self.name}: {self.sweep.description}\n{console.file.getvalue()}"  # type: ignore[attr-defined]

    def _repr_html_(self) -> str:
        return render("notebook.html.j2", result=self, tables=self._tables, findings=self._findings.claims)

    def _best_of(self, trial: str, params: Mapping[str, object], base: RunConfig, runs: Sequence[TrackedRun]) -> Best:
        sign, objective = self.sweep.sign, self.sweep.objective
        run = max(runs, key=lambda each: sign * each.metrics[objective])
        names = [name for name in run.metrics if all(name in each.metrics for each in runs)]
        metrics = {name: fmean(each.metrics[name] for each in runs) for name in sorted(names)}
        return Best(
            trial, dict(params), metrics, replace(base, seed=int(run.params["seed"])), run.run_id, bool(self.address)
        )


@dataclass(frozen=True, repr=False)
class GridResult(SweepResult):
    """A grid's trials."""

    results: list[TrialResult]

    @property
    def table(self) -> pd.DataFrame:
        """A row per finished run: trial, seed, what the trial sets by config key, last value of each metric, run id."""
        return runs_frame(self.results, self.sweep)

    @property
    def summary(self) -> pd.DataFrame:
        """A row per trial: what it sets, number of finished seeds, mean and standard deviation of each metric."""
        return summary_frame(self.results, self.sweep)

    @property
    def headline(self) -> str:
        """Which config came out best."""
        return grid_headline(self.results, self.sweep)

    @property
    def best(self) -> Best | None:
        """The best trial by the mean of the objective; None if none has finished."""
        best = best_result(self.results, self.sweep)
        if best is None:
            return None
        trial = next(trial for trial in self.sweep.trials or [] if trial.label == best.label)
        return self._best_of(best.label, trial.params, trial.base, best.runs)

    @property
    def _tables(self) -> list[Table]:
        return [results_table(self.results, self.sweep.config.statistics, best=best_result(self.results, self.sweep))]


@dataclass(frozen=True, repr=False)
class AblationResult(GridResult):
    """An ablation's trials, and seconds per epoch of those that were timed, round by round."""

    ablation: Ablation
    timings: Mapping[str, list[float]]
    findings: AblationFindings

    @property
    def headline(self) -> str:
        """How many claims and published numbers hold, and which config came out best."""
        return ablation_headline(self.findings, self.results, self.sweep)

    @property
    def _tables(self) -> list[Table]:
        best = best_result(self.results, self.sweep)
        return [results_table(self.results, self.ablation.statistics, self.findings.published, best=best)]

    @property
    def _findings(self) -> AblationFindings:
        return self.findings


@dataclass(frozen=True, repr=False)
class StudySweepResult(SweepResult):
    """A study's trials, and the runs of the best one on fresh seeds."""

    study: StudyResult
    confirmed: list[TrackedRun]

    @property
    def table(self) -> pd.DataFrame:
        """A row per trial that has ended: number, state, its point by config key, each objective, why it failed."""
        return study_frame(self.study.trials, self.sweep)

    @property
    def headline(self) -> str:
        """Which trial is the best, and what fresh seeds gave."""
        if not self.study.best:
            return "No trial was completed."
        return study_headline(self.study, self.confirmed, self.sweep)

    @property
    def best(self) -> Best | None:
        """The best trial, with its runs on fresh seeds where it was confirmed; None if none was completed."""
        if not self.study.best:
            return None
        best = self.study.best[0]
        with unchanged():
            base = trial_of(self.sweep, best).base
            runs = self.confirmed or [self.tracker.get(run_id) for run_id in best.run_ids]
        if self.confirmed:
            base = replace(base, trainer=replace(base.trainer, evaluate_test=True))
        return self._best_of(str(best.number), best.params, base, runs)

    @property
    def _tables(self) -> list[Table]:
        tables = [study_table(self.study, self.sweep)]
        if self.study.finalists:
            tables.append(finalists_table(self.study, self.sweep))
        if self.confirmed and self.study.best:
            tables.append(confirmation_table(self.study.best[0], self.confirmed, self.sweep))
        return tables
