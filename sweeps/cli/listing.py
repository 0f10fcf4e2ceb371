"""`convsweep list`: what there is to run."""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.table import Table

from pipeline.config.groups import describe
from sweeps.cli.arguments import Commands
from sweeps.cli.console import DONE

TITLES = {
    "model": "models: model=NAME",
    "data": "datasets: data=NAME",
    "ablation": "ablations: convsweep ablate NAME",
    "study": "studies: convsweep study NAME",
}


def add_parser(commands: Commands) -> None:
    """Add the command."""
    commands.add_parser("list", help="models, datasets, ablations and studies, a line each").set_defaults(run=run)


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Print every name with its description; return the exit code."""
    for group, title in TITLES.items():
        table = Table(title=title, title_justify="left", box=None, show_header=False)
        for name, description in describe(group).items():
            table.add_row(f"  {name}", description)
        console.print(table)
    return DONE
