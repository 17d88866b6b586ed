"""What a caller wants no more."""

import threading
from collections.abc import Collection

from sqlalchemy import Connection as SqlConnection
from sqlalchemy import and_, bindparam, false, or_, true, update

from worker.errors import OperationWrongState
from worker.model.ids import OperationId
from worker.model.operation import Operation, OperationState
from worker.persistence.database import Database
from worker.persistence.schema import OPERATIONS
from worker.ports import Cancelling, Operations

_QUEUED = OPERATIONS.c.state == OperationState.QUEUED.value
_ON_ITS_WAY = and_(
    OPERATIONS.c.state == OperationState.RUNNING.value,
    OPERATIONS.c.past_commit_point == false(),
    OPERATIONS.c.method.in_(bindparam("methods", expanding=True)),
)
_ASK = (
    update(OPERATIONS)
    .where(
        OPERATIONS.c.host == bindparam("worker"),
        OPERATIONS.c.id == bindparam("which"),
        or_(_QUEUED, _ON_ITS_WAY),
    )
    .values(cancel_requested=true())
)


class SqlCancelling(Cancelling):
    """Compare-and-swap in the journal, and kept in mind: each operation asks before it begins."""

    def __init__(self, database: Database, host: str, journal: Operations) -> None:
        self._database = database
        self._host = host
        self._journal = journal
        self._lock = threading.Lock()
        self._asked: set[OperationId] = set()

    def ask(self, operation: OperationId, methods: Collection[str]) -> Operation:
        """Note, at once, that its end is asked for; return it as kept."""
        kept = self._journal.get(operation)
        which = {"worker": self._host, "which": operation, "methods": sorted(methods)}

        def note(connection: SqlConnection) -> int:
            return connection.execute(_ASK, which).rowcount

        if not self._database.write(note):
            forward = ", past its commit point" if kept.past_commit_point else ""
            message = f"operation {operation} ({kept.method}) is {kept.state}{forward}; it goes on"
            raise OperationWrongState(message)
        with self._lock:
            self._asked.add(operation)
        return self._journal.get(operation)

    def asked(self, operation: OperationId) -> bool:
        """Tell whether this worker was asked for its end; what was asked before is in the row."""
        with self._lock:
            return operation in self._asked
