"""The volumes of an instance, as a list shows them.

A whole row costs several times as much to read, connection and addresses parsed, and a server may
have a hundred.
"""

from dataclasses import dataclass

from sqlalchemy import bindparam, select

from worker.model.block_device import DeviceStatus
from worker.model.ids import AttachmentId, BlockDeviceId, InstanceId, VolumeId
from worker.persistence.database import Database
from worker.persistence.prepared import Query
from worker.persistence.schema import BLOCK_DEVICES

_HERE = BLOCK_DEVICES.c
_VOLUMES = Query(
    select(
        _HERE.uuid,
        _HERE.instance_uuid,
        _HERE.volume_id,
        _HERE.device_name,
        _HERE.status,
        _HERE.attachment_id,
        _HERE.tag,
        _HERE.delete_on_termination,
    )
    .where(
        _HERE.instance_uuid == bindparam("instance"),
        _HERE.deleted == 0,
        _HERE.volume_id.is_not(None),
    )
    .order_by(_HERE.id)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachedVolume:
    """What is told of a volume of an instance; the fields are those of ``BlockDevice``."""

    uuid: BlockDeviceId
    instance: InstanceId
    volume: VolumeId
    device_name: str
    status: DeviceStatus
    attachment: AttachmentId | None
    tag: str | None
    delete_on_termination: bool


def attached_volumes(database: Database, instance: InstanceId) -> tuple[AttachedVolume, ...]:
    """Return the volumes of an instance, live or on their way, oldest first."""
    rows = database.read(lambda connection: _VOLUMES.all(connection, instance=instance))
    return tuple(
        AttachedVolume(
            uuid=row.uuid,
            instance=row.instance_uuid,
            volume=row.volume_id,
            device_name=row.device_name,
            status=DeviceStatus(row.status),
            attachment=row.attachment_id,
            tag=row.tag,
            delete_on_termination=bool(row.delete_on_termination),
        )
        for row in rows
    )
