"""From an instance and an image to the rescue: pure, so that it can be shown before it is done.

Everything that can be refused by the looks of guest and image is refused here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from uuid import UUID, uuid5

from worker.errors import NoFreePort, NotRescuable
from worker.model.block_device import BlockDevice, Bus, DeviceStatus, DeviceType
from worker.model.build.disks import draw
from worker.model.disk import Disk
from worker.model.guest import Guest, GuestDisk, Layout
from worker.model.identity.alias import config_drive_alias
from worker.model.identity.serials import given_serial, shown
from worker.model.ids import BlockDeviceId, ImageId, OperationId
from worker.model.image import GIB, Image, ImageFile
from worker.model.instance import Instance
from worker.model.machine import Kernel
from worker.model.peripheral import Peripheral
from worker.model.places.address import first_free
from worker.model.places.names import choose_target
from worker.model.places.placement import place_last
from worker.model.rescue.choice import Choice, chosen
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a rescue is planned from; ``rows`` and ``peripherals`` are the live ones."""

    operation: OperationId
    instance: Instance
    guest: Guest
    rows: Sequence[BlockDevice]
    peripherals: Sequence[Peripheral]
    image: Image
    settings: RescueSettings
    local_format: DiskFormat = DiskFormat.QCOW2


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
    layout = _persistent(known.guest)
    _check_rows(known.rows)
    choice = chosen(known.image, _own_properties(known.instance), layout.machine)
    if choice.mode is Mode.STABLE:
        return _with_kernel(_stable(choice, known), known)
    return _with_kernel(_legacy(choice, layout, known), known)


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


def _persistent(guest: Guest) -> Layout:
    if guest.persistent is None:
        message = f"the hypervisor forgets domain {guest.name} when it is off"
        raise NotRescuable(message)
    return guest.persistent


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


def _stable(choice: Choice, known: Known) -> Rescue:
    place = place_last(known.guest, known.rows, known.peripherals, choice.bus)
    spot = Spot(target=place.device_name.removeprefix("/dev/"), address=place.address)
    return _rescue(choice, spot, known)


def _legacy(choice: Choice, layout: Layout, known: Known) -> Rescue:
    """The rescue disk takes the root's place; a root that is no disk keeps its own."""
    root = _root(layout, known)
    kept = tuple(disk.target for disk in layout.disks if _stays(disk, root, known.instance))
    if root.device not in (DeviceType.DISK, DeviceType.LUN):
        return replace(_stable(choice, known), kept=kept)
    choice = replace(choice, bus=Bus(root.bus))
    spot = Spot(target=root.target, address=root.address)
    moved = {root.target: _second(root, kept, layout, known)}
    return replace(_rescue(choice, spot, known), kept=kept, moved=moved)


def _stays(disk: GuestDisk, root: GuestDisk, instance: Instance) -> bool:
    return disk == root or disk.alias == config_drive_alias(instance.uuid)


def _root(layout: Layout, known: Known) -> GuestDisk:
    """Return the disk that the guest boots from: by our row, by boot order, or the first."""
    names = {row.target for row in known.rows if row.boot_index == 0}
    by_row = [disk for disk in layout.disks if disk.target in names]
    ordered = sorted(
        (disk for disk in layout.disks if disk.boot_order is not None),
        key=lambda disk: disk.boot_order or 0,
    )
    hard = [disk for disk in layout.disks if disk.device in (DeviceType.DISK, DeviceType.LUN)]
    found = next(iter((*by_row, *ordered, *hard, *layout.disks)), None)
    if found is None:
        message = f"instance {known.instance.uuid} has no disk"
        raise NotRescuable(message)
    return found


def _second(root: GuestDisk, kept: Sequence[str], layout: Layout, known: Known) -> Spot:
    """Return where the root is in rescue: behind the place that it has given up."""
    bus = Bus(root.bus)
    offered = layout.places.get(bus, ())
    behind = offered[offered.index(root.address) + 1 :] if root.address in offered else offered
    rows: list[BlockDevice | Peripheral] = [*known.rows, *known.peripherals]
    reserved = {each.address for each in rows if each.address is not None}
    free = first_free((*behind, *offered), layout.taken | reserved)
    if free is None:
        message = f"instance {known.instance.uuid} has no second place on bus {bus} for its root"
        raise NoFreePort(message)
    return Spot(target=choose_target(bus, None, kept), address=free)


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
