"""`convsweep report`: rebuild a sweep's tables, figures and page from what is tracked. Trains nothing."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from rich.console import Console

from pipeline.config.checks import ConfigError
from sweeps.cli.arguments import Commands, split_words
from sweeps.cli.console import DONE, FAILED


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("report", help="rebuild a sweep's tables, figures and page from what is tracked")
    parser.set_defaults(run=run)
    parser.add_argument("words", nargs="*", metavar="name", help="sweeps that have been run; store.root=...")
    parser.add_argument("--all", action="store_true", help="every sweep, and an index page over them")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Rebuild the reports of the named sweeps, or of all sweeps; return the exit code."""
    names, overrides = split_words("report", arguments.words, least=0)
    if bool(names) == arguments.all:
        raise ConfigError("report takes the name of a sweep, or --all")
    for name in names:
        rebuild(name, overrides, console)
    return rebuild_all(overrides, console) if arguments.all else DONE


def rebuild(name: str, overrides: Sequence[str], console: Console) -> None:
    """Rebuild the report of the sweep `name`; `overrides` say where the store is.

    Raises:
        ConfigError: if there is no store or no such sweep in it.
    """
    from sweeps.load import load_results
    from sweeps.reports.context import ReportContext
    from sweeps.reports.publish import publish_ablation, publish_grid, publish_study
    from sweeps.search.optuna_figures import draw_grid
    from sweeps.sweep_result import AblationResult, GridResult, StudySweepResult

    loaded = load_results(name, overrides)
    if loaded.left_out:
        console.print(
            f"{loaded.left_out} older runs are left out: they were trained by other code, library versions, data or "
            "precision than the newest, and cannot be averaged with them",
            style="yellow",
            soft_wrap=True,
        )
    context = ReportContext(loaded.sweep, loaded.tracker, loaded.parent, console, draw_grid)
    match loaded:
        case AblationResult(ablation=ablation, results=results, timings=timings, findings=findings):
            publish_ablation(context, ablation, results, timings, findings)
        case GridResult(results=results):
            publish_grid(context, results)
        case StudySweepResult(study=study, confirmed=confirmed):
            publish_study(context, study, confirmed)


def rebuild_all(overrides: Sequence[str], console: Console) -> int:
    """Rebuild the reports of all sweeps in the store that can be, and the index over them; return the exit code.

    Raises:
        ConfigError: if there is no store, or no sweep in it.
    """
    from pipeline.inference.load import open_store
    from sweeps.reports.index import publish_index

    store, tracker = open_store(overrides)
    names = tracker.sweeps()
    if not names:
        raise ConfigError(f"{store.place} holds no sweep; make one: convsweep ablate demo")
    code = DONE
    for name in names:
        try:
            rebuild(name, overrides, console)
        except ConfigError as error:  # of one whose config files are gone, say; the others have their reports
            console.print(f"{name}: {error}", style="red", soft_wrap=True, highlight=False)
            code = FAILED
    console.print(f"index: {publish_index(store)}", soft_wrap=True, highlight=False)
    return code
