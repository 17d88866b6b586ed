"""The row: one disk of one instance, as the worker remembers it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from worker.errors import NoVolume
from worker.model.connection import Connection
from worker.model.ids import AttachmentId, BlockDeviceId, ImageId, InstanceId, VolumeId
from worker.model.places.address import Address
from worker.model.swap import Swap


class Bus(StrEnum):
    """The buses a disk may sit on (libvirt's ``<target bus>``)."""

    VIRTIO = "virtio"
    SCSI = "scsi"
    SATA = "sata"
    USB = "usb"
    IDE = "ide"
    FDC = "fdc"


class DeviceType(StrEnum):
    """What the guest takes the disk for (libvirt's ``<disk device>``)."""

    DISK = "disk"
    CDROM = "cdrom"
    FLOPPY = "floppy"
    LUN = "lun"


class SourceType(StrEnum):
    """What the disk's first content is (the table's ``source_type``)."""

    VOLUME = "volume"
    IMAGE = "image"
    BLANK = "blank"


class DeviceStatus(StrEnum):
    """Where a block device is between reserved and gone."""

    RESERVED = "reserved"
    ATTACHING = "attaching"
    ATTACHED = "attached"
    DETACHING = "detaching"
    MISSING = "missing"
    ERROR = "error"


ATTACH_BEGUN = (DeviceStatus.ATTACHING, DeviceStatus.ERROR)
DETACH_BEGUN = (DeviceStatus.DETACHING, DeviceStatus.ERROR)
"""What a row may be when its attach, or detach, is run again after a crash, or retried."""

LEGAL_MOVES: Mapping[DeviceStatus, frozenset[DeviceStatus]] = {
    DeviceStatus.RESERVED: frozenset({DeviceStatus.ATTACHING, DeviceStatus.ERROR}),
    DeviceStatus.ATTACHING: frozenset({DeviceStatus.ATTACHED, DeviceStatus.ERROR}),
    DeviceStatus.ATTACHED: frozenset(
        {DeviceStatus.DETACHING, DeviceStatus.MISSING, DeviceStatus.ERROR}
    ),
    DeviceStatus.DETACHING: frozenset({DeviceStatus.ATTACHED, DeviceStatus.ERROR}),
    DeviceStatus.MISSING: frozenset({DeviceStatus.ATTACHED, DeviceStatus.DETACHING}),
    DeviceStatus.ERROR: frozenset(
        {DeviceStatus.ATTACHING, DeviceStatus.ATTACHED, DeviceStatus.DETACHING}
    ),
}
"""Which status may follow which; a row is removed from any of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockDevice:
    """One row of ``block_device_mapping``; ``volume_size`` is in GiB, rounded up.

    It stands for a volume, or for a local disk: one whose content is a file of this host, without
    a ``volume``. ``guest_format`` is what a blank disk was formatted as (``swap``, ``ext4``).

    ``swap`` is the other side of a volume that gives its place to another one.

    ``device_name`` is a full path (``/dev/vdb``) as the table has always kept it; ``target`` is
    the bare name that libvirt uses. ``unit`` is set on the scsi bus only. ``wwid`` is who the
    volume's device said that it is when it was first connected for this row; None if it said
    nothing that is its own.
    """

    uuid: BlockDeviceId
    instance: InstanceId
    volume: VolumeId | None
    device_name: str
    bus: Bus
    device_type: DeviceType = DeviceType.DISK
    alias: str
    serial: str | None
    address: Address | None
    unit: int | None = None
    status: DeviceStatus = DeviceStatus.RESERVED
    attachment: AttachmentId | None = None
    connection: Connection | None = None
    swap: Swap | None = None
    source_type: SourceType = SourceType.VOLUME
    image: ImageId | None = None
    guest_format: str | None = None
    volume_size: int | None = None
    volume_type: str | None = None
    boot_index: int | None = None
    tag: str | None = None
    multiattach: bool = False
    encrypted: bool = False
    wwid: str | None = None
    delete_on_termination: bool = False
    deleted: bool = False
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def target(self) -> str:
        """The name without its folder, as libvirt's ``<target dev>`` has it."""
        return self.device_name.removeprefix("/dev/")

    @property
    def local(self) -> bool:
        """Whether its content is a file of this host."""
        return self.volume is None

    @property
    def its_volume(self) -> VolumeId:
        """The volume that it stands for; raises NoVolume for a local disk."""
        if self.volume is None:
            message = (
                f"block device {self.uuid} is a local disk, no volume; it goes with its instance"
            )
            raise NoVolume(message)
        return self.volume

    def public(self) -> dict[str, str | int | bool | None]:
        """Return the fields that may leave the worker: everything but the connection."""
        return {
            "uuid": self.uuid,
            "instance_uuid": self.instance,
            "volume_id": self.volume,
            "attachment_id": self.attachment,
            "device_name": self.device_name,
            "disk_bus": self.bus.value,
            "device_type": self.device_type.value,
            "alias": self.alias,
            "serial": self.serial,
            "address": None if self.address is None else str(self.address),
            "unit": self.unit,
            "status": self.status.value,
            "source_type": self.source_type.value,
            "destination_type": "local" if self.local else "volume",
            "image_id": self.image,
            "guest_format": self.guest_format,
            "volume_size": self.volume_size,
            "boot_index": self.boot_index,
            "tag": self.tag,
            "multiattach": self.multiattach,
            "encrypted": self.encrypted,
            "delete_on_termination": self.delete_on_termination,
        }
