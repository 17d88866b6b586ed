"""The reading end of the outbox: what the relay publishes."""

import json
import threading
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection as SqlConnection
from sqlalchemy import Text, bindparam, select, type_coerce, update

from worker.model.ids import InstanceId
from worker.model.update import Event, OutboxEntry
from worker.persistence.database import Database
from worker.persistence.prepared import Query
from worker.persistence.schema import UPDATES as TABLE
from worker.ports import Clock, Outbox

_WAITING = Query(
    select(
        TABLE.c.id,
        TABLE.c.message_id,
        TABLE.c.event,
        TABLE.c.instance_uuid,
        type_coerce(TABLE.c.payload, Text).label("payload"),
    )
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

    def waiting(self, limit: int, but: Sequence[int] = ()) -> tuple[OutboxEntry, ...]:
        """Return unpublished updates, oldest first; those whose ids are in ``but`` are left out."""
        most, known = limit + len(but), frozenset(but)
        rows = self._database.read(
            lambda connection: _WAITING.all(connection, worker=self._host, most=most)
        )
        return tuple(_entry(row) for row in rows if row.id not in known)[:limit]

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


def _entry(row: Any) -> OutboxEntry:  # noqa: ANN401
    return OutboxEntry(
        id=row.id,
        message_id=row.message_id,
        event=Event(row.event),
        instance=InstanceId(row.instance_uuid) if row.instance_uuid else None,
        payload=json.loads(row.payload),
    )
