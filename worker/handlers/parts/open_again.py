"""What opens the disks of a guest that is started again while its host still has their volumes."""

from worker.handlers.parts.reach_volume import Ways, reach
from worker.model.block_device import BlockDevice
from worker.model.guest import Guest, GuestDisk
from worker.model.guest_secret import row_in
from worker.ports import Ports


def open_again(guest: Guest, ways: Ways, ports: Ports) -> None:
    """Have at hand what the guest's next start opens its disks with.

    To reach a volume gives its secrets; the others, which no secret opens, are left alone. Raises
    one of UNREACHABLE.
    """
    disks = () if guest.persistent is None else guest.persistent.disks
    for disk in disks:
        row = _row_of(disk, ports)
        if row is not None:
            reach(row, ways.to(row), ports, held=guest.live is not None)


def _row_of(disk: GuestDisk, ports: Ports) -> BlockDevice | None:
    named = None if disk.secret_usage is None else row_in(disk.secret_usage)
    row = None if named is None else ports.devices.look(named[1])
    return None if row is None or row.deleted else row
