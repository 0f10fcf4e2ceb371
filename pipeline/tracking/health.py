"""A check-up of a store: its databases, who works in it, runs that nobody trains any more. Writes nothing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from pipeline.config.overrides import in_store
from pipeline.config.schema import StoreConfig
from pipeline.system.addresses import is_database, sqlite_file
from pipeline.system.files import holders
from pipeline.system.messages import shown_address
from pipeline.system.notes import Note
from pipeline.tracking.databases import MLFLOW, OPTUNA, Schema, is_made, opened
from pipeline.tracking.lease_table import read_leases
from pipeline.tracking.leases import living
from pipeline.tracking.ownership import whose
from pipeline.tracking.reader import OWNER, RunReader
from pipeline.tracking.relocation import old_folders
from pipeline.tracking.retry import StoreError

Asked = Generator[Note, None, bool]  # which returns whether it can be asked for more

SECONDS = 3.0  # that a server or a lock is waited for
CHECKED_BYTES = 2**28  # of a database that is read through; of a larger one its first page alone
RUNNING = """
    SELECT e.name, r.name, json_group_object(t.key, t.value) FILTER (WHERE t.key LIKE 'convsweep.%')
    FROM runs r JOIN experiments e ON e.experiment_id = r.experiment_id LEFT JOIN tags t ON t.run_uuid = r.run_uuid
    WHERE r.status = 'RUNNING' AND r.lifecycle_stage = 'active' GROUP BY r.run_uuid ORDER BY r.start_time
"""
OPEN_TRIALS = """
    SELECT s.study_name, count(*) FROM trials t JOIN studies s ON s.study_id = t.study_id
    WHERE t.state = 'RUNNING' GROUP BY s.study_name
"""


def store_notes(store: StoreConfig) -> Iterator[Note]:
    """Yield the state of both databases, RUNNING runs and whose they are, and who works in the store."""
    for schema, address in ((MLFLOW, store.mlflow_uri), (OPTUNA, store.optuna_uri)):
        file = sqlite_file(address)
        usable = yield from _file_notes(file, address, schema) if file else _server_notes(address, schema, store)
        if usable and schema is MLFLOW and file and store.tracking_uri is None:
            for folder in old_folders(replace(store, retry_seconds=SECONDS)):
                mend = in_store("convsweep doctor --relocate", store.folder)
                yield Note(f"the store was moved or copied: its database looks for files in {folder}", mend)
        if usable:
            yield from _running_notes(schema, file, store)
    yield from _lease_notes(store, is_reported=not usable and store.launches_uri == store.optuna_uri)
    yield from _lock_notes(store.folder / "locks")


def _file_notes(file: Path, address: str, schema: Schema) -> Asked:
    """Yield the state of an SQLite database; return whether it can be read."""
    if file.exists() and not file.is_file():
        yield Note(f"{file} is no file, so no database", f"mv '{file}' '{file}.other'")
        return False
    if not (file.exists() and file.stat().st_size):
        yield Note(f"{file}: nothing is there yet")
        return False
    away = f"mv '{file}' '{file}.damaged'  # then the next command makes a new one; or put back a copy"
    try:
        with closing(_open(file)) as database:
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if schema.table not in tables:
                yield Note(f"{file} is no database of {schema.library}", f"mv '{file}' '{file}.other'")
                return False
            if file.stat().st_size <= CHECKED_BYTES:
                (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
                if found != "ok":
                    yield Note(f"{file} is damaged: {found}", away)
                    return False
            return (yield from _version_notes(database, file, address, schema))
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            by = ", ".join(holders(file)) or "an unknown process"
            yield Note(f"{file} is locked by {by}", "wait until it ends, or end it")
        elif "readonly" in str(error):  # a journal is left, which only who may write can roll back
            yield Note(
                f"{file}: a process was killed while it wrote; the next command rolls back what was half written"
            )
        else:
            yield Note(f"{file} cannot be read: {error}", f"chmod u+rw '{file}'")
    except sqlite3.DatabaseError as error:
        yield Note(f"{file} is damaged: {error}", away)
    return False


def _version_notes(database: sqlite3.Connection, file: Path, address: str, schema: Schema) -> Asked:
    """Yield whether the database has the version of the library's schema; return whether it has."""
    current = {version for (version,) in database.execute("SELECT version_num FROM alembic_version")}
    known, heads = schema.revisions()
    if current == heads:
        yield Note(f"{file}: {file.stat().st_size / 2**20:,.1f} MiB, sound, of this version of {schema.library}")
        return True
    if current <= known:
        command = f"cp '{file}' '{file}.before' && {schema.upgrade} '{address}'"
        yield Note(f"{file} was made by an older version of {schema.library}", command)
    else:
        yield Note(f"{file} was made by a newer version of {schema.library}", f"pip install --upgrade {schema.library}")
    return False


def _server_notes(address: str, schema: Schema, store: StoreConfig) -> Asked:
    """Yield whether a server, or a database on one, answers; return that."""
    name, patient = shown_address(address), replace(store, retry_seconds=SECONDS)
    try:
        if is_database(address) and not opened(address, SECONDS, partial(is_made, address, schema)):
            yield Note(f"{name} answers; nothing is there yet")
            return False
        if schema is MLFLOW:
            RunReader(patient)
    except StoreError as error:
        yield Note(_trouble(error), "mend the server, or name another store")
        return False
    yield Note(f"{name} answers")
    return True


def _running_notes(schema: Schema, file: Path | None, store: StoreConfig) -> Iterator[Note]:
    """Yield what is RUNNING in a database, and whether its process is alive."""
    if schema is OPTUNA:
        if file:
            with closing(_open(file)) as database:
                for study, count in database.execute(OPEN_TRIALS):
                    yield Note(f"{count} open trials of {study}; its next launch goes on with them")
        return
    if file:
        with closing(_open(file)) as database:
            found = database.execute(RUNNING).fetchall()
        running = [(experiment, name, json.loads(tags)) for experiment, name, tags in found]
    else:
        running = RunReader(replace(store, retry_seconds=SECONDS)).running()
    launches = living(replace(store, retry_seconds=SECONDS)) if running else None
    for experiment, name, tags in running:
        process, is_alive = "another program", None
        if launches and OWNER in tags:
            process, is_alive = whose(tags[OWNER])[0], launches.are_training(tags)
        state = {True: "which is alive", False: "which has ended", None: "which cannot be asked from here"}[is_alive]
        close = in_store("convsweep doctor --close", store.folder)
        close += f" store.tracking_uri={shown_address(store.tracking_uri)}" if store.tracking_uri else ""
        yield Note(f"RUNNING: {name} of {experiment}, by {process}, {state}", close if is_alive is False else "")


def _lease_notes(store: StoreConfig, is_reported: bool) -> Iterator[Note]:
    """Yield what launches hold here, this machine's and others'; `is_reported`: whether its database's trouble was."""
    address = store.launches_uri
    file = sqlite_file(address)
    try:
        _, leases = read_leases(address, SECONDS)
    except StoreError as error:  # a file knows nothing but who works here now
        if not is_reported:
            yield Note(_trouble(error), f"rm '{file}'" if file else "mend the server, or name another store")
        return
    for name, lease in sorted(leases.items()):
        kind, _, what = name.partition(":")
        state = "" if lease.is_alive else ", which has ended: the next launch that needs it takes it"
        since = f"for {lease.held:,.0f} s, last heard of {lease.age:,.0f} s ago"
        yield Note(f"the {kind} {what[:12] if kind == 'run' else what} is held by {lease.holder} {since}{state}")


def _trouble(error: StoreError) -> str:
    """Return what is wrong, without the advice for a command that was to start something."""
    return str(error).removesuffix(f". {error.advice}")


def _lock_notes(folder: Path) -> Iterator[Note]:
    """Yield which locks are held, and by whom."""
    for path in sorted(folder.glob("*.lock")):
        if found := holders(path):
            yield Note(f"the lock {path.stem} is held by {', '.join(found)}")


def _open(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=SECONDS)
