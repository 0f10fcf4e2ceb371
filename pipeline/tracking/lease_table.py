"""The table of leases in a store's database: who holds what, and when it was last heard of."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from pipeline.system.addresses import sqlite_file
from pipeline.system.messages import shown_address
from pipeline.tracking.databases import OPTUNA, connected, engine_arguments, is_made, opened
from pipeline.tracking.ownership import is_alive, machine, whose
from pipeline.tracking.retry import retried

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Table

Result = TypeVar("Result")

# A lease whose holder was not heard of for so long is anybody's.
LEASE_SECONDS = 30.0
DATABASE = "database"  # name of the row whose holder is the database's own id


@dataclass(frozen=True)
class Holder:
    """A launch that can hold leases.

    Attributes:
        id: Its own, so that two launches of one process differ.
        owner: Its host, process and that one's start; see `ownership.owner`.
        machine: Where process ids are those of its own; see `ownership.machine`.
        what: What it does, for people: `sweep demo`.
    """

    id: str
    owner: str
    machine: str
    what: str

    @property
    def is_gone(self) -> bool:
        """Whether its process has ended, as far as can be asked from here."""
        return self.machine == machine() and not is_alive(self.owner)

    def __str__(self) -> str:
        return f"{whose(self.owner)[0]} ({self.what})"


@dataclass(frozen=True)
class Lease:
    """A lease that is held, or was by a launch that died: for `held` seconds, last confirmed `age` seconds ago."""

    name: str
    holder: Holder
    held: float
    age: float

    @property
    def is_alive(self) -> bool:
        """Whether its holder lives: was heard of lately, and is no process of this machine that has ended."""
        return self.age < LEASE_SECONDS and not self.holder.is_gone


class LeaseTable:
    """Leases by name. Every change is one atomic statement.

    Time is PostgreSQL's, or with other databases this machine's. One thread at a time uses it; each waits
    for the others no longer than a statement takes.
    """

    def __init__(self, address: str, patience: float) -> None:
        """Open the table at an SQLAlchemy URL, creating it on first use.

        Raises:
            UnopenedStoreError: if the database cannot be opened.
        """
        self.name, self._lock = shown_address(address), threading.Lock()
        self._address, self._patience = address, patience
        self._engine = _engine(address, patience)
        try:
            self.id: str = opened(address, patience, self._open)
        except BaseException:
            self.close()
            raise

    def _open(self) -> str:
        """Create the table unless it is there; return the database's id."""
        from sqlalchemy import insert, inspect
        from sqlalchemy.exc import DatabaseError, IntegrityError

        table = _table()
        file = sqlite_file(self._address)
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
        if not inspect(self._engine).has_table(table.name):
            if not file:  # a database that is not Optuna's, nor empty, is left as it is
                is_made(self._address, OPTUNA, any_version=True)
            try:
                table.create(self._engine)
            except DatabaseError:  # another launch has just created it
                if not inspect(self._engine).has_table(table.name):
                    raise
        row = {"name": DATABASE, "holder": uuid4().hex, "owner": "", "machine": "", "what": "", "since": 0, "beat": 0}
        with self._engine.connect() as connection:
            if known := _database_id(connection):
                return known
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(table), row)
        except IntegrityError:  # another launch was quicker
            pass
        with self._engine.connect() as connection:
            return _database_id(connection)

    def read(self) -> dict[str, Lease]:
        """Return all leases by name, those of dead launches included."""
        return self._do(_leases)

    def acquire(self, name: str, holder: Holder) -> bool:
        """Take a lease unless another live launch holds it; return whether it is the holder's."""
        from sqlalchemy import insert, or_, update
        from sqlalchemy.exc import IntegrityError

        known, table = self.read().get(name), _table()
        if known and known.is_alive and known.holder.id != holder.id:
            return False
        free = [table.c.beat < _now(self._engine) - LEASE_SECONDS, table.c.holder == holder.id]
        free += [table.c.holder == known.holder.id] if known and known.holder.is_gone else []

        def take(connection: Connection) -> None:
            mine = {"holder": holder.id, "owner": holder.owner, "machine": holder.machine, "what": holder.what}
            mine |= {"since": _now(self._engine), "beat": _now(self._engine)}
            if not connection.execute(update(table).where(table.c.name == name, or_(*free)).values(mine)).rowcount:
                connection.execute(insert(table).values(name=name, **mine))

        def attempt() -> bool:
            try:
                self._once(take)
            except IntegrityError:  # it is there, and not free: another launch was quicker
                return False
            return True

        return retried(attempt, self._patience, self.name)

    def confirm(self, holder: Holder, name: str) -> bool:
        """Say that the holder lives; return whether the lease is still the holder's."""
        return bool(self._do(lambda connection: self._beat(connection, holder, name)))

    def beat(self, holder: Holder) -> None:
        """Say that the holder of leases lives. Wait for no database that is away: the next time will do."""
        self._once(lambda connection: self._beat(connection, holder))

    def _beat(self, connection: Connection, holder: Holder, *names: str) -> int:
        from sqlalchemy import update

        table = _table()
        mine = [table.c.holder == holder.id] + ([table.c.name.in_(names)] if names else [])
        return int(connection.execute(update(table).where(*mine).values(beat=_now(self._engine))).rowcount)

    def release(self, holder: Holder, *names: str) -> None:
        """Give back the holder's leases of these names, or all."""
        from sqlalchemy import delete

        table = _table()
        mine = [table.c.holder == holder.id] + ([table.c.name.in_(names)] if names else [])
        self._do(lambda connection: connection.execute(delete(table).where(*mine)))

    def remove_dead(self) -> None:
        """Remove the leases of dead launches."""
        from sqlalchemy import delete, or_

        table = _table()
        gone = {lease.holder.id for lease in self.read().values() if lease.holder.is_gone}
        dead = or_(table.c.beat < _now(self._engine) - LEASE_SECONDS, table.c.holder.in_(gone))
        self._do(lambda connection: connection.execute(delete(table).where(table.c.name != DATABASE, dead)))

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def _do(self, call: Callable[[Connection], Result]) -> Result:
        """Return what a call makes of the database, repeated while that is busy or away."""
        return retried(lambda: self._once(call), self._patience, self.name)

    def _once(self, call: Callable[[Connection], Result]) -> Result:
        with self._lock, self._engine.begin() as connection:
            return call(connection)


def read_leases(address: str, patience: float) -> tuple[str, dict[str, Lease]]:
    """Return the database's id and all leases; an empty id where there never was a launch. Create nothing.

    Raises:
        UnopenedStoreError: if the database cannot be opened.
    """
    from sqlalchemy import inspect

    file = sqlite_file(address)
    if file and not (file.exists() and file.stat().st_size):
        return "", {}

    def reading() -> tuple[str, dict[str, Lease]]:
        with connected(address) as connection:
            is_there = inspect(connection).has_table(_table().name)
            return (_database_id(connection), _leases(connection)) if is_there else ("", {})

    return opened(address, patience, reading)


def _engine(address: str, patience: float) -> Engine:
    from sqlalchemy import create_engine, event

    engine = create_engine(address, pool_size=1, max_overflow=1, **engine_arguments(address, patience))
    if engine.dialect.name == "sqlite":
        # Who is alive is worth nothing after the power failed, so nothing is waited for until it is on the disk.
        event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
    return engine


def _database_id(connection: Connection) -> str:
    """Return the database's own id, empty if it has none yet."""
    from sqlalchemy import select

    table = _table()
    return str(connection.execute(select(table.c.holder).where(table.c.name == DATABASE)).scalar() or "")


def _leases(connection: Connection) -> dict[str, Lease]:
    """Return all leases by name."""
    from sqlalchemy import select

    table, now = _table(), _now(connection)
    columns = (*table.c, (now - table.c.beat).label("age"), (now - table.c.since).label("held"))
    rows = connection.execute(select(*columns).where(table.c.name != DATABASE)).all()
    return {row.name: Lease(row.name, _holder(row), float(row.held), max(0.0, float(row.age))) for row in rows}


def _holder(row: Any) -> Holder:
    return Holder(row.holder, row.owner, row.machine, row.what)


def _now(database: Engine | Connection) -> Any:
    """Return the present time in seconds as an expression: PostgreSQL's own, or else this machine's."""
    from sqlalchemy import Double, cast, extract, func, literal

    if database.dialect.name == "postgresql":
        return cast(extract("epoch", func.clock_timestamp()), Double)
    return literal(time.time())


@cache
def _table() -> Table:
    from sqlalchemy import Column, Double, MetaData, String, Table

    texts = (Column(name, String(255), nullable=False) for name in ("holder", "owner", "machine", "what"))
    times = (Column(name, Double, nullable=False) for name in ("since", "beat"))
    return Table("convsweep_leases", MetaData(), Column("name", String(255), primary_key=True), *texts, *times)
