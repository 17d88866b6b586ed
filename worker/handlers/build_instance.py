"""Build an instance: its disks, its machine, and a guest that runs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from worker.errors import DatabaseUnavailable, LeftBehind
from worker.handlers.parts.attachment_of import (
    attachment_of,
    connection_of,
    delete_attachment,
)
from worker.handlers.parts.built_machine import kernel_of, undefine_ours
from worker.handlers.parts.config_drive import write_config_drive
from worker.handlers.parts.local_file import delete_local_disks, made_local_disks
from worker.handlers.parts.plan_instance import decided, operation_of, taken_up
from worker.handlers.parts.reach_volume import Way, let_go, reach
from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.build.machine import OnHost, machine_of, specification_of
from worker.model.build.plan import interfaces_of
from worker.model.build.wanted import Wanted
from worker.model.ids import AttachmentId, BlockDeviceId, InstanceId
from worker.model.instance import Instance, VmState
from worker.model.peripheral import Peripheral
from worker.model.source import HostVolume
from worker.ports import Ports
from worker.undo import Undo


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildInstance(Wanted):
    """Operation: make an instance and start its guest."""


def build_instance(request: BuildInstance, ports: Ports) -> None:
    """Make the instance and start its guest, or leave no trace.

    Once the guest has been started it stays, whatever else fails.
    """
    if not ports.progress.past_commit_point:
        instance = taken_up(request, ports) or _begun(request, ports)
        try:
            _build(request, instance, ports.devices.of_instance(instance.uuid), ports)
        except DatabaseUnavailable:
            raise
        except LeftBehind:
            _mark(instance, ports)
            raise
    _finish(request.instance_uuid, ports)


def _begun(request: BuildInstance, ports: Ports) -> Instance:
    instance, plan = decided(request, ports)
    ports.instances.insert(instance, plan.rows, plan.interfaces)
    return instance


def _build(
    request: BuildInstance, instance: Instance, rows: Sequence[BlockDevice], ports: Ports
) -> None:
    with Undo(ports.progress) as undo:
        undo.earlier("connector.connect", _disconnect_volumes, rows, ports)
        undo.earlier("local_disks.console", delete_local_disks, instance, ports)
        undo.earlier("config_drives.write", ports.config_drives.delete, instance.uuid)
        undo.earlier("machines.define", undefine_ours, instance, rows, ports)
        undo.earlier("power.start", ports.power.cut, instance.uuid)

        undo.by(_remove_rows, instance, rows, ports)
        undo.by(_delete_attachments, request, rows, ports)
        ways = _ways(request, rows, ports)

        undo.by(_disconnect_volumes, rows, ports)
        found = _connected(ways, ports)

        undo.by(delete_local_disks, instance, ports)
        console = ports.local_disks.console(instance.uuid)
        found |= made_local_disks(instance, ports)

        undo.by(ports.config_drives.delete, instance.uuid)
        config = write_config_drive(instance, ports)

        undo.by(undefine_ours, instance, rows, ports)
        kernel = kernel_of(instance, ports)
        parts = OnHost(disks=found, config=config, kernel=kernel, console=console)
        ports.machines.define(machine_of(instance, rows, _interfaces(instance, ports), parts))

        undo.by(ports.power.cut, instance.uuid)
        ports.power.start(instance.uuid)
        undo.commit_point()


def _finish(uuid: InstanceId, ports: Ports) -> None:
    """The guest runs: say so of each of its disks, and of itself, then at the volume service.

    Should that never answer, the instance is one that can be stopped and started all the same.
    """
    instance, rows = ports.instances.get(uuid), _own(uuid, ports)
    state = ports.guests.describe(uuid).vm_state
    for row in rows:
        ports.devices.save(replace(row, status=DeviceStatus.ATTACHED))
    for interface in ports.peripherals.of_instance(uuid):
        ports.peripherals.save(replace(interface, status=DeviceStatus.ATTACHED))
    ports.instances.save(replace(instance, vm_state=state, task_state=None))
    for row in rows:
        if row.attachment is not None:
            ports.attachments.complete(row.attachment)


def _interfaces(instance: Instance, ports: Ports) -> tuple[Peripheral, ...]:
    """Planned anew, for an older release that had begun the build kept no rows of them."""
    operation = operation_of(ports).id
    return interfaces_of(operation, instance.uuid, specification_of(instance))


def _own(uuid: InstanceId, ports: Ports) -> list[BlockDevice]:
    """Return the rows of the build; what was reserved since is another operation's."""
    rows = ports.devices.of_instance(uuid)
    return [row for row in rows if row.status is not DeviceStatus.RESERVED]


def _mark(instance: Instance, ports: Ports) -> None:
    """Read the rows anew: what they say of attachment and connection is what is left behind."""
    for row in ports.devices.of_instance(instance.uuid):
        ports.devices.save(replace(row, status=DeviceStatus.ERROR))
    for interface in ports.peripherals.of_instance(instance.uuid):
        ports.peripherals.save(replace(interface, status=DeviceStatus.ERROR))
    ports.instances.save(replace(instance, vm_state=VmState.ERROR, task_state=None))


def _remove_rows(instance: Instance, rows: Sequence[BlockDevice], ports: Ports) -> None:
    for row in rows:
        ports.devices.remove(row)
    for interface in ports.peripherals.of_instance(instance.uuid):
        ports.peripherals.remove(interface)
    ports.instances.remove(instance.uuid)


def _volumes(rows: Sequence[BlockDevice]) -> list[BlockDevice]:
    return [row for row in rows if not row.local]


def _ways(
    request: BuildInstance, rows: Sequence[BlockDevice], ports: Ports
) -> list[tuple[BlockDevice, Way]]:
    """Have each volume attached in the volume service, and say how it is reached."""
    return [_way(request, row, ports) for row in _volumes(rows)]


def _way(request: BuildInstance, row: BlockDevice, ports: Ports) -> tuple[BlockDevice, Way]:
    attachment = attachment_of(row, _named(request, row), ports)
    row = replace(row, attachment=attachment.id)
    ports.devices.save(row)
    connection = connection_of(attachment, ports)
    size = ports.volumes.show(row.its_volume).size
    return row, Way(connection=connection, size=size)


def _named(request: BuildInstance, row: BlockDevice) -> AttachmentId | None:
    """Return the attachment that the caller has made for the volume."""
    wanted = (disk for disk in request.block_devices if disk.volume_id == row.volume)
    return next(wanted).attachment_id


def _delete_attachments(request: BuildInstance, rows: Sequence[BlockDevice], ports: Ports) -> None:
    for row in _volumes(rows):
        delete_attachment(row, _named(request, row), ports)


def _connected(
    ways: Sequence[tuple[BlockDevice, Way]], ports: Ports
) -> dict[BlockDeviceId, HostVolume]:
    return {row.uuid: reach(row, way, ports)[1] for row, way in ways}


def _disconnect_volumes(rows: Sequence[BlockDevice], ports: Ports) -> None:
    for row in _volumes(rows):
        let_go(row, ports)
