"""An instance as it is asked for, before anything is decided."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from worker.model.ids import AttachmentId, ImageId, InstanceId, PortId, VolumeId


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedDisk:
    """One disk: of an image or blank, in a file of this host, or a volume; ``size`` is in bytes.

    The lowest ``boot_index`` is booted from; a negative one is none at all.
    """

    source_type: str
    image_id: ImageId | None = None
    volume_id: VolumeId | None = None
    attachment_id: AttachmentId | None = None
    size: int | None = None
    boot_index: int | None = None
    tag: str | None = None
    disk_bus: str | None = None
    device_type: str | None = None
    guest_format: str | None = None
    delete_on_termination: bool = False

    @property
    def is_root(self) -> bool:
        """Whether the guest is to boot from it first."""
        return self.boot_index == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedNetwork:
    """One network interface; a MAC that is not given is made of the port's id."""

    port_id: PortId
    kind: str
    target: str | None = None
    mac: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An instance: ``memory_mb`` and ``swap_mb`` in MiB, ``root_gb`` and ``ephemeral_gb`` in GiB.

    ``root_gb`` is the size of the root disk that is made of ``image_ref``; without it the disk is
    as large as the image.
    """

    instance_uuid: InstanceId
    name: str
    vcpus: int
    memory_mb: int
    image_ref: ImageId | None = None
    root_gb: int | None = None
    ephemeral_gb: tuple[int, ...] = ()
    swap_mb: int | None = None
    block_devices: tuple[WantedDisk, ...] = ()
    config_drive: bool = False
    machine_type: str | None = None
    firmware: str | None = None
    networks: tuple[WantedNetwork, ...] = ()
    kernel_id: ImageId | None = None
    ramdisk_id: ImageId | None = None
    command_line: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    project_id: str | None = None
    user_id: str | None = None
