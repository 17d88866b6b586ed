"""What this host is connected to, whatever became of the row."""

from functools import partial
from typing import Any

from sqlalchemy import Connection as SqlConnection
from sqlalchemy import Row, bindparam, delete, insert, select, update

from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.connection import Connection, ConnectionRecord
from worker.model.ids import BlockDeviceId, VolumeId
from worker.persistence.prepared import Change, Query
from worker.persistence.records.connection_json import connection_of, json_of
from worker.persistence.schema import BLOCK_DEVICES, INSTANCES
from worker.persistence.schema import CONNECTIONS as TABLE
from worker.persistence.unit_of_work import UnitOfWork
from worker.ports import Connections

_IS_IT = TABLE.c.bdm_uuid == bindparam("which")
_GET = Query(select(TABLE.c.connection).where(_IS_IT))
_CHANGE = Change(update(TABLE).where(_IS_IT))
_INSERT = Change(insert(TABLE))
_OF_HOST = (
    select(TABLE)
    .where(TABLE.c.host == bindparam("worker"))
    .order_by(TABLE.c.created_at, TABLE.c.bdm_uuid)
)
_RECORDED = Query(
    select(TABLE.c.bdm_uuid).where(
        TABLE.c.host == bindparam("worker"), TABLE.c.volume_id == bindparam("volume")
    )
)
_ATTACHED = Query(
    select(BLOCK_DEVICES.c.uuid)
    .join(INSTANCES, INSTANCES.c.uuid == BLOCK_DEVICES.c.instance_uuid)
    .where(
        INSTANCES.c.host == bindparam("worker"),
        INSTANCES.c.deleted == 0,
        BLOCK_DEVICES.c.volume_id == bindparam("volume"),
        BLOCK_DEVICES.c.deleted == 0,
        BLOCK_DEVICES.c.status == DeviceStatus.ATTACHED,
    )
)
_DROP = Change(delete(TABLE).where(_IS_IT))


class SqlConnections(Connections):
    """``connections``, for one request."""

    def __init__(self, unit: UnitOfWork) -> None:
        self._unit = unit

    def put(self, device: BlockDevice, connection: Connection) -> None:
        """Keep the connection without its secrets, with the next commit."""
        values = {
            "bdm_uuid": device.uuid,
            "host": self._unit.host,
            "volume_id": device.its_volume,
            "instance_uuid": device.instance,
            "connection": json_of(connection),
            "created_at": self._unit.clock.now(),
        }
        self._unit.append(partial(_put, values), TABLE)

    def get(self, device: BlockDeviceId) -> Connection | None:
        """Return the connection kept for a row."""
        found = self._unit.read(lambda reader: _GET.first(reader, which=device), TABLE)
        return None if found is None else connection_of(found.connection)

    def list(self) -> tuple[ConnectionRecord, ...]:
        """Return every record of this host, oldest first."""
        which = {"worker": self._unit.host}
        rows = self._unit.survey(lambda connection: connection.execute(_OF_HOST, which).all())
        return tuple(_record(row) for row in rows)

    def others(self, device: BlockDeviceId, volume: VolumeId) -> frozenset[BlockDeviceId]:
        """Return the other rows for which this host has the volume."""
        which = {"worker": self._unit.host, "volume": volume}

        def named_by(reader: SqlConnection) -> set[str]:
            recorded = {row.bdm_uuid for row in _RECORDED.all(reader, **which)}
            return recorded | {row.uuid for row in _ATTACHED.all(reader, **which)}

        return frozenset(map(BlockDeviceId, self._unit.read(named_by))) - {device}

    def drop(self, device: BlockDeviceId) -> None:
        """Forget the connection, with the next commit."""
        self._unit.append(partial(_drop, device), TABLE)


def _record(row: Row[Any]) -> ConnectionRecord:
    return ConnectionRecord(
        device=row.bdm_uuid,
        instance=row.instance_uuid,
        volume=row.volume_id,
        connection=connection_of(row.connection),
    )


def _put(values: dict[str, Any], connection: SqlConnection) -> None:
    if not _CHANGE.run(connection, values | {"which": values["bdm_uuid"]}):
        _INSERT.run(connection, values)


def _drop(device: BlockDeviceId, connection: SqlConnection) -> None:
    _DROP.run(connection, {"which": device})
