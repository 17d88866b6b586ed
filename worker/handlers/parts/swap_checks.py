"""What is refused of a swap before anything is touched."""

from worker.errors import (
    DeviceTypeUnsupported,
    DeviceWrongState,
    EncryptionUnsupported,
    InstanceWrongState,
    VolumeAlreadyAttached,
    VolumeInUse,
    VolumeTooSmall,
)
from worker.handlers.parts.find_device import live_disk, persistent_disk
from worker.model.block_device import BlockDevice, DeviceStatus, DeviceType
from worker.model.guest import Guest
from worker.model.identity.lookup import Found
from worker.model.instance import Instance
from worker.model.volume import Volume, VolumeStatus
from worker.ports import Ports

TAKES_ONE = (VolumeStatus.AVAILABLE, VolumeStatus.RESERVED, VolumeStatus.ATTACHING)
"""As what a volume may be written over: nobody has it, but for who asks."""


def check_swap(row: BlockDevice, wanted: Volume, instance: Instance, ports: Ports) -> None:
    """Raise unless the volume can take the place of the row's, while its guest runs."""
    _check_row(row)
    _check_free(row, wanted, ports)
    _check_content(row, wanted, ports)
    instance.check_not_rescued()
    _check_guest(row, ports.guests.describe(row.instance), ports)


def _check_row(row: BlockDevice) -> None:
    if row.status is not DeviceStatus.ATTACHED:
        message = f"block device {row.uuid} is {row.status}; only an attached volume is swapped"
        raise DeviceWrongState(message)
    if row.device_type is not DeviceType.DISK:
        message = f"block device {row.uuid} is a {row.device_type}, which cannot be copied in use"
        raise DeviceTypeUnsupported(message)


def _check_free(row: BlockDevice, wanted: Volume, ports: Ports) -> None:
    for other in ports.devices.of_instance(row.instance):
        if other.volume == wanted.id:
            message = f"volume {wanted.id} is on this instance already, as {other.device_name}"
            raise VolumeAlreadyAttached(message)
    if wanted.status not in TAKES_ONE:
        message = f"volume {wanted.id} is {wanted.status}; its content would be lost"
        raise VolumeInUse(message)
    if ports.sharing.still(ports.connections.others(row.uuid, row.its_volume)):
        message = f"another guest has volume {row.volume} too, and would go on with the old one"
        raise VolumeInUse(message)


def _check_content(row: BlockDevice, wanted: Volume, ports: Ports) -> None:
    former = ports.volumes.show(row.its_volume)
    if wanted.size < former.size:
        message = f"volume {wanted.id} has {wanted.size} bytes, {former.size} are to be copied"
        raise VolumeTooSmall(message)
    if wanted.encrypted != row.encrypted:
        message = f"of volumes {row.volume} and {wanted.id} one is encrypted and one is not"
        raise EncryptionUnsupported(message)
    if row.encrypted and wanted.size != former.size:
        message = f"volumes {row.volume} and {wanted.id} are encrypted, and not of one size"
        raise EncryptionUnsupported(message)


def _check_guest(row: BlockDevice, guest: Guest, ports: Ports) -> None:
    if guest.live is None:
        message = f"instance {row.instance} is {guest.vm_state}; a disk is swapped while it runs"
        raise InstanceWrongState(message)
    shown = live_disk(row, guest, ports)
    kept = persistent_disk(row, guest, ports)
    if shown is None or any(_nameless(found) for found in (shown, kept)):
        message = f"the guest has no disk {row.alias}; give devices their aliases and reboot it"
        raise DeviceWrongState(message)


def _nameless(found: Found | None) -> bool:
    return found is not None and not found.by_alias
