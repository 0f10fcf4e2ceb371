"""The `convsweep` command: its parser, and how errors end it."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn

from pipeline.config.checks import ConfigError
from pipeline.config.groups import use_config_folder
from pipeline.config.overrides import is_of_store
from pipeline.config.schema import OPTUNA_URL, TRACKING_URI
from pipeline.system.messages import hide
from pipeline.system.plotting import draw_off_screen
from pipeline.system.tensorflow import collect_rarely
from pipeline.tracking.retry import StoreError, UnopenedStoreError, say
from sweeps.cli import (
    ablate,
    completion,
    copy_store,
    doctor,
    explain,
    init,
    listing,
    predict,
    prune_cache,
    report,
    study,
    train,
    ui,
)
from sweeps.cli.arguments import override_for, store_of
from sweeps.cli.console import DONE, FAILED, INTERRUPTED, REFUSED, complain, open_console, print_what_is_logged

COMMANDS = (
    train,
    ablate,
    study,
    report,
    explain,
    predict,
    ui,
    listing,
    init,
    doctor,
    copy_store,
    prune_cache,
    completion,
)
EPILOG = """\
convsweep list                                  what there is to run
convsweep train model.filters=64 --dry-run      the layers, the splits and the expected time of one run
convsweep train model.filters=64                train it
convsweep ablate filter_count seeds=3           a published experiment, beside its published numbers
convsweep study smoke                           a search with a sampler, judged on a validation split
convsweep train -m model.filters=16,32          a grid, or a search, in Hydra's own grammar
convsweep report filter_count                   rebuild its tables, figures and page from the tracked runs
convsweep explain filter_count@best             what its best model sees
convsweep predict filter_count@best shoe.png    what that model predicts for an image
convsweep ui filter_count                       its runs in MLflow's pages
convsweep doctor                                this machine, datasets and stores: what needs attention
convsweep init mine                             a project of your own: a model, a dataset, an ablation to edit

exit codes: 0 done, 1 something failed (or strict=true and CONTRADICTED),
2 bad config or arguments (nothing was started), 130 interrupted
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: the process's own) and return the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    for word in words:
        hide(word)
    for name in ("CONVSWEEP_DATA_DIR", "CONVSWEEP_CACHE_DIR"):
        if os.environ.get(name) == "":  # as unset
            del os.environ[name]
    arguments = _parse(words)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    collect_rarely()
    draw_off_screen()
    print_what_is_logged(arguments.quiet)
    try:
        use_config_folder(arguments.config_dir)
        if arguments.run not in (listing.run, init.run, completion.run):  # which open no store
            _say_what_is_unused(words)
        return int(arguments.run(arguments, open_console(arguments.quiet)))
    except (ConfigError, UnopenedStoreError) as error:
        return complain(str(error), REFUSED)
    except KeyboardInterrupt:
        return complain("interrupted; finished runs are kept, and the same command continues", INTERRUPTED)
    except Exception as error:
        from pipeline.datasets.cache import DataError
        from pipeline.training.result import TrainingError
        from sweeps.backends.base import BackendError

        if isinstance(error, StoreError | DataError | TrainingError | BackendError):
            return complain(str(error), FAILED)
        if isinstance(error, OSError):  # a full disk, missing rights
            return complain(f"{type(error).__name__}: {error}", FAILED)
        raise


def _say_what_is_unused(words: Sequence[str]) -> None:
    """Say that results stay on this machine, where servers are set up for them but the command line names no store."""
    servers = [name for name in (TRACKING_URI, OPTUNA_URL) if os.environ.get(name)]
    if not servers or any(map(is_of_store, words)):
        return
    with suppress(ConfigError):  # else the command itself says what is wrong with the user's files
        store = store_of([])
        if store.tracking_uri is None and store.optuna_url is None:
            are = f"{' and '.join(servers)} {'are' if servers[1:] else 'is'} set"
            say(f"{are}, but store=local: results are in {store.root} (store=server for the server's)")


class _Parser(argparse.ArgumentParser):
    """A parser whose errors end with where help is, and for an option that is a config key with how that is written."""

    words: Sequence[str] = ()  # that it parses

    def error(self, message: str) -> NoReturn:
        if message.startswith("unrecognized arguments: --"):
            option = message.split()[2]
            message += override_for(self.words[self.words.index(option) :] if option in self.words else [option])
        sys.exit(complain(f"{message}\nhelp: {self.prog} --help", REFUSED))


class _Version(argparse.Action):
    """Looks the version up where it is asked for; argparse's own takes it as text, from every command."""

    def __call__(self, *_: object) -> NoReturn:
        from importlib.metadata import version

        print(f"convsweep {version('convsweep')}")
        sys.exit(DONE)


class _CommandParser(_Parser):
    """The parser of a command, with the options that all have."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(parents=[_shared()], **settings)


def _shared() -> _Parser:
    parser = _Parser(prog="convsweep", add_help=False, allow_abbrev=False)
    parser.add_argument(
        "--config-dir",
        metavar="DIR",
        help="a folder of configs of your own, searched before ours; they can name functions of the modules beside it "
        "(default: conf/ in the current folder, if it is one)",
    )
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("-v", "--verbose", action="store_true", help="print a line per epoch where there are no bars")
    shown.add_argument("-q", "--quiet", action="store_true", help="print only errors")
    return parser


def _parse(words: Sequence[str]) -> argparse.Namespace:
    """Parse the command, then its words, among which options may stand anywhere; shared ones before it, too."""
    parser = _Parser(
        prog="convsweep",
        description="Sweeps convolutional-network variants and says whether published results hold.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[_shared()],
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(
        title="commands", required=True, dest="command", metavar="COMMAND", parser_class=_CommandParser
    )
    for command in COMMANDS:
        command.add_parser(commands)
    if "_ARGCOMPLETE" in os.environ:
        completion.complete(parser, commands.choices)
    if words in ([], ["help"]):
        parser.print_help()
        sys.exit(DONE)
    end = words.index("--") if "--" in words else len(words)
    shared, rest = _shared().parse_known_args(words[:end])
    rest += words[end:]
    name = parser.parse_args(rest[:1]).command
    command_parser = commands.choices[name]
    command_parser.words = rest[1:]
    return command_parser.parse_intermixed_args(rest[1:], shared)


if __name__ == "__main__":
    sys.exit(main())
