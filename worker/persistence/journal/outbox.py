"""Both ends of the outbox: what one request writes, and what the relay publishes."""

import json
import threading
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection as SqlConnection
from sqlalchemy import Select, Text, bindparam, select, type_coerce, update

from worker.model.ids import InstanceId
from worker.model.update import Event, OutboxEntry, Update
from worker.persistence.database import Database
from worker.persistence.prepared import Query
from worker.persistence.schema import UPDATES as TABLE
from worker.persistence.unit_of_work import UnitOfWork
from worker.ports import Clock, Outbox, Updates

_EVERY = (
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
_WAITING = Query(_EVERY)
_PUBLISHED = update(TABLE).where(
    TABLE.c.id.in_(bindparam("entries", expanding=True)), TABLE.c.published_at.is_(None)
)


class SqlUpdates(Updates):
    """The writing end, for one request."""

    def __init__(self, unit: UnitOfWork) -> None:
        self._unit = unit

    def tell(self, update: Update) -> None:
        """Write the update with the next commit."""
        self._unit.tell(update)


class SqlOutbox(Outbox):
    """The reading end, for one host; updates of one instance come in the order of their numbers."""

    def __init__(self, database: Database, host: str, clock: Clock, told: threading.Event) -> None:
        """``told`` is the event that the units of work of this process set."""
        self._database = database
        self._host = host
        self._clock = clock
        self._told = told

    def waiting(
        self, limit: int, but: Sequence[int] = (), without: Collection[InstanceId | None] = ()
    ) -> tuple[OutboxEntry, ...]:
        """Return unpublished updates, oldest first.

        Those whose ids are in ``but`` are left out, and those of the instances in ``without``.
        """
        most, known = limit + len(but), frozenset(but)
        values = {"worker": self._host, "most": most}

        def ask(connection: SqlConnection) -> Sequence[Any]:
            if without:
                return connection.execute(_of_others(without), values).all()
            return _WAITING.all(connection, **values)

        rows = self._database.glance(ask)
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


def _of_others(without: Collection[InstanceId | None]) -> Select[Any]:
    """Return the query for what waits of other instances."""
    return _EVERY.where(TABLE.c.instance_uuid.not_in([each or "" for each in without]))


def _entry(row: Any) -> OutboxEntry:  # noqa: ANN401
    return OutboxEntry(
        id=row.id,
        message_id=row.message_id,
        event=Event(row.event),
        instance=InstanceId(row.instance_uuid) if row.instance_uuid else None,
        payload=json.loads(row.payload),
    )
