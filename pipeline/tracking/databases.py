"""The databases of a store: created whole or not at all, and checked before a library opens, and so changes, them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from filelock import FileLock

from pipeline.config.schema import StoreConfig
from pipeline.system.addresses import is_database, sqlite_file, sqlite_url
from pipeline.system.messages import one_line, shown_address
from pipeline.tracking.retry import UnopenedStoreError, retried, say

if TYPE_CHECKING:
    from sqlalchemy import Connection

Result = TypeVar("Result")

# Opening gives up early: nothing was started yet that could be lost.
OPENING_SECONDS = 10.0


@dataclass(frozen=True)
class Schema:
    """The tables of a library in a database."""

    library: str  # the package that creates and opens it
    migrations: str  # folder in the package of the scripts that bring a database from version to version
    table: str  # a table that only this library has
    work: str  # the table that has rows once anything was done
    upgrade: str  # the library's command that brings an older database to its version; the address follows

    def revisions(self) -> tuple[set[str], set[str]]:
        """Return all versions of the tables that the installed library knows, and the newest; imports nothing of it."""
        package = find_spec(self.library)
        assert package is not None
        assert package.origin is not None
        known, before = set[str](), set[str]()
        for script in (Path(package.origin).parent / self.migrations / "versions").glob("*.py"):
            text = script.read_text()
            known |= set(re.findall(r"""^revision\b[^=]*=\s*["']([^"']+)""", text, re.MULTILINE))
            before |= set(re.findall(r"""^down_revision\b[^=]*=\s*["']([^"']+)""", text, re.MULTILINE))
        return known, known - before


MLFLOW = Schema("mlflow", "store/db_migrations", "experiments", "runs", "mlflow db upgrade")
OPTUNA = Schema("optuna", "storages/_rdb/alembic", "studies", "trials", "optuna storage upgrade --storage")


def opened(address: str, patience: float, opening: Callable[[], Result]) -> Result:
    """Return what `opening` the store at `address` returns.

    Raises:
        UnopenedStoreError: if it cannot be opened, or is locked or away for `patience` seconds, at most 10.
    """
    name = shown_address(address)
    try:
        return retried(opening, min(patience, OPENING_SECONDS), name, UnopenedStoreError)
    except UnopenedStoreError:
        raise
    except ModuleNotFoundError as error:
        raise UnopenedStoreError(
            f"the store {name} needs a driver that is not installed: {error.name}. Install it, or name another driver, "
            "as in postgresql+psycopg:// after pip install psycopg"
        ) from error
    except Exception as error:
        raise UnopenedStoreError(f"the store {name} cannot be opened: {one_line(error)}") from error


def make(address: str, schema: Schema, build: Callable[[str], None], folder: Path) -> None:
    """Create the database at `address` unless it exists; once, if several processes try at the same time.

    An SQLite database is built in another file and moved into place when it is whole, so that a kill leaves nothing.

    Args:
        address: An SQLAlchemy URL.
        schema: Whose database it is.
        build: Creates the tables in the empty database at the address it is given, and closes it.
        folder: Where the lock of a database that is no file goes.

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
        _remove(file)  # it is empty; but SQLite would replay the journal of a deleted one into the new one
        new.replace(file)
    finally:
        _remove(new)


def _remove(file: Path) -> None:
    for suffix in ("", "-journal", "-wal", "-shm"):  # what SQLite puts beside a database
        file.with_name(file.name + suffix).unlink(missing_ok=True)


def is_made(address: str, schema: Schema, any_version: bool = False) -> bool:
    """Return whether the database exists and is not empty. Change nothing.

    Args:
        address: An SQLAlchemy URL.
        schema: Whose database it should be.
        any_version: Skip the check of its version.

    Raises:
        UnopenedStoreError: if it is another application's, of another version, or half built; says what to do.
    """
    file = sqlite_file(address)
    if file and file.exists() and not file.is_file():
        raise UnopenedStoreError(f"{file} is no file, so no database: move it away, or name another store")
    if file and not (file.exists() and file.stat().st_size):
        return False
    from sqlalchemy import NullPool, create_engine, inspect

    with create_engine(address, poolclass=NullPool).connect() as connection:
        tables = sorted(inspect(connection).get_table_names())
        if schema.table in tables:
            _require_complete(address, connection, tables, schema, any_version)
            return True
    if tables and (file or "alembic_version" in tables):
        raise UnopenedStoreError(
            f"{shown_address(address)} is no database of {schema.library}, but another application's: it has the "
            f"tables {', '.join(tables[:3])}. Name another with store.root=..., or move it away"
        )
    return False


def _require_complete(
    address: str, connection: Connection, tables: list[str], schema: Schema, any_version: bool
) -> None:
    from sqlalchemy import text

    is_half_built = any(name.startswith("_alembic_tmp_") for name in tables)
    if not is_half_built and (any_version or _is_of_this_version(connection, schema)):
        return
    trouble = f"{shown_address(address)} is of another version of {schema.library}, or creating it was interrupted"
    if schema.work in tables and connection.execute(text(f"select 1 from {schema.work}")).first():
        raise UnopenedStoreError(f"{trouble}. Copy it, then upgrade it: {schema.upgrade} '{address}'")
    raise UnopenedStoreError(f"{trouble}. It holds no {schema.work}: delete it, and the same command makes a new one")


def _is_of_this_version(connection: Connection, schema: Schema) -> bool:
    from alembic.migration import MigrationContext

    return set(MigrationContext.configure(connection).get_current_heads()) == schema.revisions()[1]


def refuse_broken(store: StoreConfig) -> None:
    """Raise UnopenedStoreError if MLflow's database is broken or another application's; without importing MLflow."""
    if store.exists and is_database(store.mlflow_uri):
        opened(store.mlflow_uri, store.retry_seconds, lambda: is_made(store.mlflow_uri, MLFLOW, any_version=True))
