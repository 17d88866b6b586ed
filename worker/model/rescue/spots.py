"""Where the rescue disk goes, and in legacy mode the root, whose place it takes."""

from collections.abc import Sequence

from worker.errors import NoFreePort, NotRescuable
from worker.model.block_device import BlockDevice, Bus, DeviceType
from worker.model.guest import GuestDisk, Layout
from worker.model.identity.alias import config_drive_alias
from worker.model.ids import InstanceId
from worker.model.peripheral import Peripheral
from worker.model.places.address import first_free
from worker.model.places.names import choose_target
from worker.model.places.placement import place_last
from worker.model.rescue.known import Known
from worker.model.rescue.words import Spot

HARD = frozenset({DeviceType.DISK, DeviceType.LUN})
"""What a guest has its root on; a medium that can be taken out is another matter."""


def last_spot(known: Known, bus: Bus) -> Spot:
    """Return the place behind all disks; raises BusUnsupported, TooManyDevices, NoFreePort."""
    place = place_last(known.guest, known.rows, known.peripherals, bus)
    return Spot(target=place.device_name.removeprefix("/dev/"), address=place.address)


def row_of_disk(disk: GuestDisk, rows: Sequence[BlockDevice]) -> BlockDevice | None:
    """Return the row of a disk that is shown: by alias, or else by name and address together."""
    named = next((row for row in rows if row.alias == disk.alias), None)
    return named or next((row for row in rows if _is_at(disk, row)), None)


def root_of(layout: Layout, rows: Sequence[BlockDevice]) -> GuestDisk | None:
    """Return the disk that the guest boots from: by its row, by boot order, or the first.

    None for a guest without disks.
    """
    kept = [(disk, row_of_disk(disk, rows)) for disk in layout.disks]
    by_row = [disk for disk, row in kept if row is not None and row.boot_index == 0]
    ordered = sorted(
        (disk for disk in layout.disks if disk.boot_order is not None),
        key=lambda disk: disk.boot_order or 0,
    )
    hard = [disk for disk in layout.disks if disk.device in HARD]
    return next(iter((*by_row, *ordered, *hard, *layout.disks)), None)


def legacy_root(known: Known) -> GuestDisk:
    """Return the disk that is there beside the rescue disk; raises NotRescuable without any."""
    root = root_of(known.layout, known.rows)
    if root is None:
        message = f"instance {known.instance.uuid} has no disk"
        raise NotRescuable(message)
    return root


def legacy_names(layout: Layout, root: GuestDisk, instance: InstanceId) -> tuple[str, ...]:
    """Return the names of the disks that are there in legacy mode: root and config drive."""
    config = config_drive_alias(instance)
    return tuple(disk.target for disk in layout.disks if disk == root or disk.alias == config)


def second_spot(root: GuestDisk, bus: Bus, kept: Sequence[str], known: Known) -> Spot:
    """Return where the root is whose place was taken: behind it, if there is a free place.

    It is none of a disk that is only not there: in the place of another, under its name, the root
    could be taken for it. Raises NoFreePort.
    """
    offered = known.layout.places.get(bus, ())
    behind = offered[offered.index(root.address) + 1 :] if root.address in offered else offered
    rows: list[BlockDevice | Peripheral] = [*known.rows, *known.peripherals]
    reserved = {row.address for row in rows if row.address is not None}
    free = first_free((*behind, *offered), known.layout.taken | reserved)
    if free is None:
        message = (
            f"instance {known.instance.uuid} has no second place on bus {bus} for its root: rescue"
            " it with an image that names a device or a bus"
        )
        raise NoFreePort(message)
    return Spot(target=choose_target(bus, None, kept), address=free)


def _is_at(disk: GuestDisk, row: BlockDevice) -> bool:
    place = (disk.target, disk.address)
    return disk.address is not None and place == (row.target, row.address)
