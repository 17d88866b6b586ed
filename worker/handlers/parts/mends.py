"""What mends each kind of drift that is ever offered to be mended, and changes nothing else."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from worker.errors import WrongDevice
from worker.handlers.parts import host_volume
from worker.handlers.parts.attachment_of import attachment_of, connection_of
from worker.handlers.parts.config_drive import renew_after
from worker.handlers.parts.find_device import make_own, persistent_disk
from worker.handlers.parts.local_file import file_of
from worker.model.block_device import BlockDevice
from worker.model.connection import Connection
from worker.model.disk import disk_of
from worker.model.drift import DriftKind, Views
from worker.model.source import HostVolume
from worker.ports import Ports


def _complete(row: BlockDevice, _views: Views, ports: Ports) -> None:
    """The host is connected as the row says; a volume service that says otherwise is refused."""
    attachment = attachment_of(row, None, ports)
    connection = connection_of(attachment, ports)
    if row.connection is not None and connection.without_secrets() != row.connection:
        message = f"attachment {attachment.id} leads elsewhere than the one that the host uses"
        raise WrongDevice(message)
    kept = connection.without_secrets()
    ports.devices.save(replace(row, attachment=attachment.id, connection=kept))
    ports.attachments.complete(attachment.id)


def _roll_detaching(row: BlockDevice, _views: Views, ports: Ports) -> None:
    ports.volumes.roll_detaching(row.its_volume)


def _write_down(row: BlockDevice, _views: Views, ports: Ports) -> None:
    ports.connections.put(row, _kept(row))


def _connect(row: BlockDevice, _views: Views, ports: Ports) -> None:
    host_volume.connect(row, _connection(row, ports), ports)


def _plug(row: BlockDevice, _views: Views, ports: Ports) -> None:
    volume = file_of(row, ports) if row.local else _volume(row, ports)
    shown = persistent_disk(row, ports.guests.describe(row.instance), ports, volume.source.name)
    make_own(row, shown, ports)
    ports.disks.attach(row.instance, disk_of(row, volume))
    renew_after(row, ports)


def _volume(row: BlockDevice, ports: Ports) -> HostVolume:
    volume = host_volume.connect(row, _connection(row, ports), ports)
    host_volume.check_identity(row, volume, ports.volumes.show(row.its_volume).size, ports)
    return volume


def _connection(row: BlockDevice, ports: Ports) -> Connection:
    """Return it with its secrets, which the volume service alone has."""
    held = ports.attachments.find(row.its_volume, row.instance)
    return _kept(row) if held is None or held.connection is None else held.connection


def _kept(row: BlockDevice) -> Connection:
    if row.connection is None:
        message = f"nothing says how volume {row.volume} is reached"
        raise WrongDevice(message)
    return row.connection


def _unplug(row: BlockDevice, _views: Views, ports: Ports) -> None:
    ports.disks.unplug(row.instance, row.alias)


def _remove(row: BlockDevice, _views: Views, ports: Ports) -> None:
    ports.insides.remove(row.instance, row.alias)


def _forget(row: BlockDevice, _views: Views, ports: Ports) -> None:
    ports.disks.forget(row.instance, row.alias)


def _disconnect(row: BlockDevice, views: Views, ports: Ports) -> None:
    """Read anew who else has the volume: of two records that are let go one is the last."""
    record = views.records[row.uuid]
    if record.device in views.shared:
        # Had it been the last when we looked, more would have been asked of the guest.
        host_volume.leave(record.device, record.volume, ports)
    else:
        host_volume.disconnect(record.device, record.volume, record.connection, ports)


def _delete_attachment(row: BlockDevice, views: Views, ports: Ports) -> None:
    """Only one that was seen is ever offered to be deleted."""
    ports.attachments.delete(next(held for held in views.attachments if held == row.attachment))


MENDS: Mapping[DriftKind, Callable[[BlockDevice, Views, Ports], None]] = {
    DriftKind.ATTACHMENT_MISSING: _complete,
    DriftKind.ATTACHMENT_INCOMPLETE: _complete,
    DriftKind.VOLUME_DETACHING: _roll_detaching,
    DriftKind.CONNECTION_MISSING: _write_down,
    DriftKind.DEVICE_MISSING: _connect,
    DriftKind.LIVE_MISSING: _plug,
    DriftKind.PERSISTENT_MISSING: _plug,
    DriftKind.LIVE_LEFT: _unplug,
    DriftKind.GHOST: _remove,
    DriftKind.PERSISTENT_LEFT: _forget,
    DriftKind.CONNECTION_LEFT: _disconnect,
    DriftKind.ATTACHMENT_LEFT: _delete_attachment,
}
"""What mends each kind that is ever offered to be mended."""
