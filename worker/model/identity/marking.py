"""How the marks of a guest's devices are to change: each device named by what it was found as."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import assert_never

from worker.model.block_device import BlockDevice
from worker.model.guest import GuestDevice, GuestDisk, GuestHostDevice, GuestInterface, Layout
from worker.model.identity.lookup import find, find_by_alias
from worker.model.identity.marks import Adoption, Marks
from worker.model.identity.sought import sought_peripheral
from worker.model.peripheral import Peripheral


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkChange:
    """That this device of a layout, of whatever kind, is to bear other marks than the former.

    It is named by all that it was found as, but for its marks: a lone device name never suffices.
    Only a disk has a serial.
    """

    device: GuestDevice
    former: Marks
    wanted: Marks

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        return self.former != self.wanted

    def fits(self, device: GuestDevice) -> bool:
        """Tell whether it is this device that is meant."""
        return with_marks(device, Marks()) == with_marks(self.device, Marks())


def marks_of(device: GuestDevice) -> Marks:
    """Return the marks that a device bears."""
    serial = device.serial if isinstance(device, GuestDisk) else None
    return Marks(alias=device.alias, serial=serial)


def with_marks(device: GuestDevice, marks: Marks) -> GuestDevice:
    """Return the device as it is with other marks."""
    match device:
        case GuestDisk():
            return replace(device, alias=marks.alias, serial=marks.serial)
        case GuestInterface() | GuestHostDevice():
            return replace(device, alias=marks.alias)
        case _:
            assert_never(device)


def changes_between(
    layout: Layout, rows: Sequence[BlockDevice], adoption: Adoption
) -> tuple[MarkChange, ...]:
    """Return how the disks of adopted rows get the rows' marks; those that have them included.

    A disk is a row's if it is in the row's place and has the former marks or the row's.
    """
    found = []
    for row, disk, former in _adopted(layout, rows, adoption):
        wanted = Marks(alias=row.alias, serial=row.serial)
        if marks_of(disk) in (former, wanted):
            found.append(MarkChange(device=disk, former=former, wanted=wanted))
    return tuple(found)


def ways_back(
    layout: Layout, rows: Sequence[BlockDevice], adoption: Adoption
) -> tuple[MarkChange, ...]:
    """Return how the disks of adopted rows get back each former mark that is the row's by now."""
    found = []
    for row, disk, former in _adopted(layout, rows, adoption):
        alias = former.alias if disk.alias == row.alias else disk.alias
        serial = former.serial if disk.serial == row.serial else disk.serial
        wanted = Marks(alias=alias, serial=serial)
        change = MarkChange(device=disk, former=marks_of(disk), wanted=wanted)
        found += [change] if change.changes else []
    return tuple(found)


def peripheral_changes(layout: Layout, rows: Sequence[Peripheral]) -> tuple[MarkChange, ...]:
    """Return how interfaces and host devices get their rows' aliases; those that have them too.

    Raises DeviceAmbiguous.
    """
    found = []
    for row in rows:
        device = find(layout, sought_peripheral(row, rows))
        former, wanted = Marks(alias=row.former), Marks(alias=row.alias)
        if device is not None and marks_of(device.device) in (former, wanted):
            found.append(MarkChange(device=device.device, former=former, wanted=wanted))
    return tuple(found)


def peripheral_ways_back(layout: Layout, rows: Sequence[Peripheral]) -> tuple[MarkChange, ...]:
    """Return how what bears a row's alias gets back the one that it had before."""
    borne = [(row, find_by_alias(layout, row.alias)) for row in rows]
    return tuple(
        MarkChange(device=device, former=marks_of(device), wanted=Marks(alias=row.former))
        for row, device in borne
        if device is not None and not isinstance(device, GuestDisk)
    )


def _adopted(
    layout: Layout, rows: Sequence[BlockDevice], adoption: Adoption
) -> Iterator[tuple[BlockDevice, GuestDisk, Marks]]:
    """Yield each adopted row with the disk in its place and the former marks."""
    places = {(disk.target, disk.address): disk for disk in layout.disks}
    for row in rows:
        former, disk = adoption.marks_of(row.uuid), places.get((row.target, row.address))
        if former is not None and disk is not None:
            yield row, disk, former
