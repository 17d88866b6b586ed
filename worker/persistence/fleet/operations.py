"""Pages of the journal, of every host."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy import Connection as SqlConnection

from worker.persistence.fleet.seen import WantedOperations
from worker.persistence.schema import INSTANCES, OPERATIONS

_OWNER = (
    # Whose it is now, or was last: the same row that a look for the instance finds.
    select(INSTANCES.c.project_id)
    .where(INSTANCES.c.uuid == OPERATIONS.c.instance_uuid)
    .order_by((INSTANCES.c.deleted == 0).desc(), INSTANCES.c.id.desc())
    .limit(1)
    .correlate(OPERATIONS)
    .scalar_subquery()
)


def page_of(connection: SqlConnection, wanted: WantedOperations) -> Sequence[Any]:
    """Return the rows of a page, newest first."""
    query = select(OPERATIONS).where(*_filters(wanted))
    query = query.order_by(OPERATIONS.c.sequence.desc()).limit(wanted.limit)
    return connection.execute(query).all()


def _filters(wanted: WantedOperations) -> Iterator[ColumnElement[bool]]:
    table = OPERATIONS.c
    if wanted.project is not None:
        owned = select(INSTANCES.c.uuid).where(INSTANCES.c.project_id == wanted.project)
        yield table.instance_uuid.in_(owned)
        yield _OWNER.is_not_distinct_from(wanted.project)
    if wanted.instance is not None:
        yield table.instance_uuid == wanted.instance
    if wanted.state is not None:
        yield table.state == wanted.state
    if wanted.after is not None:
        last = select(table.sequence).where(table.id == wanted.after).scalar_subquery()
        yield table.sequence < last
