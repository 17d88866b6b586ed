"""Which connection is used for what, and who writes when."""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection, Engine

from worker.persistence.prepared import run_plain
from worker.persistence.queue import Queue, Waiting

ResultT = TypeVar("ResultT")

BEGIN = "BEGIN IMMEDIATE"
"""SQLite's transaction takes the lock at once: one that began with reading might find it gone."""

READERS = 4
"""So many connections are kept for who reads while another writes."""


class Pooled:
    """A server's writers work side by side, each on a connection of the pool."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def read(self, query: Callable[[Connection], ResultT]) -> ResultT:
        """Return what the query finds."""
        with self._engine.connect() as connection:
            return query(connection)

    glance = read

    def write(self, change: Callable[[Connection], ResultT]) -> ResultT:
        """Make the change in a transaction; it is committed when this returns."""
        with self._engine.begin() as connection:
            return change(connection)

    def peek(self, change: Callable[[Connection], ResultT]) -> ResultT:
        """Return what the change returns, and undo it."""
        with self._engine.connect() as connection:
            connection.begin()
            return change(connection)

    def close(self) -> None:
        """Nothing is kept."""


class _Kept:
    """Connections that stay open: to fetch one from the pool costs as much as a transaction."""

    def __init__(self, engine: Engine, most: int) -> None:
        """Keep so many at most; the pool has others."""
        self._engine = engine
        self._free: deque[Connection] = deque()
        self._most = most

    def lend(self, work: Callable[[Connection], ResultT]) -> ResultT:
        """Do the work on one that nobody uses; one on which it failed is not kept."""
        connection = self._one()
        try:
            result = work(connection)
            if connection.in_transaction():
                connection.rollback()
        except BaseException:
            connection.close()
            raise
        if len(self._free) < self._most:
            self._free.append(connection)
        else:
            connection.close()
        return result

    def close(self) -> None:
        """Give all that nobody uses back."""
        while self._free:
            self._one().close()

    def _one(self) -> Connection:
        try:
            return self._free.pop()
        except IndexError:
            return self._engine.connect()


class OneWriter:
    """SQLite has one writer: who queues here does not sleep and poll for its lock.

    Whoever comes first makes the changes of all who wait, in one commit; if one of them fails,
    each is made alone. What another connection has read is read again after each commit of this
    one, so whoever reads takes it too while nobody writes.
    """

    def __init__(self, engine: Engine) -> None:
        """Nothing is connected yet."""
        self._queue = Queue()
        self._kept = _Kept(engine, 1)
        self._beside = _Kept(engine, READERS)

    def read(self, query: Callable[[Connection], ResultT]) -> ResultT:
        """Read beside the writer: nobody waits for the other, however long it takes."""
        return self._beside.lend(query)

    def glance(self, query: Callable[[Connection], ResultT]) -> ResultT:
        """Read on the kept connection if it is free, which has most pages at hand."""
        if not self._queue.try_enter():
            return self._beside.lend(query)
        try:
            return self._kept.lend(query)
        finally:
            self._queue.leave()

    def write(self, change: Callable[[Connection], ResultT]) -> ResultT:
        """Make the change, alone or with others; it is committed when this returns."""
        mine = Waiting(change)
        self._queue.enter(mine)
        if not mine.done:
            self._in_turn(partial(self._make, mine))
        result: ResultT = mine.result
        return result

    def peek(self, change: Callable[[Connection], ResultT]) -> ResultT:
        """Return what the change returns, and undo it."""

        def undone(connection: Connection) -> ResultT:
            run_plain(connection, BEGIN)
            result = change(connection)
            run_plain(connection, "ROLLBACK")
            return result

        self._queue.enter(Waiting(change, alone=True))
        return self._in_turn(lambda: self._kept.lend(undone))

    def close(self) -> None:
        """Give the connections back."""
        self._queue.enter(Waiting(_nothing, alone=True))
        self._in_turn(self._kept.close)
        self._beside.close()

    def _in_turn(self, work: Callable[[], ResultT]) -> ResultT:
        try:
            return work()
        finally:
            self._queue.leave()

    def _make(self, mine: Waiting) -> None:
        others = () if mine.alone else self._queue.companions()
        try:
            self._commit([mine, *others])
        except Exception:
            if not others:
                raise
        finally:
            self._queue.settle(others)
        if not mine.done:
            self._commit([mine])

    def _commit(self, group: Sequence[Waiting]) -> None:
        def make(connection: Connection) -> None:
            run_plain(connection, BEGIN)
            for each in group:
                each.result = each.change(connection)
            run_plain(connection, "COMMIT")

        self._kept.lend(make)
        for each in group:
            each.done = True


def _nothing(_connection: Connection) -> None:
    """Change nothing."""
