"""What a guest sees of a serial, and when two disks look alike by it."""

from collections.abc import Iterable, Iterator

from worker.errors import IdTaken
from worker.model.block_device import DeviceType
from worker.model.ids import BlockDeviceId, new_uuid

_WITHOUT_SERIAL = frozenset({DeviceType.LUN, DeviceType.FLOPPY})
"""A LUN that is passed through shows its own (libvirt refuses one), a floppy none at all."""

SHOWN_BY_VIRTIO = 20
"""So many characters of a serial a guest sees of a virtio disk (VIRTIO_BLK_ID_BYTES)."""


def has_serial(kind: DeviceType) -> bool:
    """Tell whether a disk of that kind has a serial that it was given."""
    return kind not in _WITHOUT_SERIAL


def given_serial(serial: str | None, kind: DeviceType) -> str | None:
    """Return the serial that a disk of that kind is given; None where it has none."""
    return serial if has_serial(kind) else None


def alike(serial: str, others: Iterable[str]) -> bool:
    """Tell whether a guest could take the serial for another's."""
    return shown(serial) in {shown(other) for other in others}


def shown(serial: str) -> str:
    """Return what a guest sees of the serial, whatever the bus: the bus may be virtio."""
    return serial[:SHOWN_BY_VIRTIO]


def serial_for(
    volume: str, wanted: BlockDeviceId | None, others: Iterable[str]
) -> tuple[BlockDeviceId, str]:
    """Return the row's id and the serial of a volume's disk, unlike every other of the instance.

    The serial is the volume's id; where a disk looks alike, the old volume's after a swap for
    instance, it is the row's. Raises IdTaken when that is given and does not help.
    """
    taken = tuple(others)
    if not alike(volume, taken):
        return wanted or BlockDeviceId(new_uuid()), volume
    found = next((uuid for uuid in _ids(wanted) if not alike(uuid, taken)), None)
    if found is None:
        message = f"block device id {wanted} begins like a serial of the instance; draw another"
        raise IdTaken(message)
    return found, found


def serial_for_kind(
    kind: DeviceType, volume: str, wanted: BlockDeviceId | None, others: Iterable[str]
) -> tuple[BlockDeviceId, str | None]:
    """Return what ``serial_for`` does; a disk of a kind that is given no serial looks like none."""
    if has_serial(kind):
        return serial_for(volume, wanted, others)
    return wanted or BlockDeviceId(new_uuid()), None


def drawn(others: Iterable[str]) -> BlockDeviceId:
    """Return a new row's id, which is its disk's serial, unlike every other of the instance."""
    taken = tuple(others)
    return next(uuid for uuid in _ids(None) if not alike(uuid, taken))


def _ids(wanted: BlockDeviceId | None) -> Iterator[BlockDeviceId]:
    if wanted is not None:
        yield wanted
        return
    while True:
        yield BlockDeviceId(new_uuid())
