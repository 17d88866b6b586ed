"""Which rows say how this host reaches a volume, or reached one."""

from sqlalchemy import bindparam, or_, select

from worker.persistence.prepared import Query
from worker.persistence.schema import BLOCK_DEVICES, CONNECTIONS, HOST, INSTANCES, OPERATIONS

_HOST = bindparam("worker", type_=HOST)
_OF_ITS_INSTANCES = select(INSTANCES.c.uuid).where(INSTANCES.c.host == _HOST)
_IN_ITS_JOURNAL = (
    select(OPERATIONS.c.sequence)
    .where(OPERATIONS.c.block_device_uuid == BLOCK_DEVICES.c.uuid, OPERATIONS.c.host == _HOST)
    .correlate(BLOCK_DEVICES)
    .exists()
)
"""By each row's own operations: the journal as a whole is a thousand times as long."""
_ON_RECORD = select(CONNECTIONS.c.bdm_uuid).where(CONNECTIONS.c.host == _HOST)

CONNECTED = Query(
    select(BLOCK_DEVICES)
    .where(
        BLOCK_DEVICES.c.connection_info.is_not(None),
        or_(
            BLOCK_DEVICES.c.instance_uuid.in_(_OF_ITS_INSTANCES),
            _IN_ITS_JOURNAL,
            BLOCK_DEVICES.c.uuid.in_(_ON_RECORD),
        ),
    )
    .order_by(BLOCK_DEVICES.c.id)
)
"""Removed ones included, for what they led to may still be there; oldest first."""
