"""`convsweep ablate`: run ablations beside their published numbers."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from rich.console import Console

from sweeps.cli.arguments import Commands, add_sweep_parser, options_and_overrides
from sweeps.cli.console import DONE, FAILED, complain, reporter_of, show_end, show_plans, show_start

if TYPE_CHECKING:
    from sweeps.config.ablation import Ablation


def add_parser(commands: Commands) -> None:
    """Add the command."""
    what = "run an ablation of conf/ablation beside its published numbers"
    words = "an ablation, or several in turn"
    add_sweep_parser(commands, "ablate", what, words, "strict=true").set_defaults(run=run)


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Run ablations one after the other, or print their plans; return the highest exit code."""
    from sweeps.config.ablation import compose_ablation

    names, overrides = options_and_overrides("ablate", arguments.words)
    ablations = [compose_ablation(name, overrides) for name in dict.fromkeys(names)]
    if arguments.dry_run:
        return show_plans([ablation.sweep for ablation in ablations], console)
    from pipeline.datasets.cache import DataError

    code = DONE
    for ablation in ablations:
        try:
            code = max(code, _ablate(ablation, arguments, console))
        except DataError as error:  # the others may have their data
            code = max(code, complain(str(error), FAILED))
    return code


def _ablate(ablation: Ablation, arguments: argparse.Namespace, console: Console) -> int:
    show_start(ablation.sweep, console)
    from sweeps.launch import ablate

    result = ablate(ablation, console, reporter_of(arguments, console), arguments.join)
    code = show_end(result, console)
    if ablation.strict and (contradicted := result.findings.contradicted):
        why = f"{ablation.sweep.name}: strict=true, and CONTRADICTED is {', '.join(contradicted)}"
        console.print(why, style="red", soft_wrap=True)
        return FAILED
    return code
