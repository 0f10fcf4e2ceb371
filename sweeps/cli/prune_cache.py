"""`convsweep prune-cache`: delete checkpoints."""

from __future__ import annotations

import argparse

from rich.console import Console

from pipeline.config.checks import ConfigError
from sweeps.cli.arguments import Commands, store_of
from sweeps.cli.console import DONE, is_agreed


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("prune-cache", help="delete checkpoints; results stay")
    parser.set_defaults(run=run)
    parser.add_argument("overrides", nargs="*", help="store.root=...")
    size = "size to keep, most recently used first (default: 0, none)"
    parser.add_argument("--keep", type=float, default=0.0, metavar="GIB", help=size)
    parser.add_argument("--dry-run", action="store_true", help="print what would be deleted; delete nothing")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Delete the least recently used checkpoints and print how much that freed; return the exit code.

    Whoever sits at a terminal is asked before.
    """
    from pipeline.training.checkpoints import folder_of, free, too_many

    if not arguments.keep >= 0:
        raise ConfigError(f"--keep {arguments.keep} is not allowed: write GiB, from 0")
    store = store_of(arguments.overrides)
    if not store.folder.is_dir():
        raise ConfigError(f"there is no store in {store.folder}; name another with store.root=...")
    folder = folder_of(store)
    sizes = [size for _, size in too_many(folder, arguments.keep)]
    found = f"{len(sizes)} checkpoints, {sum(sizes) / 2**20:,.1f} MiB, in {folder}"
    if arguments.dry_run:
        console.print(f"would be deleted: {found}\ndry run: nothing was deleted", soft_wrap=True)
    elif not sizes or is_agreed(f"delete {found}?", console):
        count, freed = free(folder, arguments.keep)
        console.print(f"{count} checkpoints deleted, {freed / 2**20:,.1f} MiB freed in {folder}", soft_wrap=True)
    return DONE
