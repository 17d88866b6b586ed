"""Short transactions: read, write, and what their failures mean."""

from collections.abc import Callable
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
from worker.persistence.turns import OneWriter, Pooled

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
        self._using = OneWriter(engine) if engine.dialect.name == "sqlite" else Pooled(engine)
        self._retrying = Retrying(
            stop=stop_after_delay(patience),
            wait=wait_random_exponential(multiplier=0.005, max=0.25),
            retry=retry_if_exception_type(Contended),
            reraise=True,
        )

    def read(self, query: Callable[[Connection], ResultT]) -> ResultT:
        """Return what the query finds, however long it takes; raises DatabaseUnavailable."""
        return self._understood(self._using.read, query)

    def glance(self, query: Callable[[Connection], ResultT]) -> ResultT:
        """Return what a query finds by a key: a writer may have to wait for it, so it is short."""
        return self._understood(self._using.glance, query)

    def _understood(
        self,
        ask: Callable[[Callable[[Connection], ResultT]], ResultT],
        query: Callable[[Connection], ResultT],
    ) -> ResultT:
        try:
            return ask(query)
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
