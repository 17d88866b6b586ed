"""From an instance and an image to the rescue: pure, so that it can be shown before it is done.

Everything that can be refused by the looks of guest and image is refused here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from uuid import UUID, uuid5

from worker.errors import NotRescuable
from worker.model.block_device import BlockDevice, DeviceStatus, DeviceType
from worker.model.build.disks import draw
from worker.model.disk import Disk
from worker.model.guest import Guest
from worker.model.identity.serials import given_serial, shown
from worker.model.ids import BlockDeviceId, ImageId
from worker.model.image import GIB, Image, ImageFile
from worker.model.instance import Instance
from worker.model.machine import Kernel
from worker.model.places.names import parse_bus
from worker.model.rescue.choice import Choice, check_content, chosen, mode_of
from worker.model.rescue.known import Known
from worker.model.rescue.spots import (
    HARD,
    last_spot,
    legacy_names,
    legacy_root,
    second_spot,
)
from worker.model.rescue.words import (
    Mode,
    Rescue,
    RescueLayout,
    RescueSettings,
    Spot,
    rescue_alias,
)
from worker.model.source import DiskFormat, DiskSource, HostVolume
from worker.model.specification import LocalDisk

UNKNOWN = 0
"""The size of the rescue disk until the image is here."""


def image_for(wanted: ImageId | None, instance: Instance, settings: RescueSettings) -> ImageId:
    """Return the image that is asked for, the host's default, or the instance's own.

    Raises NotRescuable where there is none.
    """
    own = None if instance.specification is None else instance.specification.image
    found = wanted or settings.image or own
    if found is None:
        message = (
            f"instance {instance.uuid} was made of no image: name a rescue image, or set"
            " rescue_image on this host"
        )
        raise NotRescuable(message)
    return found


def planned(known: Known) -> Rescue:
    """Decide everything but the size of the rescue disk.

    Raises NotRescuable, BusUnsupported, DeviceTypeUnsupported, TooManyDevices, NoFreePort.
    """
    machine = known.layout.machine
    _check_rows(known.rows)
    check_content(known.image)
    if mode_of(known.image) is Mode.LEGACY:
        return _with_kernel(_legacy(known, machine), known)
    return _with_kernel(_last(known, machine), known)


def sized(rescue: Rescue, file: ImageFile, image: Image) -> Rescue:
    """Return the rescue with the size that its disk has of the image."""
    least = image.min_disk * GIB if rescue.device_type is DeviceType.DISK else 0
    return replace(rescue, disk=replace(rescue.disk, size=max(file.virtual_size, least)))


def layout_of(
    rescue: Rescue,
    instance: Instance,
    disk: HostVolume,
    config: DiskSource | None = None,
    kernel: Kernel | None = None,
) -> RescueLayout:
    """Join what was decided with where each part is on this host."""
    return RescueLayout(
        disk=_disk(rescue, instance, disk),
        first=rescue.mode is Mode.LEGACY,
        kept=rescue.kept,
        moved=rescue.moved,
        kernel=kernel,
        config=config,
    )


def in_rescue(guest: Guest) -> bool:
    """Tell whether the guest runs in rescue, by its rescue disk."""
    live = () if guest.live is None else guest.live.disks
    return any(disk.alias == rescue_alias(guest.instance) for disk in live)


def _disk(rescue: Rescue, instance: Instance, volume: HostVolume) -> Disk:
    read_only = volume.options.read_only or rescue.device_type is DeviceType.CDROM
    return Disk(
        alias=rescue_alias(instance.uuid),
        target=rescue.spot.target,
        bus=rescue.bus,
        device_type=rescue.device_type,
        serial=given_serial(rescue.disk.uuid, rescue.device_type),
        address=rescue.spot.address,
        source=volume.source,
        options=replace(volume.options, read_only=read_only),
        boot_order=1,
    )


def _check_rows(rows: Sequence[BlockDevice]) -> None:
    for row in rows:
        if row.status is not DeviceStatus.ATTACHED:
            message = (
                f"block device {row.uuid} ({row.device_name}) is {row.status}: in rescue each disk"
                " is to be there; detach or release it, or bring its volume back"
            )
            raise NotRescuable(message)


def _own_properties(instance: Instance) -> Mapping[str, str]:
    made_as = instance.specification
    return {} if made_as is None else made_as.image_properties


def _last(known: Known, machine: str) -> Rescue:
    choice = chosen(known.image, _own_properties(known.instance), machine)
    return _rescue(choice, last_spot(known, choice.bus), known)


def _legacy(known: Known, machine: str) -> Rescue:
    """The rescue disk takes the root's place; a root that is no hard disk keeps its own."""
    root = legacy_root(known)
    kept = legacy_names(known.layout, root, known.instance.uuid)
    if root.device not in HARD:
        return replace(_last(known, machine), kept=kept)
    bus = parse_bus(root.bus)
    choice = Choice(mode=Mode.LEGACY, device_type=DeviceType.DISK, bus=bus)
    rescue = _rescue(choice, Spot(target=root.target, address=root.address), known)
    return replace(rescue, kept=kept, moved={root.target: second_spot(root, bus, kept, known)})


def _rescue(choice: Choice, spot: Spot, known: Known) -> Rescue:
    return Rescue(
        operation=known.operation,
        image=known.image.id,
        mode=choice.mode,
        disk=_file(choice.device_type, known),
        device_type=choice.device_type,
        bus=choice.bus,
        spot=spot,
        runs=known.guest.live is not None,
    )


def _file(kind: DeviceType, known: Known) -> LocalDisk:
    taken = {shown(row.serial) for row in known.rows if row.serial is not None}
    names = (uuid5(UUID(known.operation), f"rescue.{number}") for number in count())
    return LocalDisk(
        uuid=draw((BlockDeviceId(str(name)) for name in names), taken),
        size=UNKNOWN,
        image=known.image.id,
        format=known.local_format if kind is DeviceType.DISK else DiskFormat.RAW,
    )


def _with_kernel(rescue: Rescue, known: Known) -> Rescue:
    """The image's own kernel, the host's for its default image, the instance's for its own."""
    properties = known.image.properties
    if properties.get("kernel_id"):
        ramdisk = properties.get("ramdisk_id")
        return replace(
            rescue,
            kernel=ImageId(properties["kernel_id"]),
            ramdisk=ImageId(ramdisk) if ramdisk else None,
            command_line=properties.get("os_command_line", ""),
        )
    if known.image.id == known.settings.image and known.settings.kernel is not None:
        return replace(rescue, kernel=known.settings.kernel, ramdisk=known.settings.ramdisk)
    made_as = known.instance.specification
    if made_as is None or made_as.image != known.image.id:
        return rescue
    return replace(
        rescue,
        kernel=made_as.kernel,
        ramdisk=made_as.ramdisk,
        command_line=made_as.command_line,
    )
