"""Have a guest see how large an attached volume has become."""

from dataclasses import dataclass, replace

from worker.errors import (
    AttachmentNotFound,
    ConnectFailed,
    DeviceSuperseded,
    DeviceWrongState,
    VolumeNotGrown,
    VolumeWouldShrink,
)
from worker.handlers.parts.attachment_of import checked, connection_of
from worker.handlers.parts.find_device import borne, guest_of, live_disk
from worker.handlers.parts.guest_size import guest_size
from worker.handlers.parts.instance_here import changeable_instance
from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.connection import Connection
from worker.model.identity.lookup import Found
from worker.model.ids import BlockDeviceId, InstanceId
from worker.model.volume import Attachment, gib
from worker.ports import Ports
from worker.undo import Undo


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendVolume:
    """Operation: have the guest see that its volume has grown to so many bytes.

    With ``grow`` it is made that large first, which only the built-in pool is asked to do.
    """

    instance_uuid: InstanceId
    bdm_uuid: BlockDeviceId
    new_size: int
    grow: bool = False


def extend_volume(request: ExtendVolume, ports: Ports) -> BlockDevice:
    """Grow the volume on this host and in its guest; the volume service has grown it, or does now.

    What can be refused is refused before anything is touched; from then on it goes forward only,
    for nothing takes a size back. A guest that is off sees it at its next start.
    """
    changeable_instance(request.instance_uuid, ports)
    device = _meant(request, ports)
    attachment = _attachment(device, ports)
    _check_grown(request, device, ports)
    _shown(device, ports)
    with Undo(ports.progress) as undo:
        undo.commit_point()

        # Alone from the reading on: QEMU cuts a file that has meanwhile grown once more back.
        with ports.sharing.alone(device.its_volume):
            if request.grow and _lacks(request, device, ports):
                ports.pool.grow(device.its_volume, request.new_size)
            connection = connection_of(attachment, ports)
            size = _grow(request, connection, ports)
            _tell_guest(device, guest_size(device, connection, size, ports), ports)

        device = replace(device, volume_size=gib(request.new_size))
        ports.devices.save(device)
        return device


def _meant(request: ExtendVolume, ports: Ports) -> BlockDevice:
    device = ports.devices.get(request.bdm_uuid)
    volume = device.its_volume
    if device.instance != request.instance_uuid:
        message = f"block device {device.uuid} belongs to instance {device.instance}"
        raise DeviceWrongState(message)
    if device.deleted:
        _check_not_superseded(device, ports)
        message = f"block device {device.uuid} was removed; volume {volume} is not attached by it"
        raise DeviceWrongState(message)
    if device.status is not DeviceStatus.ATTACHED:
        message = f"block device {device.uuid} is {device.status}; only an attached one can grow"
        raise DeviceWrongState(message)
    if gib(request.new_size) < (device.volume_size or 1):
        message = (
            f"volume {volume} is recorded with {device.volume_size or 1} GiB;"
            f" {request.new_size} bytes would be less"
        )
        raise VolumeWouldShrink(message)
    return device


def _check_not_superseded(device: BlockDevice, ports: Ports) -> None:
    rows = ports.devices.of_instance(device.instance)
    newer = next((row for row in rows if row.volume == device.volume), None)
    if newer is not None:
        message = f"block device {device.uuid} is gone; the volume is attached as {newer.uuid}"
        raise DeviceSuperseded(message)


def _attachment(device: BlockDevice, ports: Ports) -> Attachment:
    """Return what says how the volume is reached; with a password, where that takes one."""
    if device.attachment is None:
        message = f"block device {device.uuid} has no attachment: other hands gave it to the guest"
        raise AttachmentNotFound(message)
    return checked(device.attachment, device.its_volume, device.instance, ports)


def _check_grown(request: ExtendVolume, device: BlockDevice, ports: Ports) -> None:
    size = ports.volumes.show(device.its_volume).size
    if size < request.new_size and request.grow:
        ports.pool.check_growth(device.its_volume, request.new_size)
    elif size < request.new_size:
        message = (
            f"volume {device.volume} has {size} bytes with the volume service, and not"
            f" {request.new_size}; extend it there first"
        )
        raise VolumeNotGrown(message)


def _lacks(request: ExtendVolume, device: BlockDevice, ports: Ports) -> bool:
    """Tell whether it is yet to grow: an earlier run, or a growth of its own, may have done it."""
    return ports.volumes.show(device.its_volume).size < request.new_size


def _grow(request: ExtendVolume, connection: Connection, ports: Ports) -> int:
    """Return how many bytes the host sees by now; the storage may take a while to show all."""
    size = ports.connector.extend(connection)
    if size < request.new_size:
        message = f"the host sees {size} bytes of the volume yet, and not {request.new_size}"
        raise ConnectFailed(message)
    return size


def _tell_guest(device: BlockDevice, size: int, ports: Ports) -> None:
    """One that is off, or runs a rescue that leaves the disk out, has nothing to be told."""
    shown = _shown(device, ports)
    if shown is not None:
        ports.disks.resize(device.instance, borne(shown), size)


def _shown(device: BlockDevice, ports: Ports) -> Found | None:
    """Return the disk as the running guest has it, if it has; raises DeviceAmbiguous."""
    guest = guest_of(device.instance, ports)
    return None if guest is None else live_disk(device, guest, ports)
