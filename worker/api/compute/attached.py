"""A volume of a server, as it is told."""

from worker.api.asked import Asked, Json, Refused
from worker.api.services import Services
from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.ids import InstanceId, VolumeId
from worker.persistence.fleet.attached import AttachedVolume

_HALF_MADE = (DeviceStatus.RESERVED, DeviceStatus.ATTACHING)


def is_there(row: BlockDevice | AttachedVolume) -> bool:
    """Tell whether a row is a volume's that is told of.

    One is not before it has its attachment: whoever was told of it would take it for one without.
    """
    return row.volume is not None and (row.attachment is not None or row.status not in _HALF_MADE)


def attached(instance: InstanceId, asked: Asked, services: Services) -> BlockDevice:
    """Return the row of the volume that the path names; raises Refused (404)."""
    volume = VolumeId(asked.path["volume_id"])
    row = services.fleet.device(instance, volume)
    if row is None or not is_there(row):
        raise Refused(404, f"Instance {instance} is not attached to volume {volume}")
    return row


def check_may_leave(row: BlockDevice) -> None:
    """Raise Refused unless the volume may be taken from its server, or exchanged."""
    if row.boot_index == 0:
        raise Refused(400, "Cannot detach a root device volume")
    if row.status is DeviceStatus.RESERVED:
        message = f"volume {row.volume} is being attached; ask again when that has ended"
        raise Refused(409, message)
    if row.status is DeviceStatus.DETACHING:
        message = f"Invalid volume: volume {row.volume} is being detached already"
        raise Refused(400, message)


def shown(row: BlockDevice | AttachedVolume, asked: Asked) -> Json:
    """Return it as the caller's microversion has it."""
    told: Json = {} if asked.at_least(89) else {"id": row.volume}
    told |= {"serverId": row.instance, "volumeId": row.volume, "device": row.device_name}
    if asked.at_least(70):
        told["tag"] = row.tag
    if asked.at_least(79):
        told["delete_on_termination"] = row.delete_on_termination
    if asked.at_least(89):
        told |= {"attachment_id": row.attachment, "bdm_uuid": row.uuid}
    return told
