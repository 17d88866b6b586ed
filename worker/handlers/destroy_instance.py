"""Destroy an instance: its guest, its machine, its local disks, its hold on volumes."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from worker.errors import InstanceWrongState, OperationWrongState, VolumeInUse
from worker.handlers.abandon_operation import PhasesOf, give_up
from worker.handlers.parts import host_volume
from worker.handlers.parts.local_file import delete_local_disks
from worker.handlers.parts.rescue_guest import delete_files
from worker.handlers.parts.row_of import row_of
from worker.model.block_device import BlockDevice
from worker.model.ids import InstanceId
from worker.model.instance import Instance, TaskState
from worker.model.operation import OperationState
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class DestroyInstance:
    """Operation: take an instance away for good, whatever state it is in."""

    instance_uuid: InstanceId


def destroy_instance(request: DestroyInstance, ports: Ports, *, phases_of: PhasesOf) -> None:
    """Take the instance away; it only goes forward, and what is gone already is fine.

    Files of an instance that was adopted are not ours and stay. What is stuck on it has nothing
    left to do, and is given up.
    """
    instance = ports.instances.get(request.instance_uuid)
    if instance.task_state == TaskState.RELEASED:
        # Its attachments and volumes are another host's by now, perhaps.
        message = f"instance {instance.uuid} was released to another host; forget it instead"
        raise InstanceWrongState(message)
    rows = ports.devices.of_instance(instance.uuid)
    ports.progress.pass_commit_point()
    ports.instances.save(replace(instance, task_state=TaskState.DELETING))

    ports.power.cut(instance.uuid)
    ports.machines.undefine(instance.uuid)

    _disconnect(instance, ports)
    _delete_attachments(instance, rows, ports)
    _delete_volumes(rows, ports)
    if instance.rescue is not None:
        delete_files(instance, ports)
    if instance.specification is not None:
        ports.config_drives.delete(instance.uuid)
        delete_local_disks(instance, ports)

    _give_up_stuck(instance, ports, phases_of)
    for row in rows:
        ports.devices.remove(row)
    for peripheral in ports.peripherals.of_instance(instance.uuid):
        ports.peripherals.remove(peripheral)
    ports.instances.remove(instance.uuid)


def _give_up_stuck(instance: Instance, ports: Ports, phases_of: PhasesOf) -> None:
    """End each operation that waits for an operator, unless one has just decided of it."""
    for stuck in ports.operations.list(instance=instance.uuid, states=(OperationState.STUCK,)):
        with suppress(OperationWrongState):
            give_up(stuck, row_of(stuck, ports), ports, phases_of)


def _disconnect(instance: Instance, ports: Ports) -> None:
    """Let go of every volume that this host has for the instance, by rows long removed too."""
    for record in ports.connections.list():
        if record.instance == instance.uuid:
            host_volume.disconnect(record.device, record.volume, record.connection, ports)


def _delete_attachments(instance: Instance, rows: Sequence[BlockDevice], ports: Ports) -> None:
    """Delete those of our rows; an attach that was cut off may have made one unknown to its row.

    A swap that was given up, or is stuck, has left a second volume.
    """
    volumes = {row.volume for row in rows if row.volume is not None}
    volumes |= {row.swap.volume for row in rows if row.swap is not None}
    if not volumes:
        return
    held = ports.attachments.of_instance(instance.uuid)
    for attachment in held:
        if attachment.volume in volumes:
            ports.attachments.delete(attachment.id)


def _delete_volumes(rows: Sequence[BlockDevice], ports: Ports) -> None:
    for row in rows:
        if row.volume is not None and row.delete_on_termination:
            _delete_volume(row, ports)


def _delete_volume(row: BlockDevice, ports: Ports) -> None:
    """One that another instance has as well is that one's from now on."""
    try:
        ports.pool.delete(row.its_volume)
    except VolumeInUse:
        return
