"""`convsweep list`: what there is to run, and what of it is the user's."""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.table import Table

from pipeline.config.groups import config_files, cost, describe, owner
from sweeps.cli.arguments import Commands
from sweeps.cli.console import DONE

TITLES = {
    "model": "models: model=NAME",
    "data": "datasets: data=NAME",
    "optimizer": "optimizers: optimizer=NAME",
    "trainer": "ways to train: trainer=NAME",
    "store": "stores: store=NAME",
    "backend": "where sweeps are trained: backend=NAME",
    "ablation": "ablations: convsweep ablate NAME",
    "study": "studies: convsweep study NAME",
}


def add_parser(commands: Commands) -> None:
    """Add the command."""
    commands.add_parser("list", help="models, datasets, ablations, studies and the like, a line each").set_defaults(
        run=run
    )


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Print every name with its description, what it costs, and whose it is; return the exit code."""
    if folder := config_files().own:
        console.print(f"yours: {folder}", soft_wrap=True, highlight=False)
    for group, title in TITLES.items():
        table = Table(title=title, title_justify="left", box=None, show_header=False)
        for name, description in describe(group).items():
            whose = owner(group, name)
            table.add_row(f"  {name}", description, cost(group, name), whose, style="bold" if whose else None)
        console.print(table)
    return DONE
