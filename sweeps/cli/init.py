"""`convsweep init`: begin a project of one's own with a small example."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from rich.console import Console

from pipeline.config.checks import ConfigError, shown
from pipeline.system.messages import reason
from sweeps.cli.arguments import Commands
from sweeps.cli.console import DONE

PROJECT = Path(__file__).parent / "project"
NEXT = """\
{folder} holds a network (nets.py), a dataset (shapes.py) and conf/, which names them. To go on:

  cd {quoted}
  convsweep ablate example       train it with 2, 4 and 16 filters with as many seeds as its claims need: half a minute
  convsweep ui example           look at the runs
  convsweep train model=example data=example model.args.width=8
  convsweep list                 what there is, and what of it is yours

Then edit nets.py, shapes.py and conf/; README.md says how."""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("init", help="begin a project of your own: a model, a dataset and an ablation to edit")
    parser.set_defaults(run=run)
    parser.add_argument("folders", nargs="*", metavar="DIR", help="a folder that is new or empty")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Write the project and print what to do next; return the exit code."""
    if len(arguments.folders) != 1:
        raise ConfigError("init takes one folder, new or empty, as in convsweep init mine")
    (folder,) = arguments.folders
    write_project(Path(folder))
    console.print(NEXT.format(folder=folder, quoted=shlex.quote(folder)), soft_wrap=True, highlight=False)
    return DONE


def write_project(folder: Path) -> None:
    """Write the example into `folder`.

    Raises:
        ConfigError: if the folder holds anything, or cannot be written.
    """
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(f"{shown(folder)} is there already and not empty: name a new folder; nothing was written")
        for source in sorted(PROJECT.rglob("*")):
            if source.is_file() and source.parent.name != "__pycache__":
                target = folder / source.relative_to(PROJECT)
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("xb") as file:  # never over another's
                    file.write(source.read_bytes())
    except OSError as error:
        raise ConfigError(f"{shown(folder)} cannot be written: {reason(error)}") from error
