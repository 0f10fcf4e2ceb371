"""`convsweep study`: search a space with a sampler."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from rich.console import Console

from sweeps.cli.arguments import DRY_RUN, SWEEP_KEYS, Commands, require_option, split_words
from sweeps.cli.console import DONE, show_end

if TYPE_CHECKING:
    from sweeps.sweep import Sweep


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("study", help="search a space of conf/study with a sampler")
    parser.set_defaults(run=run)
    words = f"a study; `convsweep list` shows all; {SWEEP_KEYS}, study.n_trials=30"
    parser.add_argument("words", nargs="*", metavar="name", help=words)
    parser.add_argument("--dry-run", action="store_true", help=DRY_RUN)


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Run a study, or print its plan; return the exit code."""
    from sweeps.config.study import compose_study

    (name,), overrides = split_words("study", arguments.words, most=1)
    require_option("study", name)
    return start_search(compose_study(name, overrides), arguments.dry_run, console)


def start_search(sweep: Sweep, dry_run: bool, console: Console) -> int:
    """Launch a study or a sweep of `train -m`, or print its plan; return the exit code."""
    if dry_run:
        from sweeps.execution.plan import print_plan

        print_plan(sweep, console)
        return DONE
    from sweeps.launch import grid, study

    return show_end((study if sweep.trials is None else grid)(sweep, console), console)
