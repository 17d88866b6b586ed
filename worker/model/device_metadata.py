"""How a user inside the guest finds the disks that he knows by their tags.

The form is Nova's, read by cloud-init and cloudbase-init
(https://docs.openstack.org/nova/latest/user/metadata.html, "Device tags"); the paths are those
that udev makes of what QEMU shows.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from worker.model.block_device import BlockDevice, Bus, DeviceStatus, DeviceType
from worker.model.identity.serials import given_serial, shown
from worker.model.ids import BlockDeviceId
from worker.model.places.address import Address, DriveAddress, PciAddress, UsbAddress

LEAVING = (DeviceStatus.RESERVED, DeviceStatus.MISSING)
"""Rows whose disk the guest has not, or not yet."""

_BY_ID = "/dev/disk/by-id/"


def device_metadata(
    rows: Sequence[BlockDevice], shown: Mapping[BlockDeviceId, Address | None]
) -> list[dict[str, Any]]:
    """Return each tagged disk: type, bus, address, serial, path and tags.

    The address is the one that the guest shows; of a disk that it does not show, for there is no
    guest yet, the row's, which is where its layout will have it.
    """
    return [_disk(row, shown.get(row.uuid, row.address)) for row in tagged(rows)]


def tagged(rows: Sequence[BlockDevice]) -> tuple[BlockDevice, ...]:
    """Return the rows whose disks are told of."""
    return tuple(row for row in rows if row.tag is not None and row.status not in LEAVING)


def _disk(row: BlockDevice, where: Address | None) -> dict[str, Any]:
    bus, address = _bus(where)
    return {
        "type": "disk",
        "bus": bus,
        "address": address,
        "serial": given_serial(row.serial, row.device_type),
        "path": _path(row),
        "tags": [row.tag],
    }


def _bus(address: Address | None) -> tuple[str, str | None]:
    match address:
        case PciAddress():
            return "pci", str(address).removeprefix("pci:")
        case DriveAddress(kind=kind):
            return kind, str(address).removeprefix(f"{kind}:")
        case UsbAddress():
            return "usb", str(address).removeprefix("usb:")
        case _:
            return "none", None


def _path(row: BlockDevice) -> str | None:
    """Return a path that does not depend on the order in which the guest finds its disks."""
    serial = given_serial(row.serial, row.device_type)
    if serial is None or row.device_type is not DeviceType.DISK:
        return None
    match row.bus:
        case Bus.VIRTIO:
            return f"{_BY_ID}virtio-{shown(serial)}"
        case Bus.SCSI:
            return f"{_BY_ID}scsi-0QEMU_QEMU_HARDDISK_{serial}"
        case Bus.SATA | Bus.IDE:
            return f"{_BY_ID}ata-QEMU_HARDDISK_{shown(serial)}"
        case _:
            return None
