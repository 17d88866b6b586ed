"""An update on its way into the outbox."""

from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, func, insert, select, union_all, update
from sqlalchemy.exc import IntegrityError

from worker.model.ids import new_uuid
from worker.model.update import Update
from worker.persistence.database import Contended
from worker.persistence.prepared import Change, Query
from worker.persistence.schema import INSTANCES, UPDATES
from worker.ports import Clock

_OF_LIVE_ROW = (
    INSTANCES.c.uuid == bindparam("instance"),
    INSTANCES.c.host == bindparam("worker"),
    INSTANCES.c.deleted == 0,
)
_MOMENT = (INSTANCES.c.update_sequence, INSTANCES.c.vm_state, INSTANCES.c.task_state)
_DRAWING = (
    update(INSTANCES).where(*_OF_LIVE_ROW).values(update_sequence=INSTANCES.c.update_sequence + 1)
)
_DRAW_AND_READ = Query(_DRAWING.returning(*_MOMENT))
_DRAW = Change(_DRAWING)
_READ = Query(select(*_MOMENT).where(*_OF_LIVE_ROW))
_LIFT = Change(
    update(INSTANCES)
    .where(*_OF_LIVE_ROW, INSTANCES.c.update_sequence < bindparam("highest"))
    .values(update_sequence=bindparam("highest"))
)
_NUMBERS = union_all(
    select(func.max(UPDATES.c.sequence).label("number")).where(
        UPDATES.c.host == bindparam("worker"), UPDATES.c.instance_uuid == bindparam("instance")
    ),
    select(func.max(INSTANCES.c.update_sequence)).where(
        INSTANCES.c.host == bindparam("worker"), INSTANCES.c.uuid == bindparam("instance")
    ),
).subquery()
_HIGHEST = Query(select(func.coalesce(func.max(_NUMBERS.c.number), 0).label("number")))
_KEPT = Query(select(UPDATES.c.id).where(UPDATES.c.message_id == bindparam("message")))
_INSERT = Change(insert(UPDATES))


class _Moment(NamedTuple):
    """What is read in the transaction that writes the update."""

    sequence: int
    vm_state: str | None = None
    task_state: str | None = None


class Telling:
    """Writes one update, numbered, with the states of that moment; played twice, it writes once."""

    def __init__(self, update: Update, host: str, clock: Clock) -> None:
        self._update = update
        self._host = host
        self._clock = clock
        self._message_id = new_uuid()
        self._played = False

    def __call__(self, connection: Connection) -> None:
        """Write it in the connection's transaction."""
        again, self._played = self._played, True
        if again and _KEPT.first(connection, message=self._message_id) is not None:
            return
        moment = self._draw(connection, again=again)
        try:
            _INSERT.run(connection, self._values(moment))
        except IntegrityError as error:
            message = f"update {moment.sequence} of {self._update.instance} was drawn twice"
            raise Contended(message) from error

    def _draw(self, connection: Connection, *, again: bool) -> _Moment:
        """Draw the next number; the instance's row is locked from here to the commit."""
        which = {"instance": self._update.instance or "", "worker": self._host}
        if again:
            # The row may have been made while an update without a row took its next number.
            _LIFT.run(connection, which | {"highest": highest(connection, **which)})
        drawn = _drawn(connection, which) if self._update.instance else None
        return drawn or _Moment(highest(connection, **which) + 1)

    def _values(self, moment: _Moment) -> dict[str, Any]:
        now = self._clock.now()
        told = self._update
        device, fault = told.block_device, told.fault
        payload: dict[str, Any] = {
            "sequence": moment.sequence,
            "operation_id": told.operation,
            "request_id": told.request_id,
            "host": self._host,
            "instance_uuid": told.instance,
            "vm_state": moment.vm_state,
            "task_state": moment.task_state,
            "block_device": None if device is None else device.public(),
            "peripheral": None if told.peripheral is None else told.peripheral.public(),
            "fault": None if fault is None else {"code": fault.code, "message": fault.message},
            "at": now.isoformat(),
        }
        if told.count is not None:
            payload["count"] = told.count
        if told.percent is not None:
            payload["percent"] = told.percent
        if told.devices is not None:
            payload["devices"] = [dict(device) for device in told.devices]
        return {
            "message_id": self._message_id,
            "host": self._host,
            "instance_uuid": told.instance or "",
            "sequence": moment.sequence,
            "event": told.event.value,
            "payload": payload,
            "created_at": now,
        }


def _drawn(connection: Connection, which: dict[str, str]) -> _Moment | None:
    """MariaDB's UPDATE returns nothing; between two statements the row stays locked."""
    if connection.dialect.update_returning:
        row = _DRAW_AND_READ.first(connection, **which)
    else:
        row = _READ.first(connection, **which) if _DRAW.run(connection, which) else None
    return None if row is None else _Moment(*row)


def highest(connection: Connection, *, instance: str, worker: str) -> int:
    """Return the last number drawn for the instance on that host, whether or not it has a row."""
    return int(_HIGHEST.first(connection, instance=instance, worker=worker).number)
