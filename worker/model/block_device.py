"""The row: one disk of one instance, as the worker remembers it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from worker.model.address import Address
from worker.model.connection import Connection
from worker.model.ids import AttachmentId, BlockDeviceId, InstanceId, VolumeId


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


class DeviceStatus(StrEnum):
    """Where a block device is between reserved and gone."""

    RESERVED = "reserved"
    ATTACHING = "attaching"
    ATTACHED = "attached"
    DETACHING = "detaching"
    MISSING = "missing"
    ERROR = "error"


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

    ``device_name`` is a full path (``/dev/vdb``) as the table has always kept it; ``target`` is
    the bare name that libvirt uses. ``unit`` is set on the scsi bus only.
    """

    uuid: BlockDeviceId
    instance: InstanceId
    volume: VolumeId
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
    volume_size: int | None = None
    volume_type: str | None = None
    boot_index: int | None = None
    tag: str | None = None
    multiattach: bool = False
    encrypted: bool = False
    delete_on_termination: bool = False
    deleted: bool = False
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def target(self) -> str:
        """The name without its folder, as libvirt's ``<target dev>`` has it."""
        return self.device_name.removeprefix("/dev/")

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
            "volume_size": self.volume_size,
            "boot_index": self.boot_index,
            "tag": self.tag,
            "multiattach": self.multiattach,
            "encrypted": self.encrypted,
            "delete_on_termination": self.delete_on_termination,
        }
