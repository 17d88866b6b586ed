"""Counts what is not done yet, for health and metrics."""

from sqlalchemy import Connection as SqlConnection
from sqlalchemy import bindparam, func, select

from worker.model.operation import OperationState
from worker.model.workload import Workload
from worker.persistence.database import Database
from worker.persistence.schema import OPERATIONS, UPDATES

QUEUED, RUNNING, STUCK = (
    state.value for state in (OperationState.QUEUED, OperationState.RUNNING, OperationState.STUCK)
)

_OPERATIONS = (
    select(OPERATIONS.c.state, func.count(), func.min(OPERATIONS.c.accepted_at))
    .where(
        OPERATIONS.c.host == bindparam("worker"),
        OPERATIONS.c.state.in_((QUEUED, RUNNING, STUCK)),
    )
    .group_by(OPERATIONS.c.state)
)
_UPDATES = select(func.count(), func.min(UPDATES.c.created_at)).where(
    UPDATES.c.host == bindparam("worker"), UPDATES.c.published_at.is_(None)
)


def read_workload(database: Database, host: str) -> Workload:
    """Return what the host has not done yet; raises DatabaseUnavailable."""

    def query(connection: SqlConnection) -> Workload:
        which = {"worker": host}
        found = {state: rest for state, *rest in connection.execute(_OPERATIONS, which)}
        updates, oldest_update = connection.execute(_UPDATES, which).one()
        counts = {state: found.get(state, (0, None))[0] for state in (QUEUED, RUNNING, STUCK)}
        ages = [found[state][1] for state in (QUEUED, RUNNING) if state in found]
        return Workload(
            queued=counts[QUEUED],
            running=counts[RUNNING],
            stuck=counts[STUCK],
            oldest_operation=min(ages, default=None),
            updates=updates,
            oldest_update=oldest_update,
        )

    return database.read(query)
