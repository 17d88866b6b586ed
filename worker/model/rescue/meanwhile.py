"""The devices of a guest while it is in rescue: where its rows' are, and where a new one may go."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from worker.model.block_device import BlockDevice
from worker.model.guest import Guest, GuestDisk, Layout
from worker.model.places.address import place_of
from worker.model.rescue.plan import in_rescue
from worker.model.rescue.words import Rescue, Spot, rescue_alias


def as_rows_say(guest: Guest, rescue: Rescue | None) -> Guest:
    """Return a guest in rescue without what the rescue itself has done to its live layout.

    The rescue disk, which has no row, is not there, and what it has displaced is back in its place.
    What is left out stays so. Any other guest is returned as it is.
    """
    if rescue is None or guest.live is None or not in_rescue(guest):
        return guest
    own = (disk for disk in guest.live.disks if disk.alias != rescue_alias(guest.instance))
    homes = {spot.target: name for name, spot in _moved(rescue).items()}
    disks = tuple(_at_home(disk, homes.get(disk.target), rescue.spot) for disk in own)
    return replace(guest, live=replace(guest.live, disks=disks))


def with_places_taken(guest: Guest, rescue: Rescue | None) -> Guest:
    """Return the guest with the places of its rescue taken, whether or not it runs in it now.

    The rescue guest may be off, and is started in those places again.
    """
    if rescue is None or guest.persistent is None:
        return guest
    return replace(guest, persistent=_with_places(guest.persistent, rescue))


def is_in_the_way(row: BlockDevice, rescue: Rescue | None) -> bool:
    """Tell whether the row's place is one that the rescue has for itself.

    It may have been reserved in the moment in which the rescue was decided.
    """
    spots = () if rescue is None else _spots(rescue)
    names = {spot.target for spot in spots}
    places = {place_of(spot.address) for spot in spots if spot.address is not None}
    return row.target in names or (row.address is not None and place_of(row.address) in places)


def keeps(rescue: Rescue | None, target: str) -> bool:
    """Tell whether the guest is meant to have the disk of that name, in rescue too."""
    return rescue is None or rescue.kept is None or target in rescue.kept


def leaves_alone(rescue: Rescue | None, target: str) -> bool:
    """Tell whether the guest has the disk of that name, and where it always is."""
    return keeps(rescue, target) and (rescue is None or target not in _moved(rescue))


def keeping(rescue: Rescue, target: str) -> Rescue:
    """Return the rescue with one disk more that the guest is to have in it."""
    if keeps(rescue, target):
        return rescue
    return replace(rescue, kept=(*(rescue.kept or ()), target))


def rows_in(rescue: Rescue, rows: Iterable[BlockDevice]) -> tuple[BlockDevice, ...]:
    """Return the rows of the disks that the guest has in rescue, each where it has it there."""
    moved = _moved(rescue)
    return tuple(_moved_to(moved.get(row.target), row) for row in rows if keeps(rescue, row.target))


def _moved(rescue: Rescue) -> Mapping[str, Spot]:
    return rescue.moved or {}


def _spots(rescue: Rescue) -> tuple[Spot, ...]:
    return (rescue.spot, *_moved(rescue).values())


def _at_home(disk: GuestDisk, name: str | None, place: Spot) -> GuestDisk:
    """Whatever is elsewhere has made place for the rescue disk."""
    return disk if name is None else replace(disk, target=name, address=place.address)


def _with_places(layout: Layout, rescue: Rescue) -> Layout:
    spots = _spots(rescue)
    taken = {spot.address for spot in spots if spot.address is not None}
    disks = tuple(_placeholder(spot, rescue) for spot in spots)
    return replace(layout, disks=(*layout.disks, *disks), taken=layout.taken | taken)


def _placeholder(spot: Spot, rescue: Rescue) -> GuestDisk:
    return GuestDisk(
        target=spot.target,
        bus=rescue.bus.value,
        alias=None,
        serial=None,
        source=None,
        address=spot.address,
    )


def _moved_to(spot: Spot | None, row: BlockDevice) -> BlockDevice:
    if spot is None:
        return row
    return replace(row, device_name=f"/dev/{spot.target}", address=spot.address)
