"""`convsweep study`: search a space with a sampler."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from rich.console import Console

from sweeps.cli.arguments import Commands, add_sweep_parser, options_and_overrides
from sweeps.cli.console import reporter_of, show_end, show_plans, show_start

if TYPE_CHECKING:
    from sweeps.sweep import Sweep


def add_parser(commands: Commands) -> None:
    """Add the command."""
    what = "search a space of conf/study with a sampler"
    add_sweep_parser(commands, "study", what, "a study", "study.n_trials=30").set_defaults(run=run)


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Run a study, or print its plan; return the exit code."""
    from sweeps.config.study import compose_study

    (name,), overrides = options_and_overrides("study", arguments.words, most=1)
    return start_search(compose_study(name, overrides), arguments, console)


def start_search(sweep: Sweep, arguments: argparse.Namespace, console: Console) -> int:
    """Launch a study or a sweep of `train -m`, or print its plan; return the exit code."""
    if arguments.dry_run:
        return show_plans([sweep], console)
    show_start(sweep, console)
    from sweeps.launch import grid, study

    reporter = reporter_of(arguments, console)
    if sweep.trials is None:
        return show_end(study(sweep, console, reporter), console)
    return show_end(grid(sweep, console, reporter, arguments.join), console)
