"""Where a new disk goes: name, address and unit, free in our rows and in both layouts."""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.errors import BusUnsupported, NoFreePort
from worker.model.address import Address, DriveAddress, first_free
from worker.model.block_device import BlockDevice, Bus
from worker.model.guest import Guest
from worker.model.names import check_limits, choose_target

HOT_PLUGGED = frozenset({Bus.VIRTIO, Bus.SCSI, Bus.USB})
"""The buses onto which QEMU plugs a disk while the guest runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The choice that a reservation keeps."""

    device_name: str
    address: Address
    unit: int | None


def place(
    guest: Guest, rows: Sequence[BlockDevice], bus: Bus, wanted: str | None, max_disk_devices: int
) -> Placement:
    """Choose the place of one disk more.

    ``rows`` are the live rows of the instance. Raises BusUnsupported, TooManyDevices,
    DeviceNameMalformed, DeviceNameTaken, NoFreePort.
    """
    _check_bus(guest, bus)
    check_limits(bus, _buses_in_use(guest, rows), max_disk_devices)
    target = choose_target(bus, wanted, _names_in_use(guest, rows))
    address = _free_address(guest, rows, bus)
    unit = address.unit if bus is Bus.SCSI and isinstance(address, DriveAddress) else None
    return Placement(device_name=f"/dev/{target}", address=address, unit=unit)


def _check_bus(guest: Guest, bus: Bus) -> None:
    if any(bus not in layout.places for layout in guest.layouts):
        message = f"instance {guest.instance} has no controller for bus {bus}"
        raise BusUnsupported(message)
    if guest.live is not None and bus not in HOT_PLUGGED:
        message = f"bus {bus} takes no disk while the instance runs; stop it first"
        raise BusUnsupported(message)


def _names_in_use(guest: Guest, rows: Sequence[BlockDevice]) -> set[str]:
    shown = {disk.target for layout in guest.layouts for disk in layout.disks}
    return shown | {row.target for row in rows}


def _buses_in_use(guest: Guest, rows: Sequence[BlockDevice]) -> list[str]:
    by_name = {disk.target: disk.bus for layout in guest.layouts for disk in layout.disks}
    by_name.update({row.target: row.bus.value for row in rows})
    return list(by_name.values())


def _free_address(guest: Guest, rows: Sequence[BlockDevice], bus: Bus) -> Address:
    taken = {address for layout in guest.layouts for address in layout.taken}
    taken |= {row.address for row in rows if row.address is not None}
    first, *others = (layout.places[bus] for layout in guest.layouts)
    in_all = set(first).intersection(*others)
    free = first_free([place for place in first if place in in_all], taken)
    if free is None:
        message = f"instance {guest.instance} has no free place for a disk on bus {bus}"
        raise NoFreePort(message)
    return free
