"""Statements that SQLAlchemy renders and the driver runs.

SQLAlchemy knows how each database wants a statement and how each column is stored; going through
it at every execution costs several times what SQLite does with the statement. These are rendered
once, for a database and a set of values. Connections, transactions and errors stay SQLAlchemy's.
"""

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Delete, Dialect, Insert, Select, Update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeEngine

Process = Callable[[Any], Any]
"""From a value to how the driver wants it, or back."""


class _Rendered:
    """One rendering: its text, its parameters in order, and those whose value never changes."""

    def __init__(
        self,
        text: str,
        parameters: Sequence[tuple[str, Process | None]],
        constants: Mapping[str, Any],
        *,
        positional: bool,
    ) -> None:
        self.text = text
        self._names = tuple(name for name, _ in parameters)
        self._processes = [
            (index, process) for index, (_, process) in enumerate(parameters) if process is not None
        ]
        self._constants = constants
        self._positional = positional

    def bound(self, values: Mapping[str, Any]) -> list[Any] | dict[str, Any]:
        """Return the values as the driver wants them."""
        if self._constants:
            values = {**self._constants, **values}
        bound = [values[name] for name in self._names]
        for index, process in self._processes:
            bound[index] = process(bound[index])
        return bound if self._positional else dict(zip(self._names, bound, strict=True))


class _Prepared:
    """What is common to both kinds; there must be no ``IN`` list, which is rendered late."""

    def __init__(self, statement: Select[Any] | Insert | Update | Delete) -> None:
        self._statement = statement
        self._renderings: dict[tuple[str, tuple[str, ...]], _Rendered] = {}

    def _run(self, connection: Connection, values: Mapping[str, Any]) -> Any:  # noqa: ANN401
        """Return the driver's cursor, after the execution."""
        dialect = connection.dialect
        key = (dialect.name, tuple(values))
        rendered = self._renderings.get(key)
        if rendered is None:
            rendered = self._renderings[key] = _render(self._statement, dialect, key[1])
        return _executed(connection, rendered.text, rendered.bound(values))


class Query(_Prepared):
    """A statement that returns rows, their columns as attributes."""

    def __init__(self, statement: Select[Any] | Update) -> None:
        """Take a SELECT, or an UPDATE that returns what it changed."""
        super().__init__(statement)
        self._columns = statement.exported_columns
        keys = [str(column.key) for column in self._columns]
        self._row: Any = namedtuple("Row", keys)  # type: ignore[misc]  # noqa: PYI024
        self._processes: dict[str, list[tuple[int, Process]]] = {}

    def all(self, connection: Connection, **values: Any) -> list[Any]:  # noqa: ANN401
        """Return every row."""
        cursor = self._run(connection, values)
        processes = self._processes_of(connection.dialect, cursor.description)
        rows = [self._row._make(_processed(row, processes)) for row in cursor.fetchall()]
        cursor.close()
        return rows

    def first(self, connection: Connection, **values: Any) -> Any:  # noqa: ANN401
        """Return the first row, or None."""
        rows = self.all(connection, **values)
        return rows[0] if rows else None

    def _processes_of(
        self, dialect: Dialect, described: Sequence[Sequence[Any]]
    ) -> list[tuple[int, Process]]:
        if dialect.name not in self._processes:
            found = [
                column.type.dialect_impl(dialect).result_processor(dialect, code)
                for column, (_, code, *_) in zip(self._columns, described, strict=True)
            ]
            self._processes[dialect.name] = [
                (index, process) for index, process in enumerate(found) if process is not None
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


def run_plain(connection: Connection, text: str) -> None:
    """Run a statement that takes nothing and returns nothing."""
    _executed(connection, text, ()).close()


def _executed(connection: Connection, text: str, parameters: Any) -> Any:  # noqa: ANN401 - the driver's
    # The driver's own: SQLAlchemy's stand-in for it makes a cursor through one more call.
    cursor = connection.connection.dbapi_connection.cursor()  # type: ignore[union-attr]
    try:
        cursor.execute(text, parameters)
    except connection.dialect.loaded_dbapi.Error as error:
        raise _translated(error, connection, text) from error
    return cursor


def _render(
    statement: Select[Any] | Insert | Update | Delete, dialect: Dialect, names: tuple[str, ...]
) -> _Rendered:
    compiled = statement.compile(dialect=dialect, column_keys=list(names))
    bound = list(compiled.positiontup or compiled.params)
    return _Rendered(
        str(compiled),
        [(name, _binding(compiled.binds[name].type, dialect)) for name in bound],
        {name: compiled.params[name] for name in bound if name not in names},
        positional=compiled.positional,
    )


def _binding(kind: TypeEngine[Any], dialect: Dialect) -> Process | None:
    return kind.dialect_impl(dialect).bind_processor(dialect)


def _processed(row: Sequence[Any], processes: Sequence[tuple[int, Process]]) -> Sequence[Any]:
    if not processes:
        return row
    values = list(row)
    for index, process in processes:
        values[index] = process(values[index])
    return values


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
