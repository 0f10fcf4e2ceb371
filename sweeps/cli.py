"""The `convsweep` command."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from pipeline.config import ConfigError, RunConfig, StoreConfig, compose, describe, did_you_mean

if TYPE_CHECKING:
    from rich.console import Console

DONE, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 130

OVERRIDES = "Hydra overrides, as in model.filters=64 trainer.epochs=3 data=mnist; conf/ explains every key"
EPILOG = """\
convsweep list                                  what there is to run
convsweep train model.filters=64 --dry-run      the layers, the splits and the expected time of one run
convsweep train model.filters=64                train it
convsweep ablate filter_count seeds=[0,1,2]     a published experiment, beside its published numbers
convsweep ui filter_count                       its runs in MLflow's pages

exit codes: 0 done, 1 something failed, 2 bad config or arguments (nothing was started), 130 interrupted
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: the process's own); the exit code."""
    from rich.console import Console

    words = list(sys.argv[1:] if argv is None else argv)
    # argparse knows no option between overrides: put options last.
    arguments = _parser().parse_args(sorted(words, key=lambda word: word.startswith("-")))
    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return int(arguments.command(arguments, console))
    except ConfigError as error:
        return _complain(str(error), REFUSED)
    except KeyboardInterrupt:
        return _complain("interrupted; what was finished is kept, and the same command continues", INTERRUPTED)
    except Exception as error:
        from pipeline.sources import DataError
        from pipeline.train import TrainingError

        if isinstance(error, DataError | TrainingError):
            return _complain(str(error), FAILED)
        raise


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="convsweep",
        description="Sweeps convolutional-network variants and says whether published results hold.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=_Parser)

    train = commands.add_parser("train", help="train and track one run")
    train.set_defaults(command=_train)
    train.add_argument("overrides", nargs="*", help=OVERRIDES)

    ablate = commands.add_parser("ablate", help="run an ablation of conf/ablation beside its published numbers")
    ablate.set_defaults(command=_ablate)
    ablate.add_argument("name", help="an ablation; `convsweep list` tells which there are")
    ablate.add_argument("overrides", nargs="*", help=f"{OVERRIDES}; and seeds=[0,1,2], workers=2, ablation.name=...")

    for command in (train, ablate):
        command.add_argument("--dry-run", action="store_true", help="print what would be done; train nothing")

    listing = commands.add_parser("list", help="models, data sets and ablations, a line each")
    listing.set_defaults(command=_list)

    ui = commands.add_parser("ui", help="open MLflow's pages on this project's store")
    ui.set_defaults(command=_ui)
    ui.add_argument("name", nargs="?", help="a sweep, opened at its saved view")
    ui.add_argument("overrides", nargs="*", help="store.root=..., store.ui_port=...")
    ui.add_argument("--no-browser", action="store_true", help="serve only, and print the address")
    return parser


class _Parser(argparse.ArgumentParser):
    """argparse, with errors that end with where help is."""

    def error(self, message: str) -> NoReturn:
        sys.exit(_complain(f"{message}\nhelp: {self.prog} --help", REFUSED))


def _complain(message: str, code: int) -> int:
    print(f"convsweep: {message}", file=sys.stderr)
    return code


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def _train(arguments: argparse.Namespace, console: Console) -> int:
    from pipeline import model

    config = compose(RunConfig, "train", arguments.overrides)
    model.layers(config)
    if arguments.dry_run:
        _print_plan(config, console)
        return DONE
    from pipeline.run import run

    return run(config, arguments.overrides, console)


def _print_plan(config: RunConfig, console: Console) -> None:
    from pipeline.data import split_sizes
    from pipeline.estimate import expected_seconds
    from pipeline.hardware import resolve_precision
    from pipeline.model import summary

    trainer = config.trainer
    chosen = f"data={config.data.name} model={config.model.name} optimizer={config.optimizer.name} seed={config.seed}"
    trained = (
        f"epochs={trainer.epochs} batch_size={trainer.batch_size} precision={resolve_precision(trainer.precision)}"
    )
    sizes = ", ".join(f"{part} {size:,}" for part, size in split_sizes(config.data).items() if size)
    console.print(f"{chosen} {trained}\n\n{summary(config)}\n", highlight=False)
    console.print(
        f"examples: {sizes}\nexpected time: {_duration(expected_seconds(config))} (within a factor of two)",
        highlight=False,
    )
    console.print("dry run: nothing was trained", highlight=False)


def _ablate(arguments: argparse.Namespace, console: Console) -> int:
    from sweeps.ablation import compose_ablation

    options = describe("ablation")
    if arguments.name not in options:
        near = did_you_mean(arguments.name, options)
        raise ConfigError(f"there is no ablation {arguments.name}{near}. There are: {', '.join(options)}")
    ablation = compose_ablation(arguments.name, arguments.overrides)
    if arguments.dry_run:
        from sweeps.launch import plan

        return plan(ablation, console)
    from sweeps.launch import launch

    return launch(ablation, console)


def _list(arguments: argparse.Namespace, console: Console) -> int:
    from rich.table import Table

    for group, how in (("model", "model="), ("data", "data="), ("ablation", "convsweep ablate ")):
        table = Table(title=f"{group}s: {how}NAME", title_justify="left", box=None, show_header=False)
        for name, description in describe(group).items():
            table.add_row(f"  {name}", description)
        console.print(table)
    return DONE


def _ui(arguments: argparse.Namespace, console: Console) -> int:
    from pipeline.config import compose as compose_config

    words = [word for word in (arguments.name, *arguments.overrides) if word]
    overrides = [word for word in words if "=" in word]
    names = [word for word in words if "=" not in word]
    store: StoreConfig = compose_config(RunConfig, "train", overrides).store
    from pipeline.ui import serve

    return serve(store, names[0] if names else None, open_browser=not arguments.no_browser, console=console)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


if __name__ == "__main__":
    sys.exit(main())
