"""Let an adopted instance go as it came, or the rows of one that moved to another host."""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.errors import DomainNotFound, InstanceWrongState, OperationBlocked
from worker.handlers.complete_adoption import give_autostart_back, take_off_autostart
from worker.model.block_device import BlockDevice
from worker.model.guest import Layout
from worker.model.identity.marking import (
    MarkChange,
    changes_between,
    peripheral_changes,
    peripheral_ways_back,
    ways_back,
)
from worker.model.identity.marks import Adoption
from worker.model.ids import InstanceId
from worker.model.instance import Instance, TaskState
from worker.model.method import Method
from worker.model.moving.peripheral_origin import came_with_guest
from worker.model.operation import UNSETTLED
from worker.model.peripheral import Peripheral
from worker.ports import Ports
from worker.undo import Undo


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetInstance:
    """Operation: let an instance go; its guest goes on as it is."""

    instance_uuid: InstanceId


ONLY_LOOKS = frozenset({Method.SYNC_POWER_STATE, Method.MIGRATE_ALIASES})
"""What the worker itself begins when a guest stops, or when it starts itself.

A guest is let go just then as a rule; and these leave nothing to be found.
"""


def forget_instance(request: ForgetInstance, ports: Ports) -> None:
    """Take out of the domain the marks that the adoption gave it, then remove the rows.

    Marks that other hands have changed since stay as they are. What the host is connected to
    stays so: the guest goes on with it. The hypervisor starts it by itself again if it did before.
    """
    check_alone(request.instance_uuid, ports)
    instance = ports.instances.get(request.instance_uuid)
    rows = ports.devices.of_instance(instance.uuid)
    _check_may_go(instance, rows, ports)
    with Undo(ports.progress) as undo:
        undo.earlier("autostart.switch", take_off_autostart, instance, ports)

        undo.by(_mark_again, instance, rows, ports)
        _take_marks(instance, rows, ports)

        undo.by(take_off_autostart, instance, ports)
        give_autostart_back(instance, ports)
        undo.commit_point()

        for row in rows:
            ports.connections.drop(row.uuid)
            ports.devices.remove(row)
        for peripheral in ports.peripherals.of_instance(instance.uuid):
            ports.peripherals.remove(peripheral)
        ports.instances.remove(instance.uuid)


def check_alone(instance: InstanceId, ports: Ports) -> None:
    """Raise OperationBlocked while another operation on the instance has not ended, or is stuck."""
    own = ports.progress.operation
    for other in ports.operations.list(instance=instance, states=UNSETTLED):
        if other.method not in ONLY_LOOKS and (own is None or other.id != own.id):
            message = f"operation {other.id} ({other.method}) is {other.state}; wait for its end"
            raise OperationBlocked(message)


def _check_may_go(instance: Instance, rows: Sequence[BlockDevice], ports: Ports) -> None:
    if instance.task_state == TaskState.RELEASED:
        return
    instance.check_not_rescued()
    if instance.specification is not None:
        message = f"instance {instance.uuid} was built, not adopted; destroy it instead"
        raise InstanceWrongState(message)
    adopted = instance.adoption or Adoption()
    for row in rows:
        if adopted.marks_of(row.uuid) is None:
            message = (
                f"volume {row.volume} came to instance {instance.uuid} by this worker, as"
                f" {row.device_name}, and is {row.status}; detach or release it first"
            )
            raise InstanceWrongState(message)
    for peripheral in ports.peripherals.of_instance(instance.uuid):
        _check_may_stay(peripheral)


def _check_may_stay(row: Peripheral) -> None:
    """What this worker plugged in would stay in the guest, and nobody would know of it."""
    if not came_with_guest(row):
        message = (
            f"{row.kind} {row.alias} came to instance {row.instance} by this worker, and is"
            f" {row.status}; detach it first: its row is {row.uuid}"
        )
        raise InstanceWrongState(message)


def _take_marks(instance: Instance, rows: Sequence[BlockDevice], ports: Ports) -> None:
    layout = _persistent(instance, ports)
    if layout is not None:
        others = peripheral_ways_back(layout, ports.peripherals.of_instance(instance.uuid))
        disks = ways_back(layout, rows, instance.adoption or Adoption())
        _mark(instance, (*disks, *others), ports)


def _mark_again(instance: Instance, rows: Sequence[BlockDevice], ports: Ports) -> None:
    layout = _persistent(instance, ports)
    if layout is not None:
        others = peripheral_changes(layout, ports.peripherals.of_instance(instance.uuid))
        disks = changes_between(layout, rows, instance.adoption or Adoption())
        _mark(instance, (*disks, *others), ports)


def _mark(instance: Instance, changes: Sequence[MarkChange], ports: Ports) -> None:
    if changes:
        ports.definitions.mark(instance.uuid, changes)


def _persistent(instance: Instance, ports: Ports) -> Layout | None:
    try:
        return ports.guests.describe(instance.uuid).persistent
    except DomainNotFound:
        return None
