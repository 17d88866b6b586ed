"""Short transactions: read, write, and what their failures mean."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from worker.errors import DatabaseUnavailable, RequestMalformed, WorkerError
from worker.persistence.prepared import run_plain

ResultT = TypeVar("ResultT")

BEGIN = "BEGIN IMMEDIATE"
"""SQLite's transaction takes the lock at once: one that began with reading might find it gone."""

CONTENDED_STATES = frozenset({"40001", "40P01", "55P03"})
"""PostgreSQL: serialization failure, deadlock, lock not available."""

CONTENDED_NUMBERS = frozenset({1020, 1205, 1213})
"""MariaDB: record changed, lock wait timeout, deadlock."""

CONTENDED_NAMES = ("SQLITE_BUSY", "SQLITE_LOCKED")


class Contended(Exception):
    """The transaction lost against another one and was undone; played again it may win."""


class Database:
    """One database, used by many threads; no transaction outlives a call."""

    def __init__(self, engine: Engine, *, patience: float = 10.0) -> None:
        """Play contended writes again for that many seconds."""
        self.engine = engine
        self._using = _OneWriter(engine) if engine.dialect.name == "sqlite" else _Pooled(engine)
        self._retrying = Retrying(
            stop=stop_after_delay(patience),
            wait=wait_random_exponential(multiplier=0.005, max=0.25),
            retry=retry_if_exception_type(Contended),
            reraise=True,
        )

    def read(self, query: Callable[[Connection], ResultT]) -> ResultT:
        """Return what the query finds; raises DatabaseUnavailable."""
        try:
            return self._using.read(query)
        except SQLAlchemyError as error:
            meaning = _meaning(error)
            if meaning is None:
                raise
            if isinstance(meaning, Contended):
                raise DatabaseUnavailable(f"the database stays busy: {meaning}") from error
            raise meaning from error

    def write(self, change: Callable[[Connection], ResultT]) -> ResultT:
        """Make the change in one transaction, alone or with others; it may be played several times.

        Raises DatabaseUnavailable; SQLAlchemy's IntegrityError is the caller's to understand.
        """
        return self._persist(self._using.write, change)

    def peek(self, change: Callable[[Connection], ResultT]) -> ResultT:
        """Return what the change returns, and undo it."""
        return self._persist(self._using.peek, change)

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._using.close()
        self.engine.dispose()

    def _persist(
        self,
        way: Callable[[Callable[[Connection], ResultT]], ResultT],
        change: Callable[[Connection], ResultT],
    ) -> ResultT:
        try:
            return _once(way, change)
        except Contended:
            return self._again(way, change)

    def _again(
        self,
        way: Callable[[Callable[[Connection], ResultT]], ResultT],
        change: Callable[[Connection], ResultT],
    ) -> ResultT:
        try:
            played: ResultT = self._retrying(_once, way, change)
        except Contended as error:
            message = f"the database stays busy: {error}"
            raise DatabaseUnavailable(message) from error
        return played


def _once(
    way: Callable[[Callable[[Connection], ResultT]], ResultT],
    change: Callable[[Connection], ResultT],
) -> ResultT:
    try:
        return way(change)
    except SQLAlchemyError as error:
        meaning = _meaning(error)
        if meaning is None:
            raise
        raise meaning from error


class _Pooled:
    """A server's writers work side by side, each on a connection of the pool."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def read(self, query: Callable[[Connection], ResultT]) -> ResultT:
        with self._engine.connect() as connection:
            return query(connection)

    def write(self, change: Callable[[Connection], ResultT]) -> ResultT:
        with self._engine.begin() as connection:
            return change(connection)

    def peek(self, change: Callable[[Connection], ResultT]) -> ResultT:
        with self._engine.connect() as connection:
            connection.begin()
            return change(connection)

    def close(self) -> None:
        """Nothing is kept."""


@dataclass(slots=True)
class _Waiting:
    """A change whose thread waits for its turn, or for the one who makes it too."""

    change: Callable[[Connection], Any]
    taken: bool = False
    done: bool = False
    result: Any = None


class _OneWriter:
    """SQLite has one writer: who queues here does not sleep and poll for its lock.

    Whoever comes first makes the changes of all who wait, in one commit; if one of them fails,
    each is made alone. The connection is kept: it costs as much as a short transaction to fetch
    one from the pool, and what another one has read is read again after each commit of this.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._turn = threading.Lock()
        self._kept: Connection | None = None
        self._waiting: deque[_Waiting] = deque()

    def read(self, query: Callable[[Connection], ResultT]) -> ResultT:
        """Read on the kept connection if it is free; a reader waits for no writer."""
        if not self._turn.acquire(blocking=False):
            with self._engine.connect() as connection:
                return query(connection)
        try:
            return self._on_kept(query)
        finally:
            self._turn.release()

    def write(self, change: Callable[[Connection], ResultT]) -> ResultT:
        mine = _Waiting(change)
        self._waiting.append(mine)
        with self._turn:
            if not mine.done:
                self._make(self._group(mine), mine)
        result: ResultT = mine.result
        return result

    def peek(self, change: Callable[[Connection], ResultT]) -> ResultT:
        def undone(connection: Connection) -> ResultT:
            run_plain(connection, BEGIN)
            result = change(connection)
            run_plain(connection, "ROLLBACK")
            return result

        with self._turn:
            return self._on_kept(undone)

    def close(self) -> None:
        """Give the connection back."""
        with self._turn:
            connection, self._kept = self._kept, None
        if connection is not None:
            connection.close()

    def _group(self, mine: _Waiting) -> list[_Waiting]:
        """Return what is made with this one: once taken, a change is made with nobody's again."""
        if mine.taken:
            return [mine]
        group = [self._waiting.popleft() for _ in range(len(self._waiting))]
        for each in group:
            each.taken = True
        return group

    def _make(self, group: Sequence[_Waiting], mine: _Waiting) -> None:
        try:
            self._commit(group)
        except Exception:
            if len(group) == 1:
                raise
            self._commit([mine])

    def _commit(self, group: Sequence[_Waiting]) -> None:
        def make(connection: Connection) -> None:
            run_plain(connection, BEGIN)
            for each in group:
                each.result = each.change(connection)
            run_plain(connection, "COMMIT")

        self._on_kept(make)
        for each in group:
            each.done = True

    def _on_kept(self, work: Callable[[Connection], ResultT]) -> ResultT:
        """Do the work on the connection that is kept; after a failure it is another one."""
        connection, self._kept = self._kept or self._engine.connect(), None
        try:
            result = work(connection)
            if connection.in_transaction():
                connection.rollback()
        except BaseException:
            connection.close()
            raise
        self._kept = connection
        return result


def _meaning(error: SQLAlchemyError) -> Contended | WorkerError | None:
    match error:
        case PoolTimeoutError():
            return DatabaseUnavailable("every connection to the database is in use")
        case DBAPIError() if _is_contended(error):
            return Contended(said(error))
        case DataError():
            return RequestMalformed(f"the database refuses a value: {said(error)}")
        case OperationalError() | InterfaceError() | DBAPIError(connection_invalidated=True):
            return DatabaseUnavailable(f"the database does not answer: {said(error)}")
        case _:
            return None


def _is_contended(error: DBAPIError) -> bool:
    cause = error.orig
    number = cause.args[0] if cause is not None and cause.args else None
    return (
        getattr(cause, "sqlstate", None) in CONTENDED_STATES
        or number in CONTENDED_NUMBERS
        or getattr(cause, "sqlite_errorname", "").startswith(CONTENDED_NAMES)
    )


def said(error: DBAPIError) -> str:
    """Return the database's own words, as far as they fit a line."""
    lines = str(error.orig).strip().splitlines()
    return lines[0] if lines else type(error.orig).__name__
