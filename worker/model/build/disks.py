"""The disks of a new instance, in their order, and a row for each: name, place, marks."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count, islice
from uuid import UUID, uuid5

from worker.model.block_device import BlockDevice, Bus, DeviceStatus, DeviceType, SourceType
from worker.model.build.shape import bus_of
from worker.model.build.wanted import Wanted, WantedDisk
from worker.model.guest import Guest
from worker.model.identity.alias import alias_of
from worker.model.identity.serials import given_serial, shown
from worker.model.ids import BlockDeviceId, ImageId, OperationId, VolumeId
from worker.model.image import GIB, Image
from worker.model.instance import VmState
from worker.model.places.controllers import empty_layout
from worker.model.places.placement import Placement, place
from worker.model.source import DiskFormat
from worker.model.specification import Shape
from worker.model.volume import Volume

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What services say of the things that a request names, and this worker's own settings."""

    operation: OperationId
    images: Mapping[ImageId, Image]
    volumes: Mapping[VolumeId, Volume]
    local_format: DiskFormat = DiskFormat.QCOW2
    max_disk_devices: int = -1


def wanted_disks(wanted: Wanted) -> tuple[WantedDisk, ...]:
    """Return every disk in the order of their names: root, ephemerals, swap, others, volumes."""
    given = [disk for disk in wanted.block_devices if not disk.is_root]
    blank = [disk for disk in given if disk.source_type == SourceType.BLANK]
    return (
        _root(wanted),
        *(_blank(size * GIB, "ext4") for size in wanted.ephemeral_gb),
        *(disk for disk in blank if disk.guest_format != "swap"),
        *(_blank(size * MIB, "swap") for size in (wanted.swap_mb,) if size is not None),
        *(disk for disk in blank if disk.guest_format == "swap"),
        *(disk for disk in given if disk.source_type == SourceType.IMAGE),
        *(disk for disk in given if disk.source_type == SourceType.VOLUME),
    )


def rows_of(
    wanted: Wanted, shape: Shape, properties: Mapping[str, str], facts: Facts
) -> tuple[BlockDevice, ...]:
    """Return a row for each disk, in their order.

    Raises BusUnsupported, DeviceTypeUnsupported, TooManyDevices, NoFreePort.
    """
    disks = wanted_disks(wanted)
    guest = _without_disks(wanted, shape)
    taken = {shown(disk.volume_id) for disk in disks if disk.volume_id is not None}
    rows: list[BlockDevice] = []
    for position, disk in enumerate(disks):
        kind = _kind(disk, facts)
        bus = bus_of(disk, kind, properties, shape)
        spot = place(guest, rows, bus, None, facts.max_disk_devices)
        uuid = draw(_ids(facts.operation, position), taken)
        taken.add(shown(uuid))
        row = _row(wanted, disk, uuid, bus, spot)
        row = replace(row, device_type=kind, serial=given_serial(row.serial, kind))
        rows.append(row if disk.volume_id is None else _of(facts.volumes[disk.volume_id], row))
    return tuple(rows)


def draw(ids: Iterator[BlockDeviceId], taken: Collection[str]) -> BlockDeviceId:
    """Return the first id whose beginning no disk has; a virtio disk shows no more of it."""
    return next(found for found in ids if shown(found) not in taken)


def root_row(operation: OperationId) -> BlockDeviceId:
    """Return the id of the root's row, unless its beginning clashes with a volume's."""
    return next(_ids(operation, 0))


def is_of(operation: OperationId, row: BlockDevice) -> bool:
    """Tell whether the row is the root's of the instance that the operation builds."""
    return row.uuid in islice(_ids(operation, 0), _DRAWS)


_DRAWS = 8
"""More draws than clashes of the first characters could ever take."""


def _ids(operation: OperationId, position: int) -> Iterator[BlockDeviceId]:
    """Of the operation's id, so that a run after a crash draws the same."""
    names = (f"{position}.{attempt}" for attempt in count())
    return (BlockDeviceId(str(uuid5(UUID(operation), name))) for name in names)


def _root(wanted: Wanted) -> WantedDisk:
    given = next((disk for disk in wanted.block_devices if disk.is_root), None)
    root = given or WantedDisk(
        source_type=SourceType.IMAGE, image_id=wanted.image_ref, boot_index=0
    )
    return root if wanted.root_gb is None else replace(root, size=wanted.root_gb * GIB)


def _blank(size: int, filesystem: str) -> WantedDisk:
    return WantedDisk(source_type=SourceType.BLANK, size=size, guest_format=filesystem)


def _without_disks(wanted: Wanted, shape: Shape) -> Guest:
    return Guest(
        instance=wanted.instance_uuid,
        name=wanted.name,
        vm_state=VmState.STOPPED,
        live=None,
        persistent=empty_layout(shape, len(wanted.networks)),
    )


def _kind(disk: WantedDisk, facts: Facts) -> DeviceType:
    if disk.device_type is not None:
        return DeviceType(disk.device_type)
    iso = disk.image_id is not None and facts.images[disk.image_id].format == "iso"
    return DeviceType.CDROM if iso else DeviceType.DISK


def _row(
    wanted: Wanted, disk: WantedDisk, uuid: BlockDeviceId, bus: Bus, spot: Placement
) -> BlockDevice:
    bootable = disk.boot_index is not None and disk.boot_index >= 0
    return BlockDevice(
        uuid=uuid,
        instance=wanted.instance_uuid,
        volume=disk.volume_id,
        device_name=spot.device_name,
        bus=bus,
        alias=alias_of(disk.volume_id or uuid),
        serial=disk.volume_id or uuid,
        address=spot.address,
        unit=spot.unit,
        status=DeviceStatus.ATTACHING,
        source_type=SourceType(disk.source_type),
        image=disk.image_id,
        guest_format=disk.guest_format,
        boot_index=disk.boot_index if bootable else None,
        tag=disk.tag,
        delete_on_termination=disk.volume_id is None or disk.delete_on_termination,
    )


def _of(volume: Volume, row: BlockDevice) -> BlockDevice:
    return replace(
        row,
        volume_size=volume.size_gib,
        volume_type=volume.volume_type,
        multiattach=volume.multiattach,
        encrypted=volume.encrypted,
    )
