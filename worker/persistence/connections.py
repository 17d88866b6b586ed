"""What this host is connected to, whatever became of the row."""

from functools import partial
from typing import Any

from sqlalchemy import Connection as SqlConnection
from sqlalchemy import bindparam, delete, insert, select, update

from worker.model.block_device import BlockDevice
from worker.model.connection import Connection
from worker.model.ids import BlockDeviceId
from worker.persistence.connection_json import connection_of, json_of
from worker.persistence.schema import CONNECTIONS as TABLE
from worker.persistence.unit_of_work import UnitOfWork
from worker.ports import Connections

_IS_IT = TABLE.c.bdm_uuid == bindparam("which")
_GET = select(TABLE.c.connection).where(_IS_IT)
_CHANGE = update(TABLE).where(_IS_IT)
_INSERT = insert(TABLE)
_DROP = delete(TABLE).where(_IS_IT)


class SqlConnections(Connections):
    """``connections``, for one request."""

    def __init__(self, unit: UnitOfWork) -> None:
        self._unit = unit

    def put(self, device: BlockDevice, connection: Connection) -> None:
        """Keep the connection without its secrets, with the next commit."""
        values = {
            "bdm_uuid": device.uuid,
            "host": self._unit.host,
            "volume_id": device.volume,
            "instance_uuid": device.instance,
            "connection": json_of(connection),
            "created_at": self._unit.clock.now(),
        }
        self._unit.append(partial(_put, values))

    def get(self, device: BlockDeviceId) -> Connection | None:
        """Return the connection kept for a row."""
        found = self._unit.read(lambda reader: reader.execute(_GET, {"which": device}).first())
        return None if found is None else connection_of(found.connection)

    def drop(self, device: BlockDeviceId) -> None:
        """Forget the connection, with the next commit."""
        self._unit.append(partial(_drop, device))


def _put(values: dict[str, Any], connection: SqlConnection) -> None:
    if not connection.execute(_CHANGE, values | {"which": values["bdm_uuid"]}).rowcount:
        connection.execute(_INSERT, values)


def _drop(device: BlockDeviceId, connection: SqlConnection) -> None:
    connection.execute(_DROP, {"which": device})
