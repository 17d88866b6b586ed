"""Short transactions: read, write, and what their failures mean."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

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
from worker.persistence.engine import begin_writing

ResultT = TypeVar("ResultT")

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
        self._writing = _writing_on(engine)
        self._retrying = Retrying(
            stop=stop_after_delay(patience),
            wait=wait_random_exponential(multiplier=0.005, max=0.25),
            retry=retry_if_exception_type(Contended),
            reraise=True,
        )

    def read(self, query: Callable[[Connection], ResultT]) -> ResultT:
        """Return what the query finds; raises DatabaseUnavailable."""
        try:
            with self.engine.connect() as connection:
                return query(connection)
        except SQLAlchemyError as error:
            meaning = _meaning(error)
            if meaning is None:
                raise
            if isinstance(meaning, Contended):
                raise DatabaseUnavailable(f"the database stays busy: {meaning}") from error
            raise meaning from error

    def write(self, change: Callable[[Connection], ResultT]) -> ResultT:
        """Make the change in one transaction; it may be played several times.

        Raises DatabaseUnavailable; SQLAlchemy's IntegrityError is the caller's to understand.
        """
        return self._persist(change, keep=True)

    def peek(self, change: Callable[[Connection], ResultT]) -> ResultT:
        """Return what the change returns, and undo it."""
        return self._persist(change, keep=False)

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._writing.close()
        self.engine.dispose()

    def _persist(self, change: Callable[[Connection], ResultT], *, keep: bool) -> ResultT:
        try:
            return self._once(change, keep=keep)
        except Contended:
            return self._again(change, keep=keep)

    def _again(self, change: Callable[[Connection], ResultT], *, keep: bool) -> ResultT:
        try:
            played: ResultT = self._retrying(self._once, change, keep=keep)
        except Contended as error:
            message = f"the database stays busy: {error}"
            raise DatabaseUnavailable(message) from error
        return played

    def _once(self, change: Callable[[Connection], ResultT], *, keep: bool) -> ResultT:
        try:
            with self._writing.connection() as connection:
                begin_writing(connection)
                result = change(connection)
                if keep:
                    connection.commit()
                return result
        except SQLAlchemyError as error:
            meaning = _meaning(error)
            if meaning is None:
                raise
            raise meaning from error


class _Pooled:
    """A server's writers work side by side, each on a connection of the pool."""

    def __init__(self, engine: Engine) -> None:
        self.connection = engine.connect

    def close(self) -> None:
        """Nothing is kept."""


class _OneWriter:
    """SQLite has one writer: who queues here does not sleep and poll for its lock.

    Its connection is kept, for to fetch it from the pool costs as much as a short transaction.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._turn = threading.Lock()
        self._kept: Connection | None = None

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Lend the connection; what was not committed is undone."""
        with self._turn:
            connection, self._kept = self._kept or self._engine.connect(), None
            try:
                yield connection
                connection.rollback()
            except BaseException:
                connection.close()
                raise
            self._kept = connection

    def close(self) -> None:
        """Give the connection back."""
        with self._turn:
            connection, self._kept = self._kept, None
        if connection is not None:
            connection.close()


def _writing_on(engine: Engine) -> _Pooled | _OneWriter:
    return _OneWriter(engine) if engine.dialect.name == "sqlite" else _Pooled(engine)


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
