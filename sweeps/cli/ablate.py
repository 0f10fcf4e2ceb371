"""`convsweep ablate`: run ablations beside their published numbers."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from rich.console import Console

from sweeps.cli.arguments import DRY_RUN, SWEEP_KEYS, Commands, require_option, split_words
from sweeps.cli.console import DONE, FAILED, complain, show_end

if TYPE_CHECKING:
    from sweeps.config.ablation import Ablation


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("ablate", help="run an ablation of conf/ablation beside its published numbers")
    parser.set_defaults(run=run)
    words = f"an ablation, or several in turn; `convsweep list` shows all; {SWEEP_KEYS}, strict=true"
    parser.add_argument("words", nargs="*", metavar="name", help=words)
    parser.add_argument("--dry-run", action="store_true", help=DRY_RUN)


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Run ablations one after the other, or print their plans; return the highest exit code."""
    from sweeps.config.ablation import compose_ablation

    names, overrides = split_words("ablate", arguments.words)
    for name in names:
        require_option("ablation", name)
    ablations = [compose_ablation(name, overrides) for name in dict.fromkeys(names)]
    if arguments.dry_run:
        from sweeps.execution.plan import print_plan

        for ablation in ablations:
            print_plan(ablation.sweep, console)
        return DONE
    from pipeline.datasets.cache import DataError

    code = DONE
    for ablation in ablations:
        try:
            code = max(code, _ablate(ablation, console))
        except DataError as error:  # the others may have their data
            code = max(code, complain(str(error), FAILED))
    return code


def _ablate(ablation: Ablation, console: Console) -> int:
    from sweeps.launch import ablate

    result = ablate(ablation, console)
    code = show_end(result, console)
    if ablation.strict and (contradicted := result.findings.contradicted):
        why = f"{ablation.sweep.name}: strict=true, and CONTRADICTED is {', '.join(contradicted)}"
        console.print(why, style="red", soft_wrap=True)
        return FAILED
    return code
