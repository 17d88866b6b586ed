"""How the marks of a guest's disks are to change: disks found by place and source."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from worker.model.address import Address
from worker.model.block_device import BlockDevice
from worker.model.guest import GuestDisk, Layout
from worker.model.marks import Adoption, Marks


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkChange:
    """That the disk at this place, of this source, is to bear other marks.

    Name, place and source all have to agree: a lone device name never suffices.
    """

    target: str
    address: Address | None
    source: str | None
    former: Marks
    wanted: Marks

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        return self.former != self.wanted

    def fits(self, disk: GuestDisk) -> bool:
        """Tell whether it is this disk that is meant."""
        return (disk.target, disk.address, disk.source) == (self.target, self.address, self.source)


def marks_of(disk: GuestDisk) -> Marks:
    """Return the marks that a disk bears."""
    return Marks(alias=disk.alias, serial=disk.serial)


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
            found.append(_change(disk, former, wanted))
    return tuple(found)


def ways_back(
    layout: Layout, rows: Sequence[BlockDevice], adoption: Adoption
) -> tuple[MarkChange, ...]:
    """Return how the disks of adopted rows get back each former mark that is the row's by now."""
    found = []
    for row, disk, former in _adopted(layout, rows, adoption):
        alias = former.alias if disk.alias == row.alias else disk.alias
        serial = former.serial if disk.serial == row.serial else disk.serial
        change = _change(disk, marks_of(disk), Marks(alias=alias, serial=serial))
        found += [change] if change.changes else []
    return tuple(found)


def _adopted(
    layout: Layout, rows: Sequence[BlockDevice], adoption: Adoption
) -> Iterator[tuple[BlockDevice, GuestDisk, Marks]]:
    """Yield each adopted row with the disk in its place and the former marks."""
    places = {(disk.target, disk.address): disk for disk in layout.disks}
    for row in rows:
        former, disk = adoption.marks_of(row.uuid), places.get((row.target, row.address))
        if former is not None and disk is not None:
            yield row, disk, former


def _change(disk: GuestDisk, former: Marks, wanted: Marks) -> MarkChange:
    return MarkChange(
        target=disk.target,
        address=disk.address,
        source=disk.source,
        former=former,
        wanted=wanted,
    )
