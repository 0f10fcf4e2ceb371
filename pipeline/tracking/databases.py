"""The databases of a store: made whole or not at all, and looked at before a library opens, and so changes, them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

from filelock import FileLock

from pipeline.config.schema import StoreConfig
from pipeline.system.addresses import is_database, sqlite_file, sqlite_url
from pipeline.system.messages import one_line, shown_address
from pipeline.tracking.retry import UnopenedStoreError, patiently, say

Result = TypeVar("Result")

# Opening waits for what is locked or away, but not long: nothing was started yet that could be lost.
OPENING_SECONDS = 10.0


@dataclass(frozen=True)
class Schema:
    """Whose tables a database holds.

    Attributes:
        library: The package that makes and opens it.
        migrations: Folder in the package with the scripts that bring a database from version to version.
        table: A table that only this library has.
        work: The table that has rows once anything was done.
        upgrade: The library's command that brings an older database to its version; the address follows.
    """

    library: str
    migrations: str
    table: str
    work: str
    upgrade: str


MLFLOW = Schema("mlflow", "store/db_migrations", "experiments", "runs", "mlflow db upgrade")
OPTUNA = Schema("optuna", "storages/_rdb/alembic", "studies", "trials", "optuna storage upgrade --storage")


def opened(address: str, patience: float, opening: Callable[[], Result]) -> Result:
    """What `opening` the store at `address` returns.

    Raises:
        UnopenedStoreError: if it cannot be opened, or if it is locked or away for `patience` or some 10 s.
    """
    try:
        return patiently(opening, min(patience, OPENING_SECONDS), shown_address(address), UnopenedStoreError)
    except UnopenedStoreError:
        raise
    except ModuleNotFoundError as error:
        missing = f"the store {shown_address(address)} needs a driver that is not installed: {error.name}"
        raise UnopenedStoreError(
            f"{missing}. Install it, or name another driver, as in postgresql+psycopg:// after pip install psycopg"
        ) from error
    except Exception as error:
        raise UnopenedStoreError(f"the store {shown_address(address)} cannot be opened: {one_line(error)}") from error


def make(address: str, schema: Schema, build: Callable[[str], None], folder: Path) -> None:
    """Make the database at `address` where it is not there: once, whoever else asks at the same time.

    An SQLite database is built in another file and put into its place when it is whole: a kill leaves nothing there.

    Args:
        address: An SQLAlchemy URL.
        schema: Whose database it is.
        build: Makes the tables in the empty database at the address that it is given, and lets go of it.
        folder: Where the lock lies for a database that is no file.

    Raises:
        UnopenedStoreError: if something else is there.
    """
    if is_made(address, schema):
        return
    file = sqlite_file(address)
    lock = file.with_name(f".{file.name}.lock") if file else folder / f".{schema.library}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        if is_made(address, schema):
            return
        say(f"making the database {shown_address(address)}")
        if file:
            _build_beside(file, build)
        else:
            build(address)


def _build_beside(file: Path, build: Callable[[str], None]) -> None:
    new = file.with_name(f".{file.name}.new")
    _remove(new)  # left by a build that was killed
    try:
        build(sqlite_url(new))
        _remove(file)  # it is empty; but SQLite would play the journal of one that is gone into the new one
        new.replace(file)
    finally:
        _remove(new)


def _remove(file: Path) -> None:
    """Remove an SQLite database and what SQLite keeps beside it."""
    for ending in ("", "-journal", "-wal", "-shm"):
        file.with_name(file.name + ending).unlink(missing_ok=True)


def is_made(address: str, schema: Schema, any_version: bool = False) -> bool:
    """Whether the database is there; False where there is none yet, or an empty one. Changes nothing.

    Args:
        address: An SQLAlchemy URL.
        schema: Whose database it should be.
        any_version: Whether to leave out the look at its version, which imports the library.

    Raises:
        UnopenedStoreError: if it is another application's, of another version, or was not finished, with what to do.
    """
    file = sqlite_file(address)
    if file and file.exists() and not file.is_file():
        raise UnopenedStoreError(f"{file} is no file, so no database: move it away, or name another store")
    if file and not (file.exists() and file.stat().st_size):
        return False
    from sqlalchemy import NullPool, create_engine, inspect, text

    with create_engine(address, poolclass=NullPool).connect() as connection:
        tables = sorted(inspect(connection).get_table_names())
        if schema.table in tables:
            done = f"select 1 from {schema.work}"
            is_used = schema.work in tables and connection.execute(text(done)).first() is not None
            is_half = any(name.startswith("_alembic_tmp_") for name in tables)
            if is_half or not (any_version or _is_of_this_version(connection, schema)):
                raise UnopenedStoreError(_half_or_other(address, schema, is_used))
            return True
    if tables and (file or "alembic_version" in tables):
        raise UnopenedStoreError(
            f"{shown_address(address)} is no database of {schema.library}, but another application's: it has the "
            f"tables {', '.join(tables[:3])}. Name another with store.root=..., or move it away"
        )
    return False


def refuse_broken(store: StoreConfig) -> None:
    """Raise UnopenedStoreError where MLflow's database is broken, or another application's; without MLflow, so soon."""
    if store.exists and is_database(store.mlflow_uri):
        opened(store.mlflow_uri, store.retry_seconds, lambda: is_made(store.mlflow_uri, MLFLOW, any_version=True))


def _is_of_this_version(connection: object, schema: Schema) -> bool:
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(str(files(schema.library) / schema.migrations))
    context = MigrationContext.configure(connection)  # type: ignore[arg-type]
    return set(context.get_current_heads()) == set(scripts.get_heads())


def _half_or_other(address: str, schema: Schema, is_used: bool) -> str:
    """What is wrong with a database that is not as this version of its library makes it, and what to do."""
    wrong = f"{shown_address(address)} is of another version of {schema.library}, or making it was interrupted"
    if is_used:
        return f"{wrong}. Copy it, then bring it to this version: {schema.upgrade} '{address}'"
    return f"{wrong}. It holds no {schema.work}: delete it, and the same command makes a new one"
