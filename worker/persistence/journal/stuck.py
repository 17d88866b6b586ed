"""The way out of the journal's one state that the worker does not leave by itself."""

from functools import partial
from typing import Any

from sqlalchemy import Connection as SqlConnection
from sqlalchemy import bindparam, update

from worker.errors import OperationWrongState
from worker.model.ids import OperationId
from worker.model.operation import Operation, OperationState
from worker.model.secret import blanked
from worker.model.update import Update
from worker.persistence.journal.rows import fault_values
from worker.persistence.schema import OPERATIONS
from worker.persistence.unit_of_work import UnitOfWork
from worker.ports import Operations, StuckOperations

_LEAVE = update(OPERATIONS).where(
    OPERATIONS.c.id == bindparam("which"),
    OPERATIONS.c.host == bindparam("worker"),
    OPERATIONS.c.state == OperationState.STUCK.value,
)


class SqlStuckOperations(StuckOperations):
    """Compare-and-swap from ``stuck``, in the transaction of the request's other writes."""

    def __init__(self, unit: UnitOfWork, journal: Operations) -> None:
        self._unit = unit
        self._journal = journal

    def reopen(self, operation: OperationId) -> Operation:
        """Leave it to be run again, at once; return it as kept, with its steps."""
        began = self._journal.get(operation).started_at is not None
        state = OperationState.RUNNING if began else OperationState.QUEUED
        change = self._leave(operation, state, attempts=0, ended_at=None, **fault_values(None))
        self._unit.commit(change)
        # Read anew: it may have been run, and have become stuck again, since the first look.
        return self._journal.get(operation)

    def abandon(self, operation: OperationId, tell: Update | None) -> Operation:
        """End it, at once, with what waits and what is told; return it as kept."""
        arguments = blanked(self._journal.get(operation).arguments)
        ended_at = self._unit.clock.now()
        change = self._leave(
            operation, OperationState.ABANDONED, ended_at=ended_at, arguments=arguments
        )
        told = () if tell is None else (self._unit.telling(tell),)
        self._unit.commit(change, *told)
        return self._journal.get(operation)

    def _leave(
        self, operation: OperationId, state: OperationState, **values: object
    ) -> "partial[None]":
        which = {"which": operation, "worker": self._unit.host, "state": state.value}
        return partial(_leave, which | values)


def _leave(values: dict[str, Any], connection: SqlConnection) -> None:
    if not connection.execute(_LEAVE, values).rowcount:
        message = f"operation {values['which']} is not stuck"
        raise OperationWrongState(message)
