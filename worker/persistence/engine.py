"""How each database is opened: what it needs to keep its promises to us."""

from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.pool import ConnectionPoolEntry

from worker.errors import Invalid

DEFAULT_DRIVERS = {"postgresql": "psycopg", "mysql": "pymysql", "mariadb": "pymysql"}

CONNECT_ARGUMENTS: dict[str, dict[str, Any]] = {
    "psycopg": {"connect_timeout": 5, "tcp_user_timeout": 20_000},
    "pymysql": {"connect_timeout": 5, "read_timeout": 30, "write_timeout": 30},
}
"""A server that is gone without a word is noticed; the libraries would wait for ever."""


def make_engine(url: str, *, pool_size: int = 32) -> Engine:
    """Return an engine for SQLite, PostgreSQL or MariaDB; it connects when first used.

    ``pool_size`` is how many threads may use it at once. Raises Invalid for a URL that cannot
    be used. No statement's parameters ever show in an error.
    """
    try:
        parsed = _with_driver(make_url(url))
        if parsed.get_backend_name() == "sqlite":
            return _sqlite(parsed, pool_size)
        return _server(parsed, pool_size)
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError) as error:
        message = f"the database URL cannot be used: {error}"
        raise Invalid(message) from error


def _with_driver(url: URL) -> URL:
    driver = DEFAULT_DRIVERS.get(url.drivername)
    return url if driver is None else url.set(drivername=f"{url.drivername}+{driver}")


def _server(url: URL, pool_size: int) -> Engine:
    given = CONNECT_ARGUMENTS.get(url.get_driver_name(), {})
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_pre_ping=True,
        isolation_level="READ COMMITTED",
        hide_parameters=True,
        connect_args={key: value for key, value in given.items() if key not in url.query},
    )


def _sqlite(url: URL, pool_size: int) -> Engine:
    if url.database in (None, "", ":memory:"):
        message = "SQLite needs a file: threads would each see a database of their own"
        raise ArgumentError(message)
    engine = create_engine(url, pool_size=pool_size, max_overflow=0, hide_parameters=True)
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _entry: ConnectionPoolEntry) -> None:  # noqa: ANN401 - DBAPI
    """Take the control of transactions from the driver, which would begin them too late."""
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def begin_writing(connection: Connection) -> None:
    """Begin a transaction that will write.

    SQLite's takes the lock at once: one that began with reading might find it gone.
    """
    if not connection.in_transaction():
        connection.begin()
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
