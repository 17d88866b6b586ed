"""Column types that work alike on SQLite, PostgreSQL and MariaDB."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, Integer, Text, TypeDecorator
from sqlalchemy.dialects import mysql

BIG_ID = BigInteger().with_variant(Integer, "sqlite")
"""A key that counts up; SQLite counts only what is declared INTEGER."""

LONG_TEXT = Text().with_variant(mysql.MEDIUMTEXT, "mysql", "mariadb")
"""Room for 16 MiB; MariaDB's TEXT ends at 64 KiB, a connection with many portals may not."""

MOMENT = DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
"""Microseconds everywhere; MariaDB's DATETIME would drop them."""

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


class Utc(TypeDecorator[datetime]):
    """A time with its zone; stored in UTC without it."""

    impl = MOMENT
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Store in UTC; a time without a zone is a mistake of ours."""
        return None if value is None else _naive(value)

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], Any] | None:
        """Write SQLite's text at once: SQLAlchemy's way to the same one takes ten times as long."""
        if dialect.name != "sqlite":
            return super().bind_processor(dialect)
        return _sqlite_text

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return it with its zone."""
        return None if value is None else value.replace(tzinfo=UTC)


def _naive(value: datetime) -> datetime:
    return _in_utc(value).replace(tzinfo=None)


def _sqlite_text(value: datetime | None) -> str | None:
    if value is None:
        return None
    text, _, _ = _in_utc(value).isoformat(" ", "microseconds").partition("+")
    return text


def _in_utc(value: datetime) -> datetime:
    if value.tzinfo is UTC:
        return value
    if value.tzinfo is None:
        message = f"a time without a zone: {value!r}"
        raise ValueError(message)
    return value.astimezone(UTC)


def canonical(value: object) -> str:
    """Write JSON so that equal values give equal texts."""
    return _CANONICAL.encode(value)


class Json(TypeDecorator[Any]):
    """JSON in a text column: the same text on every database, in canonical form."""

    impl = LONG_TEXT
    cache_ok = True

    def process_bind_param(self, value: object, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Store None as NULL."""
        return None if value is None else canonical(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ANN401, ARG002
        """Return what was stored."""
        return None if value is None else json.loads(value)
