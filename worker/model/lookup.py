"""Which disk of a guest is a row's: found by the alias, and believed only in the row's place."""

from worker.errors import DeviceAmbiguous, DeviceWrongState
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


def unmarked(guest: Guest, device: BlockDevice) -> GuestDisk | None:
    """Return the row's disk of a running guest that has not had a cold start since it was adopted.

    It is where the row says, is what the next start has there, and bears an older alias.
    """
    kept = () if guest.persistent is None else guest.persistent.disks
    sources = {disk.source for disk in kept if disk.alias == device.alias}
    for disk in () if guest.live is None else guest.live.disks:
        placed = (disk.target, disk.address) == (device.target, device.address)
        same = guest.persistent is None or disk.source in sources
        if placed and same and disk.alias != device.alias:
            return disk
    return None


def check_marked(guest: Guest, device: BlockDevice) -> None:
    """Raise DeviceWrongState when the running guest has the disk, and not by the row's alias.

    It would not be found there, and be taken for gone.
    """
    disk = unmarked(guest, device)
    if disk is not None:
        message = (
            f"the running guest has {device.target} as {disk.alias}, and as {device.alias} from its"
            " next cold start on; stop it first"
        )
        raise DeviceWrongState(message)


def check_not_anothers(guest: Guest, device: BlockDevice) -> None:
    """Raise DeviceAmbiguous when a disk in another place bears the row's alias.

    It is not ours, and must not go with ours.
    """
    for layout in guest.layouts:
        disk_in(layout, device)
