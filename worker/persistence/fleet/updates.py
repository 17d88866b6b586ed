"""The updates of every host, as they stand in the outbox: what was told, and what will be.

Ids are given out before the commit: a row may appear below one that was read already. So whatever
goes on from a mark looks a little behind it too, and whoever reads knows by the numbers of each
host and instance what he has had.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select, true
from sqlalchemy import Connection as SqlConnection

from worker.persistence.database import Database
from worker.persistence.fleet.seen import FleetUpdate, Key, Mark
from worker.persistence.schema import INSTANCES, UPDATES

BEHIND = timedelta(seconds=60)
"""No transaction that writes an update takes longer."""

MOST_BEHIND = 10_000
"""So many ids are looked at behind a mark; the key alone finds them."""

SET_BACK = timedelta(days=1)
"""No clock is set back further."""

PAGE = 500

_MARK = select(UPDATES.c.id, UPDATES.c.created_at)
_NEWEST = _MARK.order_by(UPDATES.c.id.desc()).limit(1)


class FleetUpdates:
    """``updates`` of all hosts; may be shared by threads. Reads alone."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def newest(self) -> Mark:
        """Return the mark after which everything is new."""
        return self._marked(_NEWEST) or Mark(id=0, at=None)

    def mark_of(self, key: Key, sequence: int) -> Mark | None:
        """Return the mark of one update, None when it is not kept any more."""
        which = (*_is(key), UPDATES.c.sequence == sequence)
        return self._marked(_MARK.where(*which))

    def numbers(self, mark: Mark) -> Mapping[Key, int]:
        """Return the last number of each host and instance of which anything is from the mark."""
        table = UPDATES.c
        key = (table.host, table.instance_uuid)
        query = select(*key, func.max(table.sequence).label("last")).where(_from(mark))
        rows = self._database.read(lambda each: each.execute(query.group_by(*key)).all())
        return {Key(row.host, row.instance_uuid): row.last for row in rows}

    def since(
        self, mark: Mark | None, *, instance: str | None = None, project: str | None = None
    ) -> Iterator[FleetUpdate]:
        """Return what was written from about the mark on, or all there is; a page at a time.

        Some of it is older than the mark. The numbers of one host and instance ascend.
        """
        which = [true() if mark is None else _from(mark)]
        if instance is not None:
            which.append(UPDATES.c.instance_uuid == instance)
        if project is not None:
            owned = select(INSTANCES.c.uuid).where(INSTANCES.c.project_id == project)
            which.append(UPDATES.c.instance_uuid.in_(owned))
        # SQLite does not see by the mark alone, within an OR, where it may begin.
        begin = 0 if mark is None else max(0, mark.id - MOST_BEHIND)
        return self._pages(UPDATES.c.id, begin, *which)

    def of(self, key: Key, *, after: int) -> Iterator[FleetUpdate]:
        """Return the updates of a host and instance with a higher number, in their order."""
        return self._pages(UPDATES.c.sequence, after, *_is(key))

    def last_before(self, key: Key, at: datetime) -> int:
        """Return a number such that what was told from that time on has higher ones."""
        return self._database.read(lambda connection: _last_before(connection, key, at))

    def _pages(
        self,
        column: Any,  # noqa: ANN401 - of whatever kind
        after: int,
        *which: ColumnElement[bool],
    ) -> Iterator[FleetUpdate]:
        query = select(UPDATES).where(*which).order_by(column).limit(PAGE)

        def page(connection: SqlConnection) -> Any:  # noqa: ANN401 - rows
            return connection.execute(query.where(column > after)).all()

        while rows := self._database.read(page):
            yield from map(_update, rows)
            after = getattr(rows[-1], column.key)

    def _marked(self, query: Any) -> Mark | None:  # noqa: ANN401 - a select
        row = self._database.read(lambda connection: connection.execute(query).first())
        return None if row is None else Mark(id=row.id, at=row.created_at)


def _is(key: Key) -> tuple[ColumnElement[bool], ...]:
    return (UPDATES.c.host == key.host, UPDATES.c.instance_uuid == key.instance)


def _last_before(connection: SqlConnection, key: Key, at: datetime) -> int:
    """Halve what is left: an instance may have been told of more than can be gone through."""
    column = UPDATES.c.sequence
    rows = select(column, UPDATES.c.created_at).where(*_is(key)).limit(1)
    newest = connection.execute(rows.order_by(column.desc())).first()
    low, high = 0, 0 if newest is None else newest.sequence
    while low < high:
        middle = (low + high + 1) // 2
        row = connection.execute(rows.where(column >= middle).order_by(column)).first()
        if row is not None and row.created_at < at - SET_BACK:
            low = row.sequence
        else:
            high = middle - 1
    return low


def _from(mark: Mark) -> ColumnElement[bool]:
    later = UPDATES.c.id > mark.id
    if mark.at is None:
        return later
    oldest: datetime = mark.at - BEHIND
    recent = and_(UPDATES.c.id > mark.id - MOST_BEHIND, UPDATES.c.created_at >= oldest)
    return or_(later, recent)


def _update(row: Any) -> FleetUpdate:  # noqa: ANN401 - a row of the table
    return FleetUpdate(
        key=Key(row.host, row.instance_uuid),
        sequence=row.sequence,
        event=row.event,
        payload=row.payload,
        mark=Mark(id=row.id, at=row.created_at),
    )
