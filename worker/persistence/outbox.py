"""The reading end of the outbox: what the relay publishes."""

import threading
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection as SqlConnection
from sqlalchemy import Row, bindparam, select, update

from worker.model.ids import InstanceId
from worker.model.update import Event, OutboxEntry
from worker.persistence.database import Database
from worker.persistence.schema import UPDATES as TABLE
from worker.ports import Clock, Outbox

_WAITING = (
    select(TABLE)
    .where(TABLE.c.host == bindparam("worker"), TABLE.c.published_at.is_(None))
    .order_by(TABLE.c.id)
    .limit(bindparam("most"))
)
_PUBLISHED = update(TABLE).where(
    TABLE.c.id.in_(bindparam("entries", expanding=True)), TABLE.c.published_at.is_(None)
)


class SqlOutbox(Outbox):
    """The updates of one host; of one instance they come in the order of their numbers."""

    def __init__(self, database: Database, host: str, clock: Clock, told: threading.Event) -> None:
        """``told`` is the event that the units of work of this process set."""
        self._database = database
        self._host = host
        self._clock = clock
        self._told = told

    def waiting(self, limit: int) -> tuple[OutboxEntry, ...]:
        """Return unpublished updates, oldest first."""
        which = {"worker": self._host, "most": limit}
        rows = self._database.read(lambda connection: connection.execute(_WAITING, which).all())
        return tuple(_entry(row) for row in rows)

    def published(self, entries: Sequence[int]) -> None:
        """Note, durably, that the broker has confirmed these."""
        values = {"entries": list(entries), "published_at": self._clock.now()}

        def note(connection: SqlConnection) -> None:
            connection.execute(_PUBLISHED, values)

        if entries:
            self._database.write(note)

    def wait(self, seconds: float) -> None:
        """Return when an update was written in this process, or after that time."""
        self._told.wait(seconds)
        # Whoever waits looks next: what is written after this line sets the event again.
        self._told.clear()


def _entry(row: Row[Any]) -> OutboxEntry:
    return OutboxEntry(
        id=row.id,
        message_id=row.message_id,
        event=Event(row.event),
        instance=InstanceId(row.instance_uuid) if row.instance_uuid else None,
        payload=row.payload,
    )
