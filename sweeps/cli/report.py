"""`convsweep report`: a sweep's tables, figures and page again from what is tracked. Trains nothing."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from pipeline.config.checks import ConfigError
from pipeline.inference.load import open_store
from sweeps.load import AblationResult, GridResult, StudySweepResult, command_of, load_results
from sweeps.reports.context import ReportContext
from sweeps.reports.publish import publish_ablation, publish_grid, publish_index, publish_study


def rebuild(name: str, overrides: Sequence[str], console: Console) -> None:
    """Rebuild the report of the sweep `name`; `overrides` say where the store is.

    Raises:
        ConfigError: if there is no store or no such sweep in it.
    """
    loaded = load_results(name, overrides)
    if loaded.left_out:
        console.print(
            f"{loaded.left_out} older runs are left out: they were trained by other code, library versions, data or "
            "precision than the newest, and cannot be averaged with them",
            style="yellow",
            soft_wrap=True,
        )
    context = ReportContext(loaded.sweep, loaded.description, loaded.tracker, loaded.parent, console)
    match loaded:
        case AblationResult(ablation=ablation, results=results, timings=timings, findings=findings):
            publish_ablation(context, ablation, results, timings, findings)
        case GridResult(results=results):
            publish_grid(context, results)
        case StudySweepResult(study=study, confirmed=confirmed):
            publish_study(context, study, confirmed)


def rebuild_all(overrides: Sequence[str], console: Console) -> None:
    """Rebuild the reports of all ablations in the store, and the index over them. Raises as `rebuild`."""
    store, tracker = open_store(overrides)
    parents = {name: tracker.find_sweep(name) for name in tracker.sweeps()}
    ablations = [name for name, parent in parents.items() if parent and command_of(name, parent)[:1] == ["ablate"]]
    if not ablations:
        raise ConfigError(f"{store.folder} holds no ablation; make one: convsweep ablate demo")
    for name in ablations:
        rebuild(name, overrides, console)
    console.print(f"index: {publish_index(store)}", soft_wrap=True, highlight=False)
