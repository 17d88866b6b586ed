"""From an instance that is asked for to what is kept of it: specification and rows.

Pure: the same request and the same facts make the same plan, so that a run after a crash plans
what the first one did. Everything that can be refused is refused here or before.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from uuid import UUID, uuid5

from worker.model.block_device import BlockDevice, DeviceStatus, DeviceType
from worker.model.build.checks import SECTOR, refuse
from worker.model.build.disks import Facts, rows_of, wanted_disks
from worker.model.build.networks import interface_of
from worker.model.build.shape import (
    discard_of,
    firmware_of,
    honoured,
    shape_of,
)
from worker.model.build.wanted import Wanted, WantedDisk
from worker.model.ids import ImageId, InstanceId, OperationId, PeripheralId
from worker.model.image import GIB, Image, ImageFile
from worker.model.peripheral import Peripheral
from worker.model.peripheral_rows import rows_of_specification
from worker.model.source import DiskFormat
from worker.model.specification import LocalDisk, Specification

UNKNOWN = 0
"""The size of a disk that is as large as its image, until the image is here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is frozen with the instance, and a row for each of its disks, the root first.

    And one for each of its interfaces, in their order.
    """

    specification: Specification
    rows: tuple[BlockDevice, ...]
    interfaces: tuple[Peripheral, ...] = ()


def images_of(wanted: Wanted) -> frozenset[ImageId]:
    """Return the images that the disks are made of."""
    found = (disk.image_id for disk in wanted_disks(wanted))
    return frozenset(image for image in found if image is not None)


def planned(wanted: Wanted, facts: Facts) -> Plan:
    """Decide everything but the size of a disk that is as large as its image.

    Raises SpecificationInvalid, BusUnsupported, DeviceTypeUnsupported, TooManyDevices,
    NoFreePort.
    """
    disks = wanted_disks(wanted)
    image = None if disks[0].image_id is None else facts.images[disks[0].image_id]
    properties = honoured(image)
    _check_memory(wanted, image)
    shape = shape_of(wanted, properties, disks)
    rows = rows_of(wanted, shape, properties, facts)
    card = properties.get("hw_vif_model", "virtio")
    specification = Specification(
        vcpus=wanted.vcpus,
        memory=wanted.memory_mb,
        shape=shape,
        firmware=firmware_of(wanted, properties),
        image=disks[0].image_id,
        image_properties=properties,
        disks=tuple(_local_disks(disks, rows, properties, facts)),
        interfaces=tuple(interface_of(network, card) for network in wanted.networks),
        config_drive=wanted.config_drive or properties.get("img_config_drive") == "mandatory",
        metadata=dict(wanted.metadata),
    )
    return Plan(
        specification=_with_kernel(wanted, properties, specification),
        rows=rows,
        interfaces=interfaces_of(facts.operation, wanted.instance_uuid, specification),
    )


def sized(plan: Plan, files: Mapping[ImageId, ImageFile], images: Mapping[ImageId, Image]) -> Plan:
    """Return the plan with each size as its image needs it; raises SpecificationInvalid."""
    kinds = {row.uuid: row.device_type for row in plan.rows}
    disks = tuple(
        disk
        if disk.image is None
        else _sized(disk, kinds[disk.uuid], files[disk.image], images[disk.image])
        for disk in plan.specification.disks
    )
    sizes = {disk.uuid: _gib(disk.size) for disk in disks}
    rows = (replace(row, volume_size=sizes.get(row.uuid, row.volume_size)) for row in plan.rows)
    return replace(plan, specification=replace(plan.specification, disks=disks), rows=tuple(rows))


def interfaces_of(
    operation: OperationId, instance: InstanceId, specification: Specification
) -> tuple[Peripheral, ...]:
    """Return a row for each interface, the same ones each time; raises NoFreePort."""
    rows = rows_of_specification(instance, specification, partial(_interface_row, operation))
    return tuple(replace(row, status=DeviceStatus.ATTACHING) for row in rows)


def _interface_row(operation: OperationId, port: str) -> PeripheralId:
    return PeripheralId(str(uuid5(UUID(operation), port)))


def _check_memory(wanted: Wanted, image: Image | None) -> None:
    if image is not None and wanted.memory_mb < image.min_memory:
        raise refuse(f"memory_mb is {wanted.memory_mb}; image {image.id} wants {image.min_memory}")


def _with_kernel(
    wanted: Wanted, properties: Mapping[str, str], specification: Specification
) -> Specification:
    """An image of a root filesystem alone names the kernel and ramdisk that it needs."""
    kernel = wanted.kernel_id or properties.get("kernel_id")
    if not kernel:
        return specification
    ramdisk = wanted.ramdisk_id or properties.get("ramdisk_id")
    return replace(
        specification,
        kernel=ImageId(kernel),
        ramdisk=ImageId(ramdisk) if ramdisk else None,
        command_line=wanted.command_line or properties.get("os_command_line", ""),
    )


def _local_disks(
    disks: tuple[WantedDisk, ...],
    rows: tuple[BlockDevice, ...],
    properties: Mapping[str, str],
    facts: Facts,
) -> Iterator[LocalDisk]:
    discard = discard_of(properties)
    for disk, row in zip(disks, rows, strict=True):
        if not row.local:
            continue
        if disk.image_id is not None:
            _check_least(disk, facts.images[disk.image_id])
        local = LocalDisk(
            uuid=row.uuid,
            size=disk.size or UNKNOWN,
            image=disk.image_id,
            format=facts.local_format,
            filesystem=disk.guest_format,
            discard=discard,
        )
        yield local if row.device_type is DeviceType.DISK else _removable(local)


def _removable(disk: LocalDisk) -> LocalDisk:
    """A CD or floppy is as large as what is on it."""
    size = disk.size if disk.image is None else UNKNOWN
    return replace(disk, size=size, format=DiskFormat.RAW, discard=None)


def _check_least(disk: WantedDisk, image: Image) -> None:
    if disk.size is not None and disk.size < image.min_disk * GIB:
        raise refuse(
            f"a disk of {disk.size} bytes is too small: image {image.id} wants {image.min_disk} GiB"
        )


def _sized(disk: LocalDisk, kind: DeviceType, file: ImageFile, image: Image) -> LocalDisk:
    if disk.size == UNKNOWN:
        least = image.min_disk * GIB if kind is DeviceType.DISK else 0
        return replace(disk, size=max(-(-file.virtual_size // SECTOR) * SECTOR, least))
    if disk.size < file.virtual_size:
        raise refuse(
            f"a disk of {disk.size} bytes is too small: image {image.id} has {file.virtual_size}"
        )
    return disk


def _gib(size: int) -> int:
    return -(-size // GIB)
