"""Compare what all views say of the block devices, and change nothing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from worker.errors import (
    AttachmentNotFound,
    DatabaseUnavailable,
    InstanceNotFound,
    VolumeNotFound,
    WorkerError,
)
from worker.handlers.parts.config_drive import rowless_aliases
from worker.handlers.parts.find_device import former_alias, guest_and_rescue, note
from worker.handlers.parts.local_file import files_of
from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.connection import Connection, ConnectionRecord
from worker.model.drift import Difference, Drift, DriftKind, Mend, Views, compare
from worker.model.guest import Guest, InnerDisk
from worker.model.ids import AttachmentId, BlockDeviceId, InstanceId, OperationId, VolumeId
from worker.model.method import Method
from worker.model.operation import OperationState, kept_by_guest
from worker.model.rescue.words import Rescue, rescue_alias
from worker.model.volume import Attachment, Volume
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class FindDrift:
    """Call: where the views of the block devices differ.

    With ``qemu`` QEMU itself is asked, and also where the hypervisor died under a guest.
    """

    instance_uuid: InstanceId | None = None
    qemu: bool = False


AT_WORK = (OperationState.QUEUED, OperationState.RUNNING)


def find_drift(request: FindDrift, ports: Ports) -> dict[str, Any]:
    """Return each difference, of one instance or of all of this host.

    An instance that cannot be looked at is a difference of its own (``unreadable``).
    """
    wanted = _wanted(request, ports)
    found = {instance: _drift_of(instance, ports, qemu=request.qemu) for instance in wanted}
    return {
        "instances": len(found),
        "differences": [each.public() for drift in found.values() for each in drift.differences],
        "in_flux": [
            {"instance_uuid": instance, "bdm_uuid": row, "operation_id": operation}
            for instance, drift in found.items()
            for row, operation in drift.in_flux.items()
        ],
        "foreign": sum(drift.foreign for drift in found.values()),
    }


def check_known(instance: InstanceId, ports: Ports) -> None:
    """Raise InstanceNotFound unless the instance, or a connection made for it, is this host's."""
    try:
        ports.instances.get(instance)
    except InstanceNotFound:
        if all(record.instance != instance for record in ports.connections.list()):
            raise


def look(instance: InstanceId, ports: Ports, *, qemu: bool) -> Views:
    """Read all views of one instance's disks; raises Unavailable when one cannot be read.

    What changes while it is being read counts as being worked on.
    """
    rows, before = ports.devices.of_instance(instance), _operations(instance, ports, AT_WORK)
    guest, rescue = guest_and_rescue(instance, ports)
    every = ports.connections.list()
    records = {record.device: record for record in every if record.instance == instance}
    inner = _inner(guest, rescue, ports, qemu=qemu)
    attachments = _attachments(instance, rows, ports)
    named = [ports.devices.bearing(instance, alias) for alias in _aliases(guest, inner)]
    named += [ports.devices.look(device) for device in records]
    named += [ports.devices.holding(attachment) for attachment in attachments]
    removed = _removed(instance, named)
    ways = {row.uuid: row.connection for row in (*rows, *removed) if row.connection}
    ways |= {device: record.connection for device, record in records.items()}
    sources = _sources(ways, ports) | files_of(instance, rows, ports)
    volumes = _volumes({row.volume for row in (*rows, *removed) if row.volume is not None}, ports)
    return Views(
        instance=instance,
        guest=guest,
        inner=inner,
        rows=rows,
        removed=removed,
        attachments=attachments,
        volumes=volumes,
        records=records,
        sources={row: source for row, source in sources.items() if source is not None},
        formers=_formers(rows, ports),
        absent=frozenset(row for row, source in sources.items() if source is None),
        shared=_shared(records.values(), every),
        at_work=before
        | _operations(instance, ports, AT_WORK)
        | _of_whole(instance, rows, ports)
        | _changed(instance, rows, ports),
        stuck=_operations(instance, ports, (OperationState.STUCK,)),
        refused=frozenset(row.uuid for row in rows if _was_refused(row, ports)),
        rescue=rescue,
        rowless=rowless_aliases(instance, ports),
    )


def _inner(
    guest: Guest | None, rescue: Rescue | None, ports: Ports, *, qemu: bool
) -> tuple[InnerDisk, ...] | None:
    """Ask QEMU itself, where that is wanted or the hypervisor died under the guest."""
    if guest is None or guest.live is None:
        return None
    asked = qemu or ports.insides.in_doubt(guest.instance)
    if not asked:
        return None
    own = None if rescue is None else rescue_alias(guest.instance)
    return tuple(disk for disk in ports.insides.disks(guest.instance) if disk.alias != own)


def _wanted(request: FindDrift, ports: Ports) -> tuple[InstanceId, ...]:
    if request.instance_uuid is not None:
        check_known(request.instance_uuid, ports)
        return (request.instance_uuid,)
    known = [instance.uuid for instance in ports.instances.list()]
    known += [record.instance for record in ports.connections.list()]
    return tuple(dict.fromkeys(known))


def _drift_of(instance: InstanceId, ports: Ports, *, qemu: bool) -> Drift:
    try:
        drift = compare(look(instance, ports, qemu=qemu))
    except DatabaseUnavailable:
        raise
    except WorkerError as error:
        mend = Mend(why_not=f"{error} [{error.code}]; look again later")
        only = Difference(kind=DriftKind.UNREADABLE, instance=instance, mend=mend)
        return Drift(differences=(only,))
    for row, found in drift.by_facts:
        note(row, found, ports)
    return drift


def _operations(
    instance: InstanceId, ports: Ports, states: Iterable[OperationState]
) -> dict[BlockDeviceId, OperationId | None]:
    found = ports.operations.list(instance=instance, states=tuple(states))
    about = ((one.block_device, one.id) for one in found if one.block_device is not None)
    return {BlockDeviceId(row): operation for row, operation in about}


def _of_whole(
    instance: InstanceId, rows: tuple[BlockDevice, ...], ports: Ports
) -> dict[BlockDeviceId, OperationId | None]:
    """A build, a start or the like is at work on every row; a repair is what looks here."""
    found = ports.operations.list(instance=instance, states=(OperationState.RUNNING,))
    whole = [one for one in found if one.block_device is None and one.method != Method.REPAIR_DRIFT]
    return {row.uuid: one.id for one in whole for row in rows}


def _changed(
    instance: InstanceId, seen: tuple[BlockDevice, ...], ports: Ports
) -> dict[BlockDeviceId, OperationId | None]:
    """An operation may have come and gone while we looked; its row is another one now."""
    now = {row.uuid: row for row in ports.devices.of_instance(instance)}
    was = {row.uuid: row for row in seen}
    changed = (uuid for uuid in was | now if was.get(uuid) != now.get(uuid))
    return {uuid: _last(uuid, ports) for uuid in changed}


def _last(row: BlockDeviceId, ports: Ports) -> OperationId | None:
    last = ports.operations.last_for(row)
    return None if last is None else last.id


def _attachments(
    instance: InstanceId, rows: Iterable[BlockDevice], ports: Ports
) -> dict[AttachmentId, Attachment]:
    """Return those of the instance, and those that its rows name, whosever they are."""
    found = {held.id: held for held in ports.attachments.of_instance(instance)}
    for row in rows:
        if row.attachment is not None and row.attachment not in found:
            try:
                found[row.attachment] = ports.attachments.get(row.attachment)
            except AttachmentNotFound:
                continue
    return found


def _formers(rows: Iterable[BlockDevice], ports: Ports) -> dict[BlockDeviceId, str]:
    found = {row.uuid: former_alias(row, ports) for row in rows}
    return {row: alias for row, alias in found.items() if alias is not None}


def _aliases(guest: Guest | None, inner: tuple[InnerDisk, ...] | None) -> list[str]:
    shown = frozenset[str]() if guest is None else guest.aliases
    return sorted(shown | {disk.alias for disk in inner or ()})


def _removed(instance: InstanceId, named: Iterable[BlockDevice | None]) -> tuple[BlockDevice, ...]:
    """Return the removed rows of those that something which is there is named by."""
    found = {row.uuid: row for row in named if row is not None}
    return tuple(row for row in found.values() if row.deleted and row.instance == instance)


def _sources(
    ways: Mapping[BlockDeviceId, Connection], ports: Ports
) -> dict[BlockDeviceId, str | None]:
    found = {device: ports.connector.find(connection) for device, connection in ways.items()}
    return {
        device: None if volume is None else volume.source.name for device, volume in found.items()
    }


def _volumes(wanted: set[VolumeId], ports: Ports) -> dict[VolumeId, Volume]:
    found = {}
    for volume in sorted(wanted):
        try:
            found[volume] = ports.volumes.show(volume)
        except VolumeNotFound:
            continue
    return found


def _shared(
    records: Iterable[ConnectionRecord], every: Iterable[ConnectionRecord]
) -> frozenset[BlockDeviceId]:
    holders: dict[VolumeId, set[BlockDeviceId]] = {}
    for record in every:
        holders.setdefault(record.volume, set()).add(record.device)
    return frozenset(
        record.device for record in records if holders[record.volume] > {record.device}
    )


def _was_refused(row: BlockDevice, ports: Ports) -> bool:
    """A guest that lets go after it had refused is followed by the worker itself."""
    if row.status is not DeviceStatus.ATTACHED:
        return False
    return kept_by_guest(ports.operations.last_for(row.uuid, Method.DETACH_VOLUME))
