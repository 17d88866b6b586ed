"""What an instance is made of, as it was decided when it was built.

Frozen with the instance: a default that changes later, of ours or of an image, never renames a
disk or changes what a guest sees.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from worker.model.ids import BlockDeviceId, ImageId, PortId
from worker.model.source import DiskFormat


class Firmware(StrEnum):
    """What a guest is started by."""

    BIOS = "bios"
    UEFI = "uefi"


class InterfaceKind(StrEnum):
    """How an interface is joined to the host's network.

    One that other hands joined in another way is kept, listed and detached, and never made by us.
    """

    BRIDGE = "bridge"
    TAP = "tap"
    USER = "user"
    OTHER = "other"


MADE = frozenset(InterfaceKind) - {InterfaceKind.OTHER}
"""The ways in which we join one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What decides which buses a machine has, and how many places are on them.

    ``machine_type`` is a name that QEMU knows (``q35``, ``pc``, ``pc-q35-7.2``); ``scsi_model``
    is None where there is no scsi controller; ``pcie_ports`` counts for q35 only.
    """

    machine_type: str = "q35"
    scsi_model: str | None = "virtio-scsi"
    usb: bool = True
    floppy: bool = False
    pcie_ports: int = 24

    @property
    def pcie(self) -> bool:
        """Whether the machine has PCI Express, and thus ports, and no IDE."""
        return "q35" in self.machine_type


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalDisk:
    """A disk that is a file of this host; ``size`` is in bytes.

    Its content is an image's, or blank; ``filesystem`` is what a blank one is formatted as
    (``swap``, ``ext4``, ``vfat``), None for nothing.
    """

    uuid: BlockDeviceId
    size: int
    image: ImageId | None = None
    format: DiskFormat = DiskFormat.QCOW2
    filesystem: str | None = None
    discard: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """A network interface; ``target`` is the bridge or tap of this host, None in user mode.

    Without a ``port`` it is one of a guest that was adopted: nobody named it.
    """

    port: PortId | None
    kind: InterfaceKind
    mac: str
    target: str | None = None
    model: str = "virtio"


@dataclass(frozen=True, slots=True, kw_only=True)
class Specification:
    """An instance as it was built; ``memory`` is in MiB.

    ``image`` is that of the root disk, if it has one; ``image_properties`` are those that bore on
    a choice (``hw_disk_bus``), as they were. With a ``kernel`` the guest is started without
    firmware.
    """

    vcpus: int
    memory: int
    shape: Shape = Shape()
    firmware: Firmware = Firmware.BIOS
    image: ImageId | None = None
    image_properties: Mapping[str, str] = field(default_factory=dict)
    disks: tuple[LocalDisk, ...] = ()
    interfaces: tuple[Interface, ...] = ()
    config_drive: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)
    kernel: ImageId | None = None
    ramdisk: ImageId | None = None
    command_line: str = ""

    def disk(self, uuid: BlockDeviceId) -> LocalDisk | None:
        """Return the local disk of a row."""
        return next((disk for disk in self.disks if disk.uuid == uuid), None)
