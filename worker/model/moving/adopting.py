"""What a guest of other hands becomes in our rows: pure, from its layout and what is known of it.

A disk is a volume's if two facts agree: serial and source, or source and target; else it is local.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from worker.model.block_device import BlockDevice, Bus, DeviceStatus, DeviceType, SourceType
from worker.model.guest import Guest, GuestDisk
from worker.model.identity.alias import alias_of
from worker.model.identity.marking import marks_of
from worker.model.identity.marks import Adoption, Former, Marks
from worker.model.identity.serials import drawn, has_serial, serial_for
from worker.model.ids import BlockDeviceId, InstanceId, VolumeId
from worker.model.peripheral import Peripheral
from worker.model.places.address import DriveAddress
from worker.model.volume import Attachment, Volume

CONFIG_DRIVE_LABEL = "config-2"
"""By which a guest finds the config drive that any cloud gave it."""

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The volume behind a disk, and the attachment by which the instance holds it, if any."""

    volume: Volume
    attachment: Attachment | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of where a volume would be: its source on this host, and its last target."""

    volume: VolumeId
    source: str | None = None
    target: str | None = None

    def agree(self, disk: GuestDisk) -> bool:
        """Tell whether two facts say that the disk is the volume's."""
        if disk.source is None:
            return False
        source = disk.source == self.source or self.volume in _UUID.findall(disk.source)
        return source and (disk.serial == self.volume or disk.target == self.target)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """A disk that becomes a row; ``former`` are the marks that it has by now."""

    row: BlockDevice
    former: Marks
    held: Held | None = None

    @property
    def remarked(self) -> bool:
        """Whether the row gives the disk other marks than it has."""
        return Marks(alias=self.row.alias, serial=self.row.serial) != self.former


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that an adoption would do; ``left_out`` says of a target why it becomes no row.

    ``autostart`` is whether the hypervisor starts the guest by itself. ``peripherals`` are the rows
    of its interfaces and host devices.
    """

    adopted: tuple[Adopted, ...]
    left_out: Mapping[str, str]
    transient: bool
    autostart: bool
    peripherals: tuple[Peripheral, ...] = ()

    @property
    def adoption(self) -> Adoption:
        """What is kept of how it was."""
        former = (Former(device=one.row.uuid, marks=one.former) for one in self.adopted)
        return Adoption(former=tuple(former), autostart=self.autostart, peripherals=True)

    @property
    def marks(self) -> bool:
        """Whether the persistent layout, if there is one, is to be changed."""
        wanted = bool(self.peripherals) or any(one.remarked for one in self.adopted)
        return wanted and not self.transient

    @property
    def taken_off_autostart(self) -> bool:
        """Whether the hypervisor is to start it no more, for it holds volumes."""
        return self.autostart and any(not one.row.local for one in self.adopted)

    def public(self) -> dict[str, object]:
        """Return what is told of it, disk by disk."""
        return {
            "takes_effect": self._effect(),
            "taken_off_autostart": self.taken_off_autostart,
            "block_devices": [self._public(one) for one in self.adopted],
            "peripherals": [dict(one.public()) for one in self.peripherals],
            "left_out": dict(self.left_out),
        }

    def _public(self, one: Adopted) -> dict[str, object]:
        return {
            **one.row.public(),
            "former_alias": one.former.alias,
            "former_serial": one.former.serial,
            "written": one.remarked and not self.transient,
        }

    def _effect(self) -> str:
        if self.transient:
            return "never: the domain is transient, so nothing is written"
        if self.marks:
            return "at the next cold start: a running guest keeps what it has"
        return "at once: nothing had to be written"


def candidates(disk: GuestDisk, attachments: Iterable[Attachment]) -> tuple[VolumeId, ...]:
    """Return the volumes that the disk may be, the likeliest first."""
    named = [VolumeId(one) for text in (disk.serial, disk.source) for one in _uuids(text)]
    return tuple(dict.fromkeys([*named, *(held.volume for held in attachments)]))


def disks_of(guest: Guest) -> tuple[GuestDisk, ...]:
    """Return the disks of the next start, or of the only one that a transient guest has."""
    layout = guest.persistent or guest.live
    return () if layout is None else layout.disks


def plan(
    guest: Guest, held: Mapping[str, Held], config_drives: frozenset[str], *, autostart: bool
) -> Plan:
    """Return what adopting its disks does; ``held`` and ``config_drives`` are by target."""
    disks = disks_of(guest)
    left_out = {disk.target: why for disk in disks if (why := _why_not(disk, config_drives))}
    wanted = [disk for disk in disks if disk.target not in left_out]
    root = _root(wanted)
    serials = [disk.serial for disk in disks if disk.serial]
    adopted = []
    for disk in wanted:
        row = _row(guest.instance, disk, held.get(disk.target), root, serials)
        serials += [row.uuid] if row.serial is None else [row.serial]
        adopted.append(Adopted(row=row, former=marks_of(disk), held=held.get(disk.target)))
    return Plan(
        adopted=_with_units(adopted),
        left_out=left_out,
        transient=guest.persistent is None,
        autostart=autostart,
    )


def _uuids(text: str | None) -> list[str]:
    return _UUID.findall(text or "")


def _why_not(disk: GuestDisk, config_drives: frozenset[str]) -> str | None:
    if disk.target in config_drives:
        return "it is a config drive"
    if disk.bus not in set(Bus) or disk.device not in set(DeviceType):
        return f"a {disk.device} on bus {disk.bus or '(none)'} is unknown here"
    return None


def _root(disks: list[GuestDisk]) -> str | None:
    """Where nothing says what is booted from, a firmware takes the first disk."""
    ordered = [disk for disk in disks if disk.boot_order is not None]
    first = next((disk.target for disk in disks if disk.device == DeviceType.DISK), None)
    return None if ordered else first


def _row(
    instance: InstanceId,
    disk: GuestDisk,
    held: Held | None,
    root: str | None,
    serials: Sequence[str],
) -> BlockDevice:
    kind = DeviceType(disk.device)
    volume = None if held is None else held.volume.id
    uuid, serial = _marks(disk, kind, volume, serials)
    row = BlockDevice(
        uuid=uuid,
        instance=instance,
        volume=volume,
        device_name=f"/dev/{disk.target}",
        bus=Bus(disk.bus),
        device_type=kind,
        alias=alias_of(volume or uuid),
        serial=serial,
        address=disk.address,
        status=DeviceStatus.ATTACHED,
        source_type=SourceType.BLANK if held is None else SourceType.VOLUME,
        boot_index=_boot_index(disk, root),
    )
    return row if held is None else _of_volume(row, held)


def _marks(
    disk: GuestDisk, kind: DeviceType, volume: VolumeId | None, serials: Sequence[str]
) -> tuple[BlockDeviceId, str | None]:
    """Return the row's id and the disk's serial: the one that it has, or one unlike all others."""
    if disk.serial or not has_serial(kind):
        return drawn(serials), disk.serial or None
    if volume is not None:
        return serial_for(volume, None, serials)
    uuid = drawn(serials)
    return uuid, uuid


def _boot_index(disk: GuestDisk, root: str | None) -> int | None:
    if disk.boot_order is not None:
        return disk.boot_order - 1
    return 0 if disk.target == root else None


def _of_volume(row: BlockDevice, held: Held) -> BlockDevice:
    attachment = held.attachment
    connection = None if attachment is None else attachment.connection
    return replace(
        row,
        attachment=None if attachment is None else attachment.id,
        connection=None if connection is None else connection.without_secrets(),
        volume_size=held.volume.size_gib,
        volume_type=held.volume.volume_type,
        multiattach=held.volume.multiattach,
        encrypted=held.volume.encrypted,
    )


def _with_units(adopted: list[Adopted]) -> tuple[Adopted, ...]:
    """A unit is kept once, as the table wants it: of two controllers' the first one's."""
    seen: set[int] = set()
    found = []
    for one in adopted:
        address = one.row.address
        if one.row.bus is Bus.SCSI and isinstance(address, DriveAddress):
            unit = None if address.unit in seen else address.unit
            seen.add(address.unit)
            one = replace(one, row=replace(one.row, unit=unit))  # noqa: PLW2901 - the same one
        found.append(one)
    return tuple(found)
