"""`convsweep doctor`: check whether the store was moved or copied, and repair it."""

from __future__ import annotations

import argparse
import sqlite3

from rich.console import Console

from pipeline.config.checks import ConfigError
from sweeps.cli.arguments import Commands, store_of
from sweeps.cli.console import DONE, FAILED


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("doctor", help="check whether the store was moved or copied; --relocate repairs it")
    parser.set_defaults(run=run)
    parser.add_argument("overrides", nargs="*", help="store.root=...")
    relocate = "let a moved or copied store look for its files where it is now"
    parser.add_argument("--relocate", action="store_true", help=relocate)


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Print where the store looks for its files, after relocating it if asked; return FAILED for an old folder."""
    from pipeline.tracking.databases import refuse_broken
    from pipeline.tracking.relocation import old_folders, relocate

    store = store_of(arguments.overrides)
    if store.tracking_uri is not None:
        raise ConfigError("doctor looks at the database in store.root=..., not at that of store.tracking_uri")
    if not store.exists:
        raise ConfigError(f"there is no store in {store.folder}; name another with store.root=...")
    refuse_broken(store)
    lines, code = [f"{store.folder}: its files are where its database says"], DONE
    try:
        folders = old_folders(store)
        if folders and arguments.relocate:
            lines.insert(0, f"{relocate(store)} addresses now name {store.folder}")
        elif folders:
            why = "moved or copied: its database looks for files in"
            lines, code = [f"{store.folder}: {why} {old}; repair it with --relocate" for old in folders], FAILED
    except sqlite3.Error as error:
        raise ConfigError(f"{store.folder / 'mlflow.db'} cannot be used: {error}") from error
    for line in lines:
        console.print(line, style="red" if code else None, soft_wrap=True, highlight=False)
    return code
