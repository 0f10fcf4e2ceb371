"""`convsweep doctor`: check this machine, datasets and stores, and show how to fix what is wrong."""

from __future__ import annotations

import argparse
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from rich.console import Console

from pipeline.config.checks import ConfigError
from pipeline.config.compose import compose
from pipeline.config.data import ARRAYS
from pipeline.config.groups import CONF, config_files, config_groups, use_config_folder
from pipeline.config.overrides import in_store
from pipeline.config.own import config_notes
from pipeline.config.schema import RunConfig, StoreConfig
from pipeline.system.notes import Check, Note, notes_of
from sweeps.cli.arguments import Commands, store_of
from sweeps.cli.console import DONE, FAILED


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "doctor", help="check this machine, datasets and stores; show how to fix what is wrong"
    )
    parser.set_defaults(run=run)
    parser.add_argument("overrides", nargs="*", help="store.root=..., data=..., or anything else of a run")
    relocate = "make the database of a moved or copied store look for its files in the new place"
    parser.add_argument("--relocate", action="store_true", help=relocate)
    close = "close as KILLED the runs that are still RUNNING although their process has ended"
    parser.add_argument("--close", action="store_true", help=close)


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Print the check-up, or mend what is asked; return FAILED where something needs attention."""
    if arguments.relocate or arguments.close:
        mend = _relocate if arguments.relocate else _close
        console.print(mend(store_of(arguments.overrides)), soft_wrap=True, highlight=False)
        return DONE
    configs = notes_of(config_notes)  # now, as the user's folder is left out from here on where it is broken
    config, trouble = _composed(arguments.overrides)
    checks = {"configs": partial(iter, configs + trouble)} | _checks(config)
    count = sum(_print_section(title, check, console) for title, check in checks.items())
    words = "nothing needs attention" if not count else f"{count} of these need attention: !"
    console.print(words, style="red" if count else None, highlight=False)
    return FAILED if count else DONE


def _composed(overrides: Sequence[str]) -> tuple[RunConfig, list[Note]]:
    """Return the config to check; that of the built-in files, and why, where the user's own cannot be composed.

    Raises:
        ConfigError: for a wrong override.
    """
    try:
        return compose(RunConfig, "train", overrides), []
    except ConfigError as error:
        own = config_files().own
        if own is None:
            raise
        use_config_folder(CONF)
        with suppress(ConfigError):  # else it is what is asked for that is wrong
            return compose(RunConfig, "train", overrides), [Note(str(error), f"mend the file in {own}")]
        raise


def _checks(config: RunConfig) -> dict[str, Check]:
    """Return the sections of the check-up by their title."""
    from pipeline.system import machine

    store = config.store
    prune = in_store("convsweep prune-cache", store.folder)
    cache = Path(config.data.cache).expanduser().absolute()
    elsewhere = f"free space there, or choose another folder: export CONVSWEEP_CACHE_DIR=FOLDER instead of {cache}"
    return {
        "versions": machine.version_notes,
        "cores": machine.core_notes,
        "GPU": machine.gpu_notes,
        "precision and threads": partial(_training_notes, config),
        "datasets": partial(_data_notes, config),
        "store": partial(_store_notes, store),
        "checkpoints": partial(_checkpoint_notes, config),
        "disk of the store": partial(machine.disk_notes, store.folder, "store", prune),
        "disk of the cache": partial(machine.disk_notes, cache, "cache", elsewhere),
    }


def _print_section(title: str, check: Check, console: Console) -> int:
    """Print what a check finds; return how much of it needs attention."""
    notes = notes_of(check)
    console.print(title, style="bold", highlight=False)
    for note in notes:
        sign, style = ("!", "red") if note.mend else (" ", None)
        console.print(f"{sign} {note.text}", style=style, soft_wrap=True, highlight=False)
        if note.mend:
            console.print(f"    {note.mend}", soft_wrap=True, highlight=False)
    return sum(bool(note.mend) for note in notes)


def _training_notes(config: RunConfig) -> Iterator[Note]:
    from pipeline.system import machine
    from pipeline.training.cost import why_threads

    yield from machine.precision_notes()
    yield Note(why_threads(config))


def _data_notes(config: RunConfig) -> Iterator[Note]:
    """Yield the folders of datasets, and where each dataset would come from."""
    from pipeline.datasets.sources import folder_notes, source_note

    yield from folder_notes(config.data)
    yield source_note(config.data)
    for name in sorted({*config_groups()["data"]} - {*ARRAYS}):  # which are bases of one's own
        try:
            # A network that takes examples of any shape.
            data = compose(RunConfig, "train", [f"data={name}", "model=softmax"]).data
        except ConfigError as error:
            yield Note(f"data={name}: {error}", f"mend conf/data/{name}.yaml")
            continue
        if data.name != config.data.name:
            yield source_note(data)


def _store_notes(store: StoreConfig) -> Iterator[Note]:
    from pipeline.tracking.health import store_notes

    yield from store_notes(store)


def _checkpoint_notes(config: RunConfig) -> Iterator[Note]:
    from pipeline.training.checkpoints import folder_of, size_of

    folder, most = folder_of(config.store), config.checkpoints.max_gib
    size = size_of(folder) / 2**30
    yield Note(f"{size:,.2f} GiB in {folder}; the oldest go beyond {most:g} GiB (checkpoints.max_gib)")


def _require_store(store: StoreConfig) -> None:
    if not store.exists:
        raise ConfigError(f"there is no store in {store.folder}; name another with store.root=...")


def _relocate(store: StoreConfig) -> str:
    """Let the store look for its files where it is; return what was done."""
    from pipeline.tracking.databases import refuse_broken
    from pipeline.tracking.relocation import old_folders, relocate

    if store.tracking_uri is not None:
        raise ConfigError("--relocate repairs the database in store.root=..., not that of store.tracking_uri")
    _require_store(store)
    refuse_broken(store)
    try:
        if not old_folders(store):
            return f"{store.folder}: its files are where its database says"
        return f"{relocate(store)} addresses now name {store.folder}"
    except sqlite3.Error as error:
        raise ConfigError(f"{store.folder / 'mlflow.db'} cannot be used: {error}") from error


def _close(store: StoreConfig) -> str:
    """Close runs whose process has ended; return how many there were."""
    from pipeline.tracking.tracker import Tracker

    _require_store(store)
    return f"{Tracker(store).close_abandoned()} runs are closed as KILLED: their processes have ended"
