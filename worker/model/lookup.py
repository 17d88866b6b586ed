"""Which disk of a guest is a row's: found by the alias, and believed only in the row's place."""

from worker.errors import DeviceAmbiguous
from worker.model.block_device import BlockDevice
from worker.model.guest import Guest, GuestDisk, Layout


def disk_in(layout: Layout | None, device: BlockDevice) -> GuestDisk | None:
    """Return the row's disk in a layout; raises DeviceAmbiguous when another bears its alias."""
    borne = [disk for disk in layout.disks if disk.alias == device.alias] if layout else []
    for disk in borne:
        if (disk.target, disk.address) != (device.target, device.address):
            message = (
                f"alias {device.alias} is borne by {disk.target} at {disk.address}, reserved are"
                f" {device.target} at {device.address}"
            )
            raise DeviceAmbiguous(message)
    return borne[0] if borne else None


def check_not_anothers(guest: Guest, device: BlockDevice) -> None:
    """Raise DeviceAmbiguous when a disk in another place bears the row's alias.

    It is not ours, and must not go with ours.
    """
    for layout in guest.layouts:
        disk_in(layout, device)
