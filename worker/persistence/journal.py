"""The journal: what was asked of this host and what became of it."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection as SqlConnection
from sqlalchemy import Row, Select, bindparam, insert, select
from sqlalchemy.exc import IntegrityError

from worker.errors import OperationConflict, OperationNotFound
from worker.model.ids import BlockDeviceId, InstanceId, OperationId
from worker.model.operation import Operation, OperationState, Step
from worker.persistence.columns import canonical
from worker.persistence.database import Database
from worker.persistence.journal_rows import operation_of, operation_values, step_of
from worker.persistence.schema import OPERATIONS, STEPS
from worker.ports import Clock, Operations

UNFINISHED = tuple(state.value for state in OperationState if not state.ended)

_INSERT = insert(OPERATIONS)
_OF_HOST = select(OPERATIONS).where(OPERATIONS.c.host == bindparam("worker"))
_NEWEST = _OF_HOST.order_by(OPERATIONS.c.sequence.desc())
_GET = _OF_HOST.where(OPERATIONS.c.id == bindparam("which"))
_LAST_FOR = _NEWEST.where(OPERATIONS.c.block_device_uuid == bindparam("device")).limit(1)
_UNFINISHED = _OF_HOST.where(OPERATIONS.c.state.in_(UNFINISHED)).order_by(OPERATIONS.c.sequence)
_STEPS = select(STEPS).where(STEPS.c.operation_id == bindparam("which")).order_by(STEPS.c.number)
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
        accepted_at = operation.accepted_at or self._clock.now()
        kept = replace(operation, accepted_at=accepted_at)
        values = operation_values(kept, self._host)

        def add(connection: SqlConnection) -> None:
            connection.execute(_INSERT, values)

        try:
            self._database.write(add)
        except IntegrityError as error:
            return self._accepted_before(operation, error), False
        return kept, True

    def get(self, operation: OperationId) -> Operation:
        """Return the operation with its steps; raises OperationNotFound."""
        which = {"worker": self._host, "which": operation}

        def query(connection: SqlConnection) -> Operation:
            row = connection.execute(_GET, which).first()
            if row is None:
                message = f"no operation {operation}"
                raise OperationNotFound(message)
            steps = connection.execute(_STEPS, {"which": operation})
            return operation_of(row, tuple(step_of(step) for step in steps))

        return self._database.read(query)

    def list(
        self,
        *,
        instance: InstanceId | None = None,
        states: Sequence[OperationState] = (),
        limit: int | None = None,
    ) -> tuple[Operation, ...]:
        """Return operations without their steps, newest first."""
        query = _NEWEST
        if instance is not None:
            query = query.where(OPERATIONS.c.instance_uuid == instance)
        if states:
            query = query.where(OPERATIONS.c.state.in_([state.value for state in states]))
        if limit is not None:
            query = query.limit(limit)
        return tuple(operation_of(row) for row in self._all(query))

    def unfinished(self) -> tuple[Operation, ...]:
        """Return what is queued or running, with its steps, in the order it was accepted."""
        rows, steps = self._all(_UNFINISHED), _by_operation(self._all(_STEPS_OF_UNFINISHED))
        return tuple(operation_of(row, tuple(steps[row.id])) for row in rows)

    def last_for(self, device: BlockDeviceId) -> Operation | None:
        """Return the newest operation that names the row, without its steps."""
        rows = self._all(_LAST_FOR, device=device)
        return operation_of(rows[0]) if rows else None

    def _all(self, query: Select[Any], **which: str) -> Sequence[Row[Any]]:
        of_host = which | {"worker": self._host}
        return self._database.read(lambda connection: connection.execute(query, of_host).all())

    def _accepted_before(self, operation: Operation, error: IntegrityError) -> Operation:
        try:
            earlier = self.get(operation.id)
        except OperationNotFound as missing:
            message = f"operation {operation.id} was given to another host"
            raise OperationConflict(message) from missing
        if _asked(earlier) != _asked(operation):
            message = f"operation {operation.id} was accepted before, for something else"
            raise OperationConflict(message) from error
        return earlier


def _asked(operation: Operation) -> tuple[str, str]:
    return operation.method, canonical(dict(operation.arguments))


def _by_operation(rows: Iterable[Row[Any]]) -> dict[str, list[Step]]:
    steps: dict[str, list[Step]] = defaultdict(list)
    for row in rows:
        steps[row.operation_id].append(step_of(row))
    return steps
