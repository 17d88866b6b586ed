"""Attach a reserved volume to its instance."""

from dataclasses import dataclass, replace

from worker.errors import (
    AddressTaken,
    DatabaseUnavailable,
    DeviceWrongState,
    LeftBehind,
    NoVolume,
)
from worker.handlers.parts import host_volume
from worker.handlers.parts.attachment_of import (
    attachment_of,
    connection_of,
    delete_attachment,
)
from worker.handlers.parts.config_drive import renew_after
from worker.handlers.parts.find_device import check_place, take_back
from worker.handlers.parts.give_back import give_back, or_given_back
from worker.handlers.parts.in_rescue import keep_in_rescue
from worker.handlers.parts.instance_here import changeable_instance
from worker.handlers.parts.reach_volume import let_go
from worker.model.block_device import ATTACH_BEGUN, BlockDevice, DeviceStatus
from worker.model.disk import disk_of
from worker.model.ids import AttachmentId, BlockDeviceId, InstanceId
from worker.model.instance import Instance
from worker.model.rescue.meanwhile import is_in_the_way
from worker.model.volume import Attachment, AttachmentStatus
from worker.ports import Ports
from worker.undo import Undo


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachVolume:
    """Operation: make a reserved volume visible in its instance."""

    instance_uuid: InstanceId
    bdm_uuid: BlockDeviceId
    attachment_id: AttachmentId | None = None


def attach_volume(request: AttachVolume, ports: Ports) -> BlockDevice:
    """Make the volume visible in the instance, or leave no trace, the reservation included."""
    instance, device = or_given_back(_begun, give_reservation_back, request, ports)
    if device.status is DeviceStatus.ATTACHED:
        return device
    try:
        return _attach(request, instance, device, ports)
    except DatabaseUnavailable:
        raise
    except LeftBehind:
        # Read anew: what it says of attachment and connection is what is left behind.
        ports.devices.save(replace(ports.devices.get(device.uuid), status=DeviceStatus.ERROR))
        raise
    except Exception:
        if not ports.progress.past_commit_point:
            ports.devices.remove(device)
        raise


def give_reservation_back(request: AttachVolume, ports: Ports) -> None:
    """Leave no trace of an attach that may not begin, the caller's attachment included."""
    give_back(request.bdm_uuid, request.instance_uuid, request.attachment_id, ports)


def _begun(request: AttachVolume, ports: Ports) -> tuple[Instance, BlockDevice]:
    instance = changeable_instance(request.instance_uuid, ports)
    device = _reserved(request, instance, ports)
    if device.status not in (*ATTACH_BEGUN, DeviceStatus.ATTACHED):
        device = ports.devices.move(device, DeviceStatus.ATTACHING)
    return instance, device


def _reserved(request: AttachVolume, instance: Instance, ports: Ports) -> BlockDevice:
    device = ports.devices.get(request.bdm_uuid)
    if device.local:
        message = f"block device {device.uuid} is a local disk; reserve one for a volume"
        raise NoVolume(message)
    if device.instance != request.instance_uuid:
        message = f"block device {device.uuid} belongs to instance {device.instance}"
        raise DeviceWrongState(message)
    if device.deleted:
        message = f"block device {device.uuid} was released or removed; reserve anew"
        raise DeviceWrongState(message)
    if device.status is DeviceStatus.RESERVED and is_in_the_way(device, instance.rescue):
        message = f"the rescue has the place of {device.device_name}; reserve anew"
        raise AddressTaken(message)
    return device


def _attach(
    request: AttachVolume, instance: Instance, device: BlockDevice, ports: Ports
) -> BlockDevice:
    with Undo(ports.progress) as undo:
        undo.earlier("connector.connect", let_go, device, ports)
        undo.earlier("disks.attach", take_back, device, ports)
        undo.by(delete_attachment, device, request.attachment_id, ports)
        unplugged = ports.progress.reached("disks.unplug")
        if unplugged and not ports.progress.past_commit_point:
            # An earlier run was on its way back: the guest may yet let go of what it still has.
            take_back(device, ports)

        attachment = attachment_of(device, request.attachment_id, ports)
        if _completed_before(attachment, ports):
            undo.commit_point()
        device = replace(device, attachment=attachment.id)
        ports.devices.save(device)

        connection = connection_of(attachment, ports)
        device = replace(device, connection=connection.without_secrets())
        ports.devices.save(device)

        undo.by(let_go, device, ports)
        volume = host_volume.connect(device, connection, ports)
        recorded = ports.volumes.show(device.its_volume).size
        device = host_volume.check_identity(device, volume, recorded, ports)

        check_place(device, ports.guests.describe(device.instance), volume, ports)
        undo.by(take_back, device, ports)
        ports.disks.attach(device.instance, disk_of(device, volume))

        if attachment.status is not AttachmentStatus.ATTACHED:
            ports.attachments.complete(attachment.id)
        undo.commit_point()

        device = replace(device, status=DeviceStatus.ATTACHED)
        ports.devices.save(device)
        keep_in_rescue(instance, device, ports)
        renew_after(device, ports)
        return device


def _completed_before(attachment: Attachment, ports: Ports) -> bool:
    """An earlier run may have come to its commit point without having written it down.

    One that was on its way back had not: the completion had failed for it, late.
    """
    reached = ports.progress.reached
    completed = attachment.status is AttachmentStatus.ATTACHED and reached("attachments.complete")
    return completed and not reached("disks.unplug")
