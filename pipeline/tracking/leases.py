"""What a launch holds: leases that other launches on its store know of, on this machine or another, while it lives."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from uuid import uuid4

from pipeline.config.schema import StoreConfig
from pipeline.tracking.lease_table import LEASE_SECONDS, Holder, Lease, LeaseTable, read_leases
from pipeline.tracking.ownership import machine, owner, whose
from pipeline.tracking.reader import KIND, LAUNCH, OWNER, SWEEP
from pipeline.tracking.retry import StoreError

BEAT_SECONDS = 5.0  # between two signs of life
SHORTEST_PAUSE = 0.05  # between the first two tries for what is waited for
LONGEST_PAUSE = 1.0  # between two tries, and between two looks at what others hold


class LostLeaseError(StoreError):
    """A launch that was silent for so long that another one has taken its place."""


class NoLeases:
    """Those of a launch that is alone on its store: everything is free. Base of those that others know of."""

    id = tag = ""

    def acquire(self, name: str) -> bool:
        """Take a lease unless another live launch holds it; return whether it is ours."""
        return True

    def need(self, name: str) -> bool:
        """Take a lease for the whole launch, so that `check` raises once it is lost; return whether it is ours."""
        return True

    def release(self, name: str) -> None:
        """Give a lease back."""

    def is_ours(self, name: str) -> bool:
        """Confirm a lease; return whether it is still ours, as it is not where we were silent for too long."""
        return True

    def others(self) -> dict[str, Lease]:
        """Return the leases of other live launches by name, as they were at most a second ago."""
        return {}

    def check(self) -> None:
        """Raise LostLeaseError if a lease that this launch needs to its end is lost."""

    @contextmanager
    def held(self, name: str, on_wait: Callable[[Holder], object] = lambda holder: None) -> Iterator[None]:
        """Hold a lease meanwhile; wait while other live launches have it, and call `on_wait` with each that has."""
        yield


class Leases(NoLeases):
    """The leases of one launch, and a thread that says that it lives. Leaving the context gives all of them back.

    What is killed leaves them behind: on this machine they are free at once, elsewhere after LEASE_SECONDS. What is
    suspended for longer may have lost them, which `is_ours` and `check` tell.

    Attributes:
        id: Its own.
        tag: What names this launch, and the database that knows it, for a tag of its runs.
    """

    def __init__(self, store: StoreConfig, what: str) -> None:
        """Open the store's table of leases.

        Args:
            store: The store, whose `launches_uri` says where that is.
            what: What the launch does, for people: `sweep demo`.

        Raises:
            UnopenedStoreError: if it cannot be opened.
        """
        self.table = LeaseTable(store.launches_uri, store.retry_seconds)
        self.id = uuid4().hex
        self.holder = Holder(self.id, owner(), machine(), what)
        self.tag = f"{self.table.id}:{self.id}"
        self._needed: set[str] = set()  # to the launch's end
        self._seen: dict[str, Lease] = {}
        self._looked = 0.0
        self._ended = threading.Event()
        self._beating = threading.Thread(target=self._beat, name="convsweep-leases", daemon=True)

    def __enter__(self) -> Self:
        """Say from now on that this launch lives; forget those that do not."""
        self.table.remove_dead()
        self._beating.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give all leases back; if the store is away, they expire by themselves."""
        self._ended.set()
        self._beating.join()
        with suppress(StoreError):
            self.table.release(self.holder)
        self.table.close()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            with suppress(Exception):  # a store that is away for a while; whoever needs it says so
                self.table.beat(self.holder)

    def acquire(self, name: str) -> bool:
        """Take a lease unless another live launch holds it; return whether it is ours."""
        if name in self.others():
            return False
        is_ours = self.table.acquire(name, self.holder)
        if not is_ours:
            self._looked = 0.0  # what we have seen is old
        return is_ours

    def need(self, name: str) -> bool:
        """Take a lease for the whole launch, so that `check` raises once it is lost; return whether it is ours."""
        is_ours = self.acquire(name)
        self._needed |= {name} if is_ours else set()
        return is_ours

    def release(self, name: str) -> None:
        """Give a lease back."""
        self._needed.discard(name)
        self.table.release(self.holder, name)

    def is_ours(self, name: str) -> bool:
        """Confirm a lease; return whether it is still ours, as it is not where we were silent for too long."""
        return self.table.confirm(self.holder, name)

    def others(self) -> dict[str, Lease]:
        """Return the leases of other live launches by name, as they were at most a second ago."""
        now = time.monotonic()
        if not self._looked or now - self._looked > LONGEST_PAUSE:
            leases = self.table.read()
            self._seen = {
                name: each for name, each in leases.items() if each.is_alive and each.holder.id != self.holder.id
            }
            for name in self._needed - leases.keys():  # given up for dead, and nobody has taken its place
                self.table.acquire(name, self.holder)
            self._looked = now
        return self._seen

    def check(self) -> None:
        """Raise LostLeaseError if another launch has what this one needs to its end."""
        for name in self._needed & self.others().keys():
            raise LostLeaseError(
                f"this launch was suspended, or cut off from {self.table.name}, for more than {LEASE_SECONDS:.0f} s, "
                f"and {self.others()[name].holder} has taken its place. {StoreError.advice}"
            )

    @contextmanager
    def held(self, name: str, on_wait: Callable[[Holder], object] = lambda holder: None) -> Iterator[None]:
        """Hold a lease meanwhile; wait while other live launches have it, and call `on_wait` with each that has."""
        pause, notified = SHORTEST_PAUSE, set[Holder]()
        while not self.table.acquire(name, self.holder):
            self._looked = 0.0
            if (lease := self.others().get(name)) and lease.holder not in notified:
                on_wait(lease.holder)
                notified.add(lease.holder)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        self._looked = 0.0  # others may have changed what we have seen
        try:
            yield
        finally:
            self.release(name)


@dataclass(frozen=True)
class Living:
    """The live launches on a store, to find out whether a RUNNING run is being trained."""

    database: str
    leases: Mapping[str, Lease]

    def are_training(self, tags: Mapping[str, str]) -> bool | None:
        """Return whether the launch of a RUNNING run with these tags lives; None if that cannot be known from here."""
        database, _, launch = tags.get(LAUNCH, "").partition(":")
        if not database or database != self.database:  # an older version's, or one that is known elsewhere
            return whose(tags[OWNER])[1]
        if tags.get(KIND) == "sweep":
            return bool(members(self.leases, tags[SWEEP]))
        return any(lease.holder.id == launch for lease in self.leases.values())


def living(store: StoreConfig) -> Living:
    """Return which launches on a store live; create nothing.

    Raises:
        UnopenedStoreError: if the database that knows it cannot be opened.
    """
    database, leases = read_leases(store.launches_uri, store.retry_seconds)
    return Living(database, {name: lease for name, lease in leases.items() if lease.is_alive})


def of_run(resume_key: str) -> str:
    """Return the name of the lease of whoever trains a run with this resume key."""
    return f"run:{resume_key}"


def of_sweep(sweep: str, member: str = "") -> str:
    """Return the name of the lease of a sweep's launch, or of one that has joined it."""
    return f"sweep:{sweep}/{member}" if member else f"sweep:{sweep}"


def members(leases: Mapping[str, Lease], sweep: str) -> list[Holder]:
    """Return those launches among the holders of leases that work on a sweep."""
    first = of_sweep(sweep)
    return [lease.holder for name, lease in leases.items() if name == first or name.startswith(f"{first}/")]
