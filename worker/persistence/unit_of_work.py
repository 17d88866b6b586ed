"""The transaction rule of the house.

All that one request writes goes into one ``UnitOfWork``. Most writes only wait there; what must
be durable at once commits everything that waits, and itself, in one short transaction. So no
transaction is open across an outside call, an update is written with the change that it tells,
and the whole list can be played again after a deadlock.
"""

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection, Table

from worker.errors import DatabaseUnavailable
from worker.model.update import Update
from worker.persistence.database import Database
from worker.persistence.journal.telling import Telling
from worker.ports import Clock

ResultT = TypeVar("ResultT")

Write = Callable[[Connection], None]
"""A change that may be played several times: it says what is to be, not what to add."""


class UnitOfWork:
    """The writes of one request that wait for the next commit; used by one thread at a time."""

    def __init__(self, database: Database, host: str, clock: Clock, told: threading.Event) -> None:
        """Set ``told`` after each commit that wrote an update; ``committed`` with the first."""
        self.database = database
        self.host = host
        self.clock = clock
        self._told = told
        self._pending: list[Write] = []
        self._visible: list[tuple[Table, Write]] = []
        self._tells = False
        self.committed = False

    def append(self, write: Write, to: Table) -> None:
        """Keep the write to that table for the next commit; the request's own reads see it."""
        self._pending.append(write)
        self._visible.append((to, write))

    def note(self, write: Write) -> None:
        """Keep the write for the next commit; one of journal or outbox, which no request reads."""
        self._pending.append(write)

    def tell(self, update: Update) -> None:
        """Keep the update for the next commit."""
        self.note(self.telling(update))

    def telling(self, update: Update) -> Telling:
        """Return the write of an update, for a commit's own writes."""
        self._tells = True
        return Telling(update, self.host, self.clock)

    def commit(self, *own: Write) -> None:
        """Make durable, in order and in one transaction, what waits and then ``own``.

        If it fails, nothing of it is durable, what waited still waits, and ``own`` is dropped.
        A waiting write that the database refuses for what it says raises here, once, and waits
        no more: the request could never end with it.
        """
        writes = [*self._pending, *own]
        if not writes:
            return
        reached: list[Write] = []
        try:
            self.database.write(partial(_play, writes, reached))
        except DatabaseUnavailable:
            raise
        except Exception:
            self._drop(reached[-1:])
            raise
        self._pending.clear()
        self._visible.clear()
        self.committed = True
        if self._tells:
            self._tells = False
            self._told.set()

    def read(self, query: Callable[[Connection], ResultT], only: Table | None = None) -> ResultT:
        """Return what the query finds; it sees what waits, or only what waits for that table."""
        waiting = [write for to, write in self._visible if only in (None, to)]
        if not waiting:
            return self.database.glance(query)
        return self.database.peek(partial(_play_and_look, waiting, query))

    def survey(self, query: Callable[[Connection], ResultT]) -> ResultT:
        """Return as ``read`` does what a query finds that goes through much: no writer waits."""
        return self.read(query) if self._visible else self.database.read(query)

    def _drop(self, refused: Sequence[Write]) -> None:
        self._pending[:] = [write for write in self._pending if write not in refused]
        self._visible[:] = [(to, write) for to, write in self._visible if write not in refused]


def _play(writes: Sequence[Write], reached: list[Write], connection: Connection) -> None:
    for write in writes:
        reached.append(write)
        write(connection)


def _play_and_look(
    writes: Sequence[Write], query: Callable[[Connection], ResultT], connection: Connection
) -> ResultT:
    _play(writes, [], connection)
    return query(connection)
