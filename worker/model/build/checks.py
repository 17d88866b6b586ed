"""What of an instance that is asked for can be refused by its words alone."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from worker.errors import DeviceTypeUnsupported, SpecificationInvalid, TagTaken
from worker.model.block_device import DeviceType, SourceType
from worker.model.build.networks import fault_in
from worker.model.build.wanted import Wanted, WantedDisk, WantedNetwork
from worker.model.identity.serials import shown
from worker.model.places.names import parse_bus
from worker.model.tags import is_tag

FILESYSTEMS = ("swap", "ext4", "vfat")
SECTOR = 512
MAX_BOOT_INDEX = 1000
_NAME_BYTES = 200
_NAME = re.compile(r"[^\x00-\x1f\x7f/\s](?:[^\x00-\x1f\x7f/]*[^\x00-\x1f\x7f/\s])?")
_LINE = re.compile(r"[^\x00-\x1f\x7f]*")


def check_wanted(wanted: Wanted) -> None:
    """Raise SpecificationInvalid, TagTaken, BusUnsupported or DeviceTypeUnsupported.

    The message names the field, or the disk by its place in the list.
    """
    _check_plain_fields(wanted)
    for place, disk in enumerate(wanted.block_devices):
        _check_disk(f"block_devices[{place}]", disk)
    for place, network in enumerate(wanted.networks):
        _check_network(f"networks[{place}]", network)
    _check_root(wanted)
    _check_unlike(wanted)


def refuse(message: str) -> SpecificationInvalid:
    """Return the error that says what cannot be."""
    return SpecificationInvalid(message)


def _check_plain_fields(wanted: Wanted) -> None:
    if _NAME.fullmatch(wanted.name) is None or len(wanted.name.encode()) > _NAME_BYTES:
        raise refuse(f"name is none: 1 to {_NAME_BYTES} bytes, no slash, no control character")
    for field, number in _numbers(wanted):
        if number is not None and number <= 0:
            raise refuse(f"{field} is {number}; a positive number is meant")
    if wanted.ramdisk_id is not None and wanted.kernel_id is None:
        raise refuse("ramdisk_id is given without kernel_id")
    if _LINE.fullmatch(wanted.command_line or "") is None:
        raise refuse("command_line is no single line of text")


def _numbers(wanted: Wanted) -> Iterator[tuple[str, int | None]]:
    yield "vcpus", wanted.vcpus
    yield "memory_mb", wanted.memory_mb
    yield "root_gb", wanted.root_gb
    yield "swap_mb", wanted.swap_mb
    for place, size in enumerate(wanted.ephemeral_gb):
        yield f"ephemeral_gb[{place}]", size


def _check_disk(name: str, disk: WantedDisk) -> None:
    if disk.source_type not in set(SourceType):
        raise refuse(f"{name}.source_type is none of {', '.join(SourceType)}")
    _check_source(name, disk)
    if disk.size is not None and (disk.size <= 0 or disk.size % SECTOR):
        raise refuse(f"{name}.size is {disk.size}; a positive multiple of {SECTOR} bytes is meant")
    if disk.boot_index is not None and disk.boot_index > MAX_BOOT_INDEX:
        raise refuse(f"{name}.boot_index is above {MAX_BOOT_INDEX}")
    if disk.tag is not None and not is_tag(disk.tag):
        raise refuse(f"{name}.tag is none: 1 to 60 characters, no slash, no comma")
    if disk.disk_bus is not None:
        parse_bus(disk.disk_bus)
    _check_device_type(name, disk)


_FIELDS = {
    SourceType.IMAGE: ("image_id", ("attachment_id", "guest_format", "volume_id")),
    SourceType.VOLUME: ("volume_id", ("guest_format", "image_id", "size")),
    SourceType.BLANK: ("size", ("attachment_id", "image_id", "volume_id")),
}
"""The field that a source needs, and those that say nothing of it."""


def _check_source(name: str, disk: WantedDisk) -> None:
    """Each source has the field that says which, and none of another's."""
    needed, strange = _FIELDS[SourceType(disk.source_type)]
    if getattr(disk, needed) is None:
        raise refuse(f"{name}.{needed} is needed by a disk of source {disk.source_type}")
    for field in strange:
        if getattr(disk, field) is not None:
            raise refuse(f"{name}.{field} says nothing of a disk of source {disk.source_type}")
    if disk.guest_format is not None and disk.guest_format not in FILESYSTEMS:
        raise refuse(f"{name}.guest_format is none of {', '.join(FILESYSTEMS)}")


def _check_device_type(name: str, disk: WantedDisk) -> None:
    kind = disk.device_type
    if kind is None or kind in (DeviceType.DISK, DeviceType.CDROM, DeviceType.FLOPPY):
        return
    message = f"{name}.device_type is none of disk, cdrom, floppy"
    raise DeviceTypeUnsupported(message)


def _check_network(name: str, network: WantedNetwork) -> None:
    fault = fault_in(network)
    if fault is not None:
        raise refuse(f"{name}.{' '.join(fault)}")


def _check_root(wanted: Wanted) -> None:
    roots = [disk for disk in wanted.block_devices if disk.is_root]
    if wanted.image_ref is None and not roots:
        raise refuse("nothing to boot from: neither an image_ref nor a disk with boot_index 0")
    others = [disk for disk in roots if disk.image_id is None or disk.image_id != wanted.image_ref]
    if len(roots) > 1 or (wanted.image_ref is not None and others):
        raise refuse("two disks have boot_index 0, that of image_ref counted")
    if wanted.root_gb is None or not roots:
        return
    if roots[0].source_type != SourceType.IMAGE or roots[0].size is not None:
        raise refuse("root_gb is given, and the disk with boot_index 0 has a size of its own")


def _check_unlike(wanted: Wanted) -> None:
    disks = wanted.block_devices
    tag = _twice(disk.tag for disk in disks)
    if tag is not None:
        message = f"tag {tag!r} is given to two disks"
        raise TagTaken(message)
    order = [disk.boot_index for disk in disks if disk.boot_index is not None]
    for what, name in (
        (_twice(str(index) for index in order if index > 0), "boot_index"),
        (_twice(disk.volume_id for disk in disks), "volume"),
        (_twice(disk.attachment_id for disk in disks), "attachment"),
        (_twice(network.port_id for network in wanted.networks), "port"),
    ):
        if what is not None:
            raise refuse(f"{name} {what} is given twice")
    _check_first_characters(disks)


def _check_first_characters(disks: Sequence[WantedDisk]) -> None:
    serials = (shown(disk.volume_id) for disk in disks if disk.volume_id is not None)
    begin = _twice(serials)
    if begin is not None:
        raise refuse(f"two volumes' ids begin with {begin}, all that a guest may see of a serial")


def _twice(values: Iterable[str | None]) -> str | None:
    counted = Counter(value for value in values if value is not None)
    return next((value for value, count in counted.items() if count > 1), None)
