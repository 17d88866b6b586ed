"""The journal: what was asked of this host and what became of it."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection as SqlConnection
from sqlalchemy import Row, Select, bindparam, insert, or_, select, true, update
from sqlalchemy.exc import IntegrityError

from worker.errors import OperationConflict, OperationNotFound
from worker.model.ids import DeviceId, InstanceId, OperationId
from worker.model.operation import Operation, OperationState, Step
from worker.model.secret import same_arguments
from worker.persistence.columns import canonical
from worker.persistence.database import Database
from worker.persistence.journal.rows import operation_of, operation_values, step_of
from worker.persistence.prepared import Change, Query
from worker.persistence.schema import OPERATIONS, STEPS
from worker.ports import Clock, Operations

UNFINISHED = tuple(state.value for state in OperationState if not state.ended)

_INSERT = Change(insert(OPERATIONS))
_OF_HOST = select(OPERATIONS).where(OPERATIONS.c.host == bindparam("worker"))
_NEWEST = _OF_HOST.order_by(OPERATIONS.c.sequence.desc())
# Not by an index that begins with the host: SQLite would sort all that the worker ever did.
_NEWEST_OF_ALL = (
    select(OPERATIONS)
    .where(OPERATIONS.c.host.concat("") == bindparam("worker"))
    .order_by(OPERATIONS.c.sequence.desc())
)
_GET = Query(_OF_HOST.where(OPERATIONS.c.id == bindparam("which")))
_LAST_FOR = _NEWEST.where(OPERATIONS.c.block_device_uuid == bindparam("device")).limit(1)
_MARK_LATE = (
    update(OPERATIONS)
    .where(
        OPERATIONS.c.host == bindparam("worker"),
        OPERATIONS.c.id == bindparam("which"),
        OPERATIONS.c.state.in_(UNFINISHED),
    )
    .values(late=true())
)
_UNFINISHED = _OF_HOST.where(OPERATIONS.c.state.in_(UNFINISHED)).order_by(OPERATIONS.c.sequence)
_STEPS = Query(
    select(STEPS).where(STEPS.c.operation_id == bindparam("which")).order_by(STEPS.c.number)
)
_STEPS_OF_UNFINISHED = (
    select(STEPS)
    .join(OPERATIONS, OPERATIONS.c.id == STEPS.c.operation_id)
    .where(OPERATIONS.c.host == bindparam("worker"), OPERATIONS.c.state.in_(UNFINISHED))
    .order_by(STEPS.c.operation_id, STEPS.c.number)
)


class SqlOperations(Operations):
    """``operations`` and ``steps`` of one host."""

    def __init__(self, database: Database, host: str, clock: Clock) -> None:
        self._database = database
        self._host = host
        self._clock = clock

    def accept(self, operation: Operation) -> tuple[Operation, bool]:
        """Keep the operation, at once; return it as kept, and whether it is new."""
        try:
            (kept,) = self._add([operation])
        except IntegrityError as error:
            return self._accepted_before(operation, error), False
        return kept, True

    def accept_new(self, operations: Sequence[Operation]) -> tuple[Operation, ...]:
        """Keep several operations, at once, in their order; none, unless all are new."""
        try:
            return self._add(operations)
        except IntegrityError as error:
            raise OperationConflict("one of the operations was accepted before") from error

    def get(self, operation: OperationId) -> Operation:
        """Return the operation with its steps; raises OperationNotFound."""
        which = {"worker": self._host, "which": operation}

        def query(connection: SqlConnection) -> Operation:
            row = _GET.first(connection, **which)
            if row is None:
                message = f"no operation {operation}"
                raise OperationNotFound(message)
            steps = _STEPS.all(connection, which=operation)
            return operation_of(row, tuple(step_of(step) for step in steps))

        return self._database.glance(query)

    def list(
        self,
        *,
        instance: InstanceId | None = None,
        states: Sequence[OperationState] = (),
        limit: int | None = None,
    ) -> tuple[Operation, ...]:
        """Return operations without their steps, newest first."""
        lite = self._database.engine.dialect.name == "sqlite"
        query = _listing(instance is not None, tuple(states), limit is not None, lite)
        which: dict[str, Any] = {"worker": self._host}
        if instance is not None:
            which["instance"] = instance
        if limit is not None:
            which["most"] = limit
        # What an operation asks at its beginning, by an index; all else may go through much.
        ask = self._database.glance if instance and states else self._database.read
        rows = ask(lambda connection: query.all(connection, **which))
        rows.sort(key=attrgetter("sequence"), reverse=True)
        return tuple(operation_of(row) for row in rows)

    def unfinished(self) -> tuple[Operation, ...]:
        """Return what is queued or running, with its steps, in the order it was accepted."""
        rows, steps = self._all(_UNFINISHED), _by_operation(self._all(_STEPS_OF_UNFINISHED))
        return tuple(operation_of(row, tuple(steps[row.id])) for row in rows)

    def last_for(self, device: DeviceId, method: str | None = None) -> Operation | None:
        """Return the newest operation that names the row, of that method, without its steps."""
        query = _LAST_FOR if method is None else _LAST_FOR.where(OPERATIONS.c.method == method)
        rows = self._all(query, device=device)
        return operation_of(rows[0]) if rows else None

    def mark_late(self, operation: OperationId) -> None:
        """Note, at once, that an operation runs past its deadline; one that has ended stays."""
        which = {"worker": self._host, "which": operation}
        self._database.write(lambda connection: connection.execute(_MARK_LATE, which))

    def _add(self, operations: Sequence[Operation]) -> tuple[Operation, ...]:
        now = self._clock.now()
        kept = tuple(replace(each, accepted_at=each.accepted_at or now) for each in operations)

        def add(connection: SqlConnection) -> None:
            for each in kept:
                _INSERT.run(connection, operation_values(each, self._host))

        self._database.write(add)
        return kept

    def _all(self, query: Select[Any], **which: str) -> Sequence[Row[Any]]:
        of_host = which | {"worker": self._host}
        return self._database.read(lambda connection: connection.execute(query, of_host).all())

    def _accepted_before(self, operation: Operation, error: IntegrityError) -> Operation:
        try:
            earlier = self.get(operation.id)
        except OperationNotFound as missing:
            message = f"operation {operation.id} was given to another host"
            raise OperationConflict(message) from missing
        if not _asks_the_same(operation, earlier):
            message = f"operation {operation.id} was accepted before, for something else"
            raise OperationConflict(message) from error
        return earlier


@cache
def _listing(
    of_instance: bool,  # noqa: FBT001 - the key of a cache
    states: tuple[OperationState, ...],
    limited: bool,  # noqa: FBT001
    lite: bool,  # noqa: FBT001
) -> Query:
    # Asked for an order, SQLite goes through all that the instance ever had, for the order's sake.
    query = _OF_HOST
    if limited:
        most = not of_instance and (not states or OperationState.SUCCEEDED in states)
        query = (_NEWEST_OF_ALL if lite and most else _NEWEST).limit(bindparam("most"))
    if of_instance:
        query = query.where(OPERATIONS.c.instance_uuid == bindparam("instance"))
    if states:
        query = query.where(or_(*[OPERATIONS.c.state == state.value for state in states]))
    return Query(query)


def _asks_the_same(operation: Operation, earlier: Operation) -> bool:
    given = json.loads(canonical(dict(operation.arguments)))
    return operation.method == earlier.method and same_arguments(earlier.arguments, given)


def _by_operation(rows: Iterable[Row[Any]]) -> dict[str, list[Step]]:
    steps: dict[str, list[Step]] = defaultdict(list)
    for row in rows:
        steps[row.operation_id].append(step_of(row))
    return steps
