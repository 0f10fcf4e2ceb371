"""The databases of a store: created whole or not at all, and checked before a library opens, and so changes, them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.config.schema import StoreConfig
from pipeline.system.addresses import is_database, sqlite_file, sqlite_url
from pipeline.system.messages import installing, one_line, shown_address
from pipeline.tracking.retry import UnopenedStoreError, retried, say

if TYPE_CHECKING:
    from sqlalchemy import Connection

Result = TypeVar("Result")

# Opening gives up early: nothing was started yet that could be lost.
OPENING_SECONDS = 10.0
LOCKED_SECONDS = 2.0  # that SQLite itself waits for a lock; after that the wait is reported, and goes on
# Seconds after which a PostgreSQL that says nothing is taken for gone, well before a lease expires; libpq itself would
# wait for a quarter of an hour.
LIBPQ = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 15_000,  # which is in milliseconds
}


@dataclass(frozen=True)
class Schema:
    """The tables of a library in a database."""

    library: str  # the package that creates and opens it
    migrations: str  # folder in the package of the scripts that bring a database from version to version
    table: str  # a table that only this library has
    work: str  # the table that has rows once anything was done
    upgrade: str  # the library's command that brings an older database to its version; the address follows
    key: str = ""  # in store, of its address

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


MLFLOW = Schema("mlflow", "store/db_migrations", "experiments", "runs", "mlflow db upgrade", "tracking_uri")
OPTUNA = Schema(
    "optuna", "storages/_rdb/alembic", "studies", "trials", "optuna storage upgrade --storage", "optuna_url"
)


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
        ours = name.startswith("postgresql") and str(error.name).startswith("psycopg")
        install = f"{installing('postgres')}, and name it postgresql+psycopg://"
        install = install if ours else f"install it, or name another one; for PostgreSQL: {install}"
        raise UnopenedStoreError(
            f"the store {name} needs the driver {error.name}, which is missing: {install}"
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
    with _alone(address, file.with_name(f".{file.name}.lock") if file else folder / f".{schema.library}.lock"):
        if is_made(address, schema):
            return
        say(f"making the database {shown_address(address)}")
        if file:
            _build_beside(file, build)
        else:
            build(address)


@contextmanager
def _alone(address: str, lock: Path) -> Iterator[None]:
    """Hold what lets one process build a database: a lock in it where it can be had, else a file's on this machine."""
    if not address.startswith("postgresql"):
        from filelock import FileLock

        lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):
            yield
        return
    from sqlalchemy import text

    with connected(address) as connection:  # whose end lets go of it, however it ends
        connection.execute(text("SELECT pg_advisory_lock(hashtextextended('convsweep', 0))"))
        yield


def connected(address: str) -> Connection:
    """Return a connection to a database, of its own."""
    from sqlalchemy import NullPool, create_engine

    return create_engine(address, poolclass=NullPool, **engine_arguments(address)).connect()


def engine_arguments(address: str, patience: float = OPENING_SECONDS) -> dict[str, Any]:
    """Return SQLAlchemy's arguments for a database: a locked one, or one whose machine vanished, is soon given up."""
    driver = address.partition("://")[0]
    if driver.startswith("sqlite"):
        return {"connect_args": {"timeout": min(LOCKED_SECONDS, patience)}}
    is_libpq = driver in ("postgresql", "postgresql+psycopg", "postgresql+psycopg2")
    # A server that was restarted has closed the connections of a pool.
    return {"connect_args": LIBPQ if is_libpq else {}, "pool_pre_ping": True}


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
    from sqlalchemy import inspect

    with connected(address) as connection:
        tables = sorted(inspect(connection).get_table_names())
        if schema.table in tables:
            _require_complete(address, connection, tables, schema, any_version)
            return True
    if tables and (file or "alembic_version" in tables):
        another = "store.root=..., or move it away" if file else f"store.{schema.key}=..., which needs one of its own"
        raise UnopenedStoreError(
            f"{shown_address(address)} is no database of {schema.library}, but another application's: it has the "
            f"tables {', '.join(tables[:3])}. Name another with {another}"
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
