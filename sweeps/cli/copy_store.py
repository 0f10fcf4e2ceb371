"""`convsweep copy-store`: copy runs, models and studies into another store, as when a laptop's moves to a server."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import Console

from pipeline.config.checks import ConfigError, did_you_mean
from pipeline.config.overrides import DEFAULT_ROOT
from pipeline.config.schema import StoreConfig
from sweeps.cli.arguments import Commands, split_words, store_of
from sweeps.cli.console import DONE

if TYPE_CHECKING:
    from pipeline.tracking.leases import Leases


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("copy-store", help="copy runs, models and studies into another store; nothing twice")
    parser.set_defaults(run=run)
    words = "sweeps to copy (default: all, and single runs); where to: store=server store.tracking_uri=..."
    parser.add_argument("words", nargs="*", metavar="name", help=words)
    folder = "the store's folder to copy from (default: mlruns)"
    parser.add_argument("--from", dest="source", default=DEFAULT_ROOT, metavar="DIR", help=folder)


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Copy what was not copied yet and print how much that was; return the exit code."""
    names, overrides = split_words("copy-store", arguments.words, least=0)
    target = store_of(overrides)
    source = replace(target, root=arguments.source, tracking_uri=None, optuna_url=None)
    if not source.exists:
        raise ConfigError(f"there is no store in {source.folder}; name another with --from DIR")
    if (source.mlflow_uri, source.optuna_uri) == (target.mlflow_uri, target.optuna_uri):
        raise ConfigError(f"{source.folder} cannot be copied into itself; say where to, as in store=server")
    _copy(names, source, target, console)
    return DONE


def _copy(names: list[str], source: StoreConfig, target: StoreConfig, console: Console) -> None:
    from pipeline.inference.load import ALIAS
    from pipeline.tracking.copying import RunCopies
    from pipeline.tracking.leases import Leases
    from pipeline.tracking.reader import RunReader
    from pipeline.tracking.tracker import Tracker
    from sweeps.search.copying import copy_study, study_names

    reader = RunReader(source)
    there = reader.experiments()
    for name in names:
        if name not in there:
            raise ConfigError(f"{source.folder} holds no {name}{did_you_mean(name, there)}. It has: {', '.join(there)}")
    chosen, studies = names or there, study_names(source)
    study_names(target)  # before anything is written
    with Leases(target, f"copy of {source.folder}") as leases:
        _take(chosen, leases, target)
        copies = RunCopies(reader, Tracker(target), chosen)
        count = copies.copy(leases.check)
        trials = 0
        for name in (name for name in chosen if name in studies):
            leases.check()
            trials += copy_study(name, source, target, copies.ids)
        leases.check()
        models = copies.register(ALIAS)
    console.print(
        f"copied from {source.folder} to {target.place}: {count} runs, {trials} trials of studies; "
        f"{len(copies.ids) - count} runs were there; {models} registered models",
        soft_wrap=True,
        highlight=False,
    )
    console.print("checkpoints and reports are files of store.root: keep using it, or copy the folder", soft_wrap=True)


def _take(sweeps: list[str], leases: Leases, target: StoreConfig) -> None:
    """Be the one launch of these sweeps in the target: another would find half of them there.

    Raises:
        ConfigError: if another launch, or copy, works on one of them.
    """
    from pipeline.tracking.leases import members, of_sweep

    for sweep in sweeps:
        with leases.held(f"open:{sweep}"):  # as whoever launches it does
            others = members(leases.others(), sweep)
            if others or not leases.need(of_sweep(sweep)):
                who = others[0] if others else "another launch"
                raise ConfigError(f"{target.place} is in use: {who} works on {sweep}; wait until it has ended")
