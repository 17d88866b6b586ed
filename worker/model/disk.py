"""A disk as the hypervisor is asked to plug it in."""

from dataclasses import dataclass, replace

from worker.model.block_device import BlockDevice, Bus, DeviceType
from worker.model.guest_secret import usage_of
from worker.model.identity.serials import given_serial
from worker.model.places.address import Address
from worker.model.source import DiskOptions, DiskSource, HostVolume


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """Everything ``<disk>`` says; ``alias`` is the handle by which it is found again.

    ``boot_order`` counts from 1, as libvirt's ``<boot order>`` does. ``secret_usage`` is the text
    by which the hypervisor finds the row's secrets; ``encrypted`` content is LUKS, opened by QEMU.
    """

    alias: str
    target: str
    bus: Bus
    device_type: DeviceType
    serial: str | None
    address: Address | None
    source: DiskSource
    options: DiskOptions
    boot_order: int | None = None
    secret_usage: str | None = None
    encrypted: bool = False

    @property
    def given_serial(self) -> str | None:
        """The serial that the guest's device has; None where QEMU's has none."""
        return given_serial(self.serial, self.device_type)


def disk_of(device: BlockDevice, volume: HostVolume) -> Disk:
    """Join what the row decided with where the volume, or the file, is on this host."""
    shareable = volume.options.shareable or device.multiattach
    read_only = volume.options.read_only or device.device_type is DeviceType.CDROM
    return Disk(
        alias=device.alias,
        target=device.target,
        bus=device.bus,
        device_type=device.device_type,
        serial=device.serial,
        address=device.address,
        source=volume.source,
        options=replace(volume.options, shareable=shareable, read_only=read_only),
        boot_order=None if device.boot_index is None else device.boot_index + 1,
        secret_usage=usage_of(device.instance, device.uuid) if volume.secrets else None,
        encrypted=volume.encrypted,
    )
