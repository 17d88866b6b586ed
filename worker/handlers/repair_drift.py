"""Mend what differs between the views of one instance's disks, where that is safe."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from worker.errors import (
    ConnectFailed,
    DatabaseUnavailable,
    GuestBusy,
    HypervisorRefused,
    LeftBehind,
    LocalDiskUnavailable,
    Unavailable,
    WorkerError,
    WrongDevice,
)
from worker.handlers import host_volume
from worker.handlers.config_drive import renew_after
from worker.handlers.find_drift import check_known, look
from worker.handlers.local_file import file_of
from worker.model.block_device import BlockDevice
from worker.model.connection import Connection
from worker.model.disk import disk_of
from worker.model.drift import Difference, DriftKind, Views, compare
from worker.model.ids import InstanceId
from worker.model.source import HostVolume
from worker.model.update import Event, Update
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairDrift:
    """Operation: mend what ``find_drift`` offers to mend on one instance."""

    instance_uuid: InstanceId
    qemu: bool = False


TRIES = 2
"""How often one difference is tried: once more, for a failure may have been a passing one."""

NOT_AWAY = (GuestBusy, HypervisorRefused, ConnectFailed, LocalDiskUnavailable)
"""Refusals, for which there is nothing to wait."""


@dataclass(kw_only=True)
class _Course:
    """How far one run has come, by what each difference is about."""

    tries: Counter[tuple[str, ...]] = field(default_factory=Counter)
    failures: dict[tuple[str, ...], str] = field(default_factory=dict)
    mended: set[tuple[str, ...]] = field(default_factory=set)


def repair_drift(request: RepairDrift, ports: Ports) -> None:
    """Find anew, mend, and look again, until nothing is left that can be mended.

    There is no way back from a mend, for it undoes what should not be: the first is the commit
    point. Each looks before it acts, so that the operation can be run again. A mend that is
    refused does not keep the others from being made; then LeftBehind names it.
    """
    check_known(request.instance_uuid, ports)
    course = _Course()
    left = _mend_all(request, course, ports)
    if ports.progress.past_commit_point:
        _tell(request, course, ports)
    if left:
        raise LeftBehind(_not_mended(left, course))


def _mend_all(request: RepairDrift, course: _Course, ports: Ports) -> list[Difference]:
    """Mend round by round, for some wait for others; return what could not be."""
    while True:
        views = _look(request, ports)
        offered = [each for each in compare(views).differences if each.safe]
        ready = [each for each in offered if not each.mend.waits]
        ready = [each for each in ready if course.tries[each.subject] < TRIES]
        about = [(each, each.device) for each in ready if each.device is not None]
        if not about:
            return offered
        ports.progress.pass_commit_point()
        for each, device in about:
            _try(each, device, views, course, ports)


def _look(request: RepairDrift, ports: Ports) -> Views:
    """Ask QEMU too before a disk is plugged in: it may have it, and its hypervisor deny it.

    Then nothing is plugged in, and the next one who looks is to see why.
    """
    views = look(request.instance_uuid, ports, qemu=request.qemu)
    if views.inner is not None or not any(map(_plugs, compare(views).differences)):
        return views
    views = look(request.instance_uuid, ports, qemu=True)
    if any(each.kind is DriftKind.GHOST for each in compare(views).differences):
        ports.insides.doubt(request.instance_uuid)
    return views


def _plugs(difference: Difference) -> bool:
    return difference.safe and difference.kind is DriftKind.LIVE_MISSING


def _try(
    difference: Difference, device: BlockDevice, views: Views, course: _Course, ports: Ports
) -> None:
    """Mend it by the row as it is by now: an earlier mend may have changed it."""
    subject = difference.subject
    course.tries[subject] += 1
    try:
        MENDS[difference.kind](ports.devices.get(device.uuid), views, ports)
    except WorkerError as error:
        _check_is_refusal(error)
        course.failures[subject] = str(error)
        if isinstance(error, GuestBusy):
            course.tries[subject] = TRIES
    else:
        course.mended.add(subject)


def _check_is_refusal(error: WorkerError) -> None:
    """What only does not answer is waited for by the runner."""
    if isinstance(error, DatabaseUnavailable):
        raise error
    if isinstance(error, Unavailable) and not isinstance(error, NOT_AWAY):
        raise error


def _tell(request: RepairDrift, course: _Course, ports: Ports) -> None:
    operation = ports.progress.operation
    ports.updates.tell(
        Update(
            event=Event.DRIFT_REPAIRED,
            instance=request.instance_uuid,
            operation=None if operation is None else operation.id,
            request_id=None if operation is None else operation.request_id,
            count=len(course.mended),
        )
    )


def _not_mended(left: list[Difference], course: _Course) -> str:
    why = [
        f"{each.kind} {each.alias or ''}"
        f" ({course.failures.get(each.subject, 'it is still so after the mend')})"
        for each in left
    ]
    return f"{len(course.mended)} mended, not mended: {'; '.join(why)}"


def _complete(row: BlockDevice, _views: Views, ports: Ports) -> None:
    """The host is connected as the row says; a volume service that says otherwise is refused."""
    found = ports.attachments.find(row.its_volume, row.instance)
    attachment = found or ports.attachments.create(row.its_volume, row.instance)
    connection = attachment.connection or ports.attachments.connect(
        attachment.id, ports.connector.properties()
    )
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
    ports.disks.attach(row.instance, disk_of(row, volume))
    renew_after(row, ports)


def _volume(row: BlockDevice, ports: Ports) -> HostVolume:
    volume = host_volume.connect(row, _connection(row, ports), ports)
    recorded, found = ports.volumes.show(row.its_volume).size, ports.connector.size(volume)
    if found < recorded:
        message = f"volume {row.volume} is {found} bytes on this host, {recorded} are recorded"
        raise WrongDevice(message)
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
