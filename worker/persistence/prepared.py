"""Statements that SQLAlchemy renders and the driver runs.

SQLAlchemy knows how each database wants a statement and how each column is stored; going through
it at every execution costs several times what SQLite does with the statement. These are rendered
once, for a database and a set of values. Connections, transactions and errors stay SQLAlchemy's.
"""

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Delete, Dialect, Insert, Select, Update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeEngine

Process = Callable[[Any], Any]
"""From a value to how the driver wants it, or back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rendered:
    """One rendering: its text, and its parameters in order."""

    text: str
    names: Sequence[str]
    processes: Sequence[Process | None]
    constants: Mapping[str, Any]
    positional: bool

    def parameters(self, values: Mapping[str, Any]) -> tuple[Any, ...] | dict[str, Any]:
        found = _processed([self._value(name, values) for name in self.names], self.processes)
        return tuple(found) if self.positional else dict(zip(self.names, found, strict=True))

    def _value(self, name: str, values: Mapping[str, Any]) -> Any:  # noqa: ANN401
        return values[name] if name in values else self.constants[name]


class _Prepared:
    """What is common to both kinds; there must be no ``IN`` list, which is rendered late."""

    def __init__(self, statement: Select[Any] | Insert | Update | Delete) -> None:
        self._statement = statement
        self._renderings: dict[tuple[str, ...], _Rendered] = {}

    def _run(self, connection: Connection, values: Mapping[str, Any]) -> Any:  # noqa: ANN401
        """Return the driver's cursor, after the execution."""
        rendered = self._rendered(connection.dialect, tuple(values))
        cursor = connection.connection.cursor()
        try:
            cursor.execute(rendered.text, rendered.parameters(values))
        except connection.dialect.loaded_dbapi.Error as error:
            raise _translated(error, connection, rendered.text) from error
        return cursor

    def _rendered(self, dialect: Dialect, names: tuple[str, ...]) -> _Rendered:
        key = (dialect.name, *names)
        if key not in self._renderings:
            self._renderings[key] = _render(self._statement, dialect, names)
        return self._renderings[key]


class Query(_Prepared):
    """A statement that returns rows, their columns as attributes."""

    def __init__(self, statement: Select[Any] | Update) -> None:
        """Take a SELECT, or an UPDATE that returns what it changed."""
        super().__init__(statement)
        self._columns = statement.exported_columns
        keys = [str(column.key) for column in self._columns]
        self._row: Any = namedtuple("Row", keys)  # type: ignore[misc]  # noqa: PYI024
        self._processes: dict[str, list[Process | None]] = {}

    def all(self, connection: Connection, **values: Any) -> list[Any]:  # noqa: ANN401
        """Return every row."""
        cursor = self._run(connection, values)
        processes = self._processes_of(connection.dialect, cursor.description)
        rows = [self._row(*_processed(row, processes)) for row in cursor.fetchall()]
        cursor.close()
        return rows

    def first(self, connection: Connection, **values: Any) -> Any:  # noqa: ANN401
        """Return the first row, or None."""
        rows = self.all(connection, **values)
        return rows[0] if rows else None

    def _processes_of(
        self, dialect: Dialect, described: Sequence[Sequence[Any]]
    ) -> list[Process | None]:
        if dialect.name not in self._processes:
            self._processes[dialect.name] = [
                column.type.dialect_impl(dialect).result_processor(dialect, code)
                for column, (_, code, *_) in zip(self._columns, described, strict=True)
            ]
        return self._processes[dialect.name]


class Change(_Prepared):
    """A statement that writes."""

    def __init__(self, statement: Insert | Update | Delete) -> None:
        """Take a statement that returns nothing."""
        super().__init__(statement.inline() if isinstance(statement, Insert) else statement)

    def run(self, connection: Connection, values: Mapping[str, Any]) -> int:
        """Write; return how many rows were meant."""
        cursor = self._run(connection, values)
        count: int = cursor.rowcount
        cursor.close()
        return count


def _render(
    statement: Select[Any] | Insert | Update | Delete, dialect: Dialect, names: tuple[str, ...]
) -> _Rendered:
    compiled = statement.compile(dialect=dialect, column_keys=list(names))
    bound = list(compiled.positiontup or compiled.params)
    return _Rendered(
        text=str(compiled),
        names=bound,
        processes=[_binding(compiled.binds[name].type, dialect) for name in bound],
        constants=compiled.params,
        positional=compiled.positional,
    )


def _binding(kind: TypeEngine[Any], dialect: Dialect) -> Process | None:
    return kind.dialect_impl(dialect).bind_processor(dialect)


def _processed(values: Sequence[Any], processes: Sequence[Process | None]) -> list[Any]:
    return [
        value if process is None else process(value)
        for value, process in zip(values, processes, strict=True)
    ]


def _translated(error: Any, connection: Connection, text: str) -> BaseException:  # noqa: ANN401
    """Do as SQLAlchemy does when its own execution fails."""
    dialect = connection.dialect
    gone = dialect.is_disconnect(error, connection.connection.dbapi_connection, None)
    if gone:
        connection.invalidate(error)
    meaning: BaseException = DBAPIError.instance(
        text,
        None,
        error,
        dialect.loaded_dbapi.Error,
        hide_parameters=True,
        connection_invalidated=gone,
        dialect=dialect,
    )
    return meaning
