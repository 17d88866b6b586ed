"""A volume on this host, which it may have for several of its instances: one comes, the last goes.

Every connect and disconnect of a handler goes through here, alone with the volume: otherwise of
two lanes that let go of it each could leave it to the other, or one pull it away that the other
has just connected.
"""

from dataclasses import replace

from worker.errors import ConnectFailed, ProtocolUnsupported, WrongDevice
from worker.handlers.parts.guest_secrets import give_secrets
from worker.model.block_device import BlockDevice
from worker.model.connection import Connection
from worker.model.guest_secret import GuestSecret, SecretUse
from worker.model.ids import BlockDeviceId, VolumeId
from worker.model.places.lun import check_encryption, check_source
from worker.model.source import HostVolume
from worker.ports import Ports


def connect(device: BlockDevice, connection: Connection, ports: Ports) -> HostVolume:
    """Record the connection, then make it; both are done again without harm.

    Raises DeviceTypeUnsupported for what the guest cannot have as the row says.
    """
    with ports.sharing.alone(device.its_volume):
        ports.sharing.uses(device.uuid)
        first = ports.connections.get(device.uuid) is None
        ports.connections.put(device, connection)
        try:
            volume = ports.connector.connect(connection)
        except ProtocolUnsupported:
            # Nothing was connected, and it could not be disconnected either.
            if first:
                _forget(device.uuid, ports)
            raise
    check_encryption(device.device_type, encrypted=device.encrypted)
    check_source(device.device_type, volume.source)
    volume = _to_be_opened(device, volume, ports)
    give_secrets(device, volume, ports)
    return volume


def _to_be_opened(device: BlockDevice, volume: HostVolume, ports: Ports) -> HostVolume:
    """Add the passphrase of what is encrypted; raises KeyNotFound, KeysUnavailable."""
    if not device.encrypted:
        return volume
    encryption = ports.volumes.encryption(device.its_volume)
    passphrase = ports.keys.passphrase(device.its_volume, encryption)
    luks = GuestSecret(use=SecretUse.VOLUME, value=passphrase)
    return replace(volume, secrets=(*volume.secrets, luks))


def check_identity(
    device: BlockDevice, volume: HostVolume, least: int, ports: Ports
) -> BlockDevice:
    """Look at the device anew before a guest is given it; return the row with who it says it is.

    Raises WrongDevice for one with less than so many bytes, for another than the volume showed
    before, and for one that this host has as another volume (CVE-2023-2088, CVE-2020-17376).
    """
    seen = ports.connector.examine(volume)
    if seen.wwid is not None:
        _check_nobody_elses(device, volume, seen.wwid, ports)
    if seen.size < least:
        message = f"volume {device.volume} is {seen.size} bytes on this host, {least} are recorded"
        raise WrongDevice(message)
    if seen.wwid is None:
        return device
    if device.wwid not in (None, seen.wwid):
        message = f"volume {device.volume} says it is {seen.wwid}, and it was {device.wwid} before"
        raise WrongDevice(message)
    device = replace(device, wwid=seen.wwid)
    ports.devices.save(device)
    return device


def _check_nobody_elses(device: BlockDevice, volume: HostVolume, wwid: str, ports: Ports) -> None:
    for other in ports.devices.called(wwid):
        if other.volume != device.volume:
            if _is_at(other, volume, ports):
                # The way back must not pull it from under the other's guest.
                _forget(device.uuid, ports)
            message = f"volume {device.volume} says it is {wwid}, which is volume {other.volume}"
            raise WrongDevice(message)


def _is_at(other: BlockDevice, volume: HostVolume, ports: Ports) -> bool:
    """Whether the other row has the very device, or may have: not to know it is no leave."""
    if other.connection is None:
        return False
    try:
        there = ports.connector.find(other.connection)
    except ConnectFailed:
        return True
    return there is not None and there.source.name == volume.source.name


def disconnect(
    device: BlockDeviceId,
    volume: VolumeId,
    connection: Connection | None,
    ports: Ports,
    *,
    force: bool = False,
) -> None:
    """Forget the row's connection; the last that uses the volume takes it from the host."""
    with ports.sharing.alone(volume):
        if connection is not None and not _others(device, volume, ports):
            ports.connector.disconnect(connection, force=force)
        _forget(device, ports)


def leave(device: BlockDeviceId, volume: VolumeId, ports: Ports) -> None:
    """Forget the row's connection if another row uses the volume; else change nothing."""
    with ports.sharing.alone(volume):
        if _others(device, volume, ports):
            _forget(device, ports)


def _others(device: BlockDeviceId, volume: VolumeId, ports: Ports) -> frozenset[BlockDeviceId]:
    return ports.sharing.still(ports.connections.others(device, volume))


def _forget(device: BlockDeviceId, ports: Ports) -> None:
    ports.connections.drop(device)
    ports.sharing.left(device)
