"""A volume as its instance's host reaches it by now: asked anew, connected, and looked at."""

from dataclasses import dataclass, replace

from worker.errors import (
    AttachmentMismatch,
    AttachmentNotFound,
    ConnectFailed,
    DeviceTypeUnsupported,
    EncryptionUnsupported,
    KeyNotFound,
    KeysUnavailable,
    NotLuks,
    ProtocolUnsupported,
    VolumeNotFound,
    VolumeServiceUnavailable,
    WrongDevice,
)
from worker.handlers.parts import host_volume
from worker.handlers.parts.attachment_of import checked, connection_of
from worker.model.block_device import BlockDevice
from worker.model.connection import Connection
from worker.model.source import HostVolume
from worker.model.volume import GIB, Attachment
from worker.ports import Ports

UNREACHABLE = (
    AttachmentMismatch,
    AttachmentNotFound,
    ConnectFailed,
    DeviceTypeUnsupported,
    EncryptionUnsupported,
    KeyNotFound,
    KeysUnavailable,
    NotLuks,
    ProtocolUnsupported,
    VolumeNotFound,
    VolumeServiceUnavailable,
    WrongDevice,
)
"""What says that a volume cannot be had, or must not be: it may be another's by now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a volume is reached, and how many bytes it has at the least."""

    connection: Connection
    size: int


class Ways:
    """The ways to the volumes of one guest.

    A volume service that does not answer for one is not asked for the next, and what was known
    last is taken: a host that comes back must not wait for it once a volume.
    """

    def __init__(self, ports: Ports) -> None:
        """Nothing was asked yet."""
        self._ports = ports
        self._away = False

    def to(self, device: BlockDevice) -> Way:
        """Return the way to the row's volume; raises one of UNREACHABLE."""
        if not self._away:
            try:
                return self._asked(device)
            except VolumeServiceUnavailable:
                self._away = True
        return _remembered(device)

    def check(self, device: BlockDevice) -> None:
        """Raise unless the row's attachment is as it was, as far as the service can be asked."""
        try:
            self._attachment(device)
        except VolumeServiceUnavailable:
            self._away = True

    def _asked(self, device: BlockDevice) -> Way:
        attachment = self._attachment(device)
        size = self._ports.volumes.show(device.its_volume).size
        return Way(connection=connection_of(attachment, self._ports), size=size)

    def _attachment(self, device: BlockDevice) -> Attachment:
        if device.attachment is None:
            message = f"block device {device.uuid} has no attachment"
            raise AttachmentNotFound(message)
        return checked(device.attachment, device.its_volume, device.instance, self._ports)


def reach(
    device: BlockDevice, way: Way, ports: Ports, *, held: bool = False
) -> tuple[BlockDevice, HostVolume]:
    """Connect the volume; return the row with the way to it, and where it is on this host.

    A way that leads elsewhere than the last one takes its place: what the host was connected by
    is given up first, unless the volume is ``held`` open by its guest. Raises one of UNREACHABLE.
    """
    last = ports.connections.get(device.uuid)
    kept = way.connection.without_secrets()
    if last is not None and last != kept and held:
        _check_same_place(device, last, kept, ports)
    elif last is not None and last != kept:
        host_volume.disconnect(device.uuid, device.its_volume, last, ports, force=True)
    device = replace(device, connection=kept)
    ports.devices.save(device)
    volume = host_volume.connect(device, way.connection, ports)
    return host_volume.check_identity(device, volume, way.size, ports), volume


def _check_same_place(
    device: BlockDevice, last: Connection, kept: Connection, ports: Ports
) -> None:
    """Raise ConnectFailed unless both lead to what the guest has open: that must not go."""
    before, now = ports.connector.find(last), ports.connector.find(kept)
    if before is None or now is None or before.source.name != now.source.name:
        message = (
            f"volume {device.volume} is reached another way by now, and its guest has it open by"
            " the former one; stop the guest first"
        )
        raise ConnectFailed(message)


def let_go(device: BlockDevice, ports: Ports) -> None:
    """Take the volume from this host again; one that it is not connected to is fine."""
    connection = ports.connections.get(device.uuid)
    if connection is not None:
        host_volume.disconnect(device.uuid, device.its_volume, connection, ports)


def _remembered(device: BlockDevice) -> Way:
    """The row has the size in GiB, rounded up."""
    if device.connection is None:
        message = f"nothing is known of how volume {device.volume} is reached"
        raise VolumeServiceUnavailable(message)
    least = max(0, (device.volume_size or 0) - 1) * GIB
    return Way(connection=device.connection, size=least)
