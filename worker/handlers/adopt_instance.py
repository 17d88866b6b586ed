"""Take a libvirt domain that exists into this worker's care, each of its disks with a row."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from worker.errors import InstanceNotFound, InstanceRescued, InstanceTaken, VolumeNotFound
from worker.model.begun import Begun
from worker.model.guest import Guest, GuestDisk
from worker.model.identity.alias import alias_of, config_drive_alias
from worker.model.ids import InstanceId, OperationId, PeripheralId, VolumeId, new_uuid
from worker.model.instance import Instance
from worker.model.method import Method
from worker.model.moving.adopting import (
    CONFIG_DRIVE_LABEL,
    Facts,
    Held,
    Plan,
    candidates,
    disks_of,
    plan,
)
from worker.model.operation import Operation, lane_of
from worker.model.peripheral_rows import Taken, rows_of_layout
from worker.model.rescue.plan import in_rescue
from worker.model.volume import Attachment, Volume
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptInstance:
    """Call: take a libvirt domain, named or by uuid, into this worker's care."""

    domain: str
    dry_run: bool = False


def adopt_instance(request: AdoptInstance, ports: Ports) -> Begun:
    """Make the rows of the instance and its devices, and have an operation mark these.

    Rows and operation are durable together, so a worker that dies leaves all or nothing. Alias
    and serial go into the persistent layout, and one that holds volumes off the hypervisor's
    autostart; the running guest is never touched.
    """
    guest = ports.guests.find(request.domain)
    _check_not_ours(guest.instance, ports)
    _check_not_in_rescue(guest)
    planned = _plan(guest, ports)
    instance = Instance(
        uuid=guest.instance,
        host=ports.host,
        name=guest.name,
        vm_state=guest.vm_state,
        adoption=planned.adoption,
    )
    answer = instance.public() | planned.public() | {"dry_run": request.dry_run}
    if request.dry_run:
        return Begun(answer=answer | {"operation_id": None})
    return _take_in(instance, planned, answer, ports)


def _take_in(instance: Instance, planned: Plan, answer: dict[str, Any], ports: Ports) -> Begun:
    wanted = planned.marks or planned.taken_off_autostart
    operation = _marking(instance) if wanted else None
    rows = [one.row for one in planned.adopted]
    for row in rows:
        if row.connection is not None:
            ports.connections.put(row, row.connection)
    if operation is not None:
        ports.own_operations.begin(operation)
    ports.instances.insert(instance, rows, planned.peripherals)
    named = None if operation is None else operation.id
    return Begun(answer=answer | {"operation_id": named}, operation=operation)


def _check_not_ours(instance: InstanceId, ports: Ports) -> None:
    try:
        ports.instances.get(instance)
    except InstanceNotFound:
        return
    message = f"instance {instance} was adopted or built before"
    raise InstanceTaken(message)


def _check_not_in_rescue(guest: Guest) -> None:
    """Its rescue disk would be taken for one of its own."""
    if in_rescue(guest):
        message = f"domain {guest.name} runs in rescue, by a disk that is not its own; have it off"
        raise InstanceRescued(message)


def _marking(instance: Instance) -> Operation:
    arguments = {"instance_uuid": instance.uuid}
    return Operation(
        id=OperationId(new_uuid()),
        method=Method.COMPLETE_ADOPTION,
        arguments=arguments,
        lane=lane_of(arguments),
        instance=instance.uuid,
        own=True,
    )


def _plan(guest: Guest, ports: Ports) -> Plan:
    disks = disks_of(guest)
    drives = frozenset(
        disk.target for disk in disks if _is_config_drive(guest.instance, disk, ports)
    )
    others = [disk for disk in disks if disk.target not in drives]
    held, autostart = _held(guest.instance, others, ports), ports.autostart.is_on(guest.instance)
    planned = plan(guest, held, drives, autostart=autostart)
    taken = _peripherals(guest, ports)
    left_out = {**planned.left_out, **taken.left_out}
    return replace(planned, peripherals=taken.rows, left_out=left_out)


def _peripherals(guest: Guest, ports: Ports) -> Taken:
    """Return the rows of interfaces and host devices; what an instance has stays that one's."""
    layout = guest.persistent or guest.live
    devices = [] if layout is None else [one.source for one in layout.host_devices]
    found = {one: ports.peripherals.having(one) for one in devices if one is not None}
    having = {device: row.instance for device, row in found.items() if row is not None}
    return rows_of_layout(guest.instance, layout, lambda _: PeripheralId(new_uuid()), having)


def _is_config_drive(instance: InstanceId, disk: GuestDisk, ports: Ports) -> bool:
    if disk.alias == config_drive_alias(instance):
        return True
    label = None if disk.source is None else ports.host_files.label(disk.source)
    return label is not None and label.lower() == CONFIG_DRIVE_LABEL


def _held(instance: InstanceId, disks: Iterable[GuestDisk], ports: Ports) -> dict[str, Held]:
    """Return the volumes behind these disks, by target; each is behind one of them at most."""
    attachments = {one.volume: one for one in ports.attachments.of_instance(instance)}
    known = _Known(instance, attachments, ports)
    held: dict[str, Held] = {}
    for disk in disks:
        for volume in candidates(disk, attachments.values()):
            taken = volume in {one.volume.id for one in held.values()}
            found = None if taken else known.behind(disk, volume)
            if found is not None:
                held[disk.target] = found
                break
    return held


class _Known:
    """What is known of volumes, each asked for once."""

    def __init__(
        self, instance: InstanceId, attachments: dict[VolumeId, Attachment], ports: Ports
    ) -> None:
        self._instance = instance
        self._attachments = attachments
        self._ports = ports
        self._volumes: dict[VolumeId, Volume | None] = {}

    def behind(self, disk: GuestDisk, volume: VolumeId) -> Held | None:
        """Return the volume if two facts say that it is behind the disk."""
        if not self._facts(volume).agree(disk):
            return None
        found = self._show(volume)
        if found is None:
            return None
        return Held(volume=found, attachment=self._attachments.get(volume))

    def _facts(self, volume: VolumeId) -> Facts:
        row = self._ports.devices.bearing(self._instance, alias_of(volume))
        return Facts(
            volume=volume,
            source=self._source(self._attachments.get(volume)),
            target=None if row is None else row.target,
        )

    def _source(self, attachment: Attachment | None) -> str | None:
        if attachment is None or attachment.connection is None:
            return None
        found = self._ports.connector.find(attachment.connection)
        return None if found is None else found.source.name

    def _show(self, volume: VolumeId) -> Volume | None:
        if volume not in self._volumes:
            try:
                self._volumes[volume] = self._ports.volumes.show(volume)
            except VolumeNotFound:
                self._volumes[volume] = None
        return self._volumes[volume]
