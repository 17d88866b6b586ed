"""Where a new device goes: free in our rows, in the running guest and after its next start.

A disk gets a name, an address and, on scsi, a unit; a peripheral gets an address.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import assert_never

from worker.errors import BusUnsupported, NoFreePort
from worker.model.block_device import BlockDevice, Bus
from worker.model.guest import Guest
from worker.model.host_device import HostDevice, HostDeviceKind
from worker.model.peripheral import Peripheral, Plugged
from worker.model.places.address import Address, DriveAddress, first_free
from worker.model.places.names import check_limits, choose_target, last_target
from worker.model.specification import Interface

HOT_PLUGGED = frozenset({Bus.VIRTIO, Bus.SCSI, Bus.USB})
"""The buses onto which QEMU plugs a disk while the guest runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The choice that a reservation keeps."""

    device_name: str
    address: Address
    unit: int | None


def place(  # noqa: PLR0913 - what a place depends on
    guest: Guest,
    rows: Sequence[BlockDevice],
    bus: Bus,
    wanted: str | None,
    max_disk_devices: int,
    *,
    peripherals: Sequence[Peripheral] = (),
) -> Placement:
    """Choose the place of one disk more.

    ``rows`` and ``peripherals`` are the live rows of the instance. Raises BusUnsupported,
    TooManyDevices, DeviceNameMalformed, DeviceNameTaken, NoFreePort.
    """
    _check_bus(guest, bus)
    check_limits(bus, _buses_in_use(guest, rows), max_disk_devices)
    target = choose_target(bus, wanted, _names_in_use(guest, rows))
    address = _free_address(guest, bus, _reserved([*rows, *peripherals]), f"a disk on bus {bus}")
    unit = address.unit if bus is Bus.SCSI and isinstance(address, DriveAddress) else None
    return Placement(device_name=f"/dev/{target}", address=address, unit=unit)


def place_last(
    guest: Guest, rows: Sequence[BlockDevice], peripherals: Sequence[Peripheral], bus: Bus
) -> Placement:
    """Choose the place of a disk that the guest finds after all others, when it starts next.

    A gap between disks is passed over as long as there is a place behind them. A controller that a
    machine can always be given is taken to be there. Raises BusUnsupported, TooManyDevices,
    NoFreePort.
    """
    off = replace(guest, live=None)
    offered = _offered(off, bus)
    check_limits(bus, _buses_in_use(off, rows), -1)
    behind = _behind(off, rows, bus, offered)
    free = first_free(behind, _taken(off, rows, peripherals)) or first_free(
        offered, _taken(off, rows, peripherals)
    )
    if free is None:
        message = f"instance {guest.instance} has no free place for a disk on bus {bus}"
        raise NoFreePort(message)
    unit = free.unit if bus is Bus.SCSI and isinstance(free, DriveAddress) else None
    target = last_target(bus, _names_in_use(off, rows))
    return Placement(device_name=f"/dev/{target}", address=free, unit=unit)


def place_peripheral(
    guest: Guest, rows: Sequence[BlockDevice], peripherals: Sequence[Peripheral], what: Plugged
) -> Address:
    """Choose the address of one interface or host device more.

    ``rows`` and ``peripherals`` are the live rows of the instance. Raises BusUnsupported,
    NoFreePort.
    """
    bus = _bus_of(what)
    _check_controller(guest, bus)
    said = "an interface" if isinstance(what, Interface) else f"a host device ({what.kind})"
    return _free_address(guest, bus, _reserved([*rows, *peripherals]), said)


def _bus_of(what: Plugged) -> Bus:
    """Return whose places it takes: a disk on virtio is a PCI device like any other."""
    match what:
        case HostDevice(kind=HostDeviceKind.USB):
            return Bus.USB
        case Interface() | HostDevice():
            return Bus.VIRTIO
        case _:
            assert_never(what)


ADDED: Mapping[Bus, tuple[Address, ...]] = {
    Bus.SATA: tuple(DriveAddress(kind="sata", unit=unit) for unit in range(6)),
    Bus.SCSI: tuple(DriveAddress(kind="scsi", unit=unit) for unit in range(256)),
    Bus.FDC: tuple(DriveAddress(kind="fdc", unit=unit) for unit in range(2)),
}
"""The places on a controller that a machine without one of its kind can be given for a while."""


def _offered(guest: Guest, bus: Bus) -> tuple[Address, ...]:
    (layout,) = guest.layouts
    offered = layout.places.get(bus, ADDED.get(bus))
    if offered is None:
        message = f"instance {guest.instance} has no controller for bus {bus}"
        raise BusUnsupported(message)
    return offered


def _behind(
    guest: Guest, rows: Sequence[BlockDevice], bus: Bus, offered: Sequence[Address]
) -> Sequence[Address]:
    """Return the places behind the last disk of the bus."""
    (layout,) = guest.layouts
    shown = {disk.address for disk in layout.disks if disk.bus == bus}
    used = {*shown, *(row.address for row in rows if row.bus is bus)}
    last = max((number for number, place in enumerate(offered) if place in used), default=-1)
    return offered[last + 1 :]


def _taken(
    guest: Guest, rows: Sequence[BlockDevice], peripherals: Sequence[Peripheral]
) -> set[Address]:
    shown = {address for layout in guest.layouts for address in layout.taken}
    return shown | _reserved([*rows, *peripherals])


def _check_controller(guest: Guest, bus: Bus) -> None:
    if any(bus not in layout.places for layout in guest.layouts):
        message = f"instance {guest.instance} has no controller for bus {bus}"
        raise BusUnsupported(message)


def _check_bus(guest: Guest, bus: Bus) -> None:
    _check_controller(guest, bus)
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


def _reserved(rows: Iterable[BlockDevice | Peripheral]) -> set[Address]:
    return {row.address for row in rows if row.address is not None}


def _free_address(guest: Guest, bus: Bus, reserved: set[Address], said: str) -> Address:
    taken = {address for layout in guest.layouts for address in layout.taken} | reserved
    first, *others = (layout.places[bus] for layout in guest.layouts)
    in_all = set(first).intersection(*others)
    free = first_free([place for place in first if place in in_all], taken)
    if free is None:
        message = f"instance {guest.instance} has no free place for {said}"
        raise NoFreePort(message)
    return free
