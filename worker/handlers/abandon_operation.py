"""Give a stuck operation up, once an operator has cleared away what it left behind."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from worker.errors import DeviceAmbiguous, InstanceNotFound
from worker.handlers.parts.find_device import guest_of, looked_up
from worker.handlers.parts.find_peripheral import see
from worker.handlers.parts.row_of import row_of
from worker.handlers.retry_operation import check_stuck
from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.identity.lookup import Doubt, Found, Why
from worker.model.ids import OperationId
from worker.model.instance import Instance, VmState
from worker.model.operation import Operation, end_line
from worker.model.peripheral import DeviceRow, Peripheral
from worker.model.swap_sides import other_side, turned
from worker.model.update import Phases, Update
from worker.ports import Ports

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AbandonOperation:
    """Call: give a stuck operation up; its device is free again."""

    operation_id: OperationId


PhasesOf = Callable[[str], Phases | None]
"""What is told of a method's operations."""

UNDECIDED = (DeviceStatus.ATTACHING, DeviceStatus.DETACHING, DeviceStatus.ERROR)
"""What a stuck operation leaves its row as; any other status is true by itself."""


def abandon_operation(
    request: AbandonOperation, ports: Ports, *, phases_of: PhasesOf
) -> dict[str, Any]:
    """End the operation as ``abandoned`` and make its row say what the guest has.

    The guest is looked at and not changed; when it cannot be, nothing is decided. The answer is
    the operation with a ``message`` that says what was decided of the row.
    """
    operation = ports.operations.get(request.operation_id)
    check_stuck(operation)
    device, message = _decide(operation, ports)
    ended = give_up(operation, device, ports, phases_of)
    return ended.public() | {"message": message}


def give_up(
    operation: Operation, device: DeviceRow | None, ports: Ports, phases_of: PhasesOf
) -> Operation:
    """End a stuck operation as ``abandoned`` and tell it; return it as kept.

    Raises OperationWrongState when somebody else has decided of it meanwhile.
    """
    phases = phases_of(operation.method)
    update = None if phases is None else _error(operation, phases, device)
    ended = ports.stuck.abandon(operation.id, update)
    LOG.info(end_line(ended, seconds=0.0))
    return ended


def _decide(operation: Operation, ports: Ports) -> tuple[DeviceRow | None, str]:
    """Return the row as it is from now on, and what to say of it."""
    row = row_of(operation, ports)
    if isinstance(row, Peripheral):
        return _decide_peripheral(row, ports)
    if row is None:
        return None, _decide_rescue(operation, ports)
    if row.deleted:
        return row, f"block device {row.uuid} was removed before"
    if row.status not in UNDECIDED:
        return row, f"block device {row.uuid} stays {row.status}"
    if _guest_has(row, ports):
        row = replace(_with_what_guest_has(row, ports), status=DeviceStatus.ATTACHED)
        ports.devices.save(row)
        return row, f"block device {row.uuid} is attached: the guest has {row.alias}"
    ports.devices.remove(row)
    return (
        row,
        f"block device {row.uuid} is removed: the guest has no {row.alias}{_left(row, ports)}",
    )


def _decide_peripheral(row: Peripheral, ports: Ports) -> tuple[Peripheral, str]:
    if row.deleted:
        return row, f"{row.kind} {row.uuid} was removed before"
    if row.status not in UNDECIDED:
        return row, f"{row.kind} {row.uuid} stays {row.status}"
    seen = see(row, guest_of(row.instance, ports), ports)
    if seen.shown or seen.kept is not None:
        row = replace(row, status=DeviceStatus.ATTACHED)
        ports.peripherals.save(row)
        return row, f"{row.kind} {row.uuid} is attached: the guest has {row.alias}"
    ports.peripherals.remove(row)
    return row, f"{row.kind} {row.uuid} is removed: the guest has no {row.alias}"


def _decide_rescue(operation: Operation, ports: Ports) -> str:
    """Call an instance rescued of which a rescue has left something: an unrescue clears it away.

    Whatever its guest does by now: an unrescue looks.
    """
    instance = _instance(operation, ports)
    if instance is None or instance.rescue is None:
        return "no block device was held"
    rescue = replace(instance.rescue, since=instance.rescue.since or ports.clock.now())
    ports.instances.save(replace(instance, vm_state=VmState.RESCUED, rescue=rescue))
    return f"instance {instance.uuid} is in rescue; unrescue or destroy it"


def _instance(operation: Operation, ports: Ports) -> Instance | None:
    try:
        return None if operation.instance is None else ports.instances.get(operation.instance)
    except InstanceNotFound:
        return None


def _with_what_guest_has(row: BlockDevice, ports: Ports) -> BlockDevice:
    """Turn the row of a swap whose guest has gone over: a start gives it what the row says."""
    other = other_side(row)
    if row.swap is None or other.connection is None:
        return row
    there = ports.connector.find(other.connection)
    if (
        there is None
        or ports.block_copies.look(row.instance, row.alias).source != there.source.name
    ):
        return row
    row = turned(row, ports.volumes.show(other.its_volume))
    for side in (row, other_side(row)):
        if side.connection is not None:
            ports.connections.put(side, side.connection)
    return row


def _guest_has(row: BlockDevice, ports: Ports) -> bool:
    """Tell whether one of the guest's layouts has the disk; a domain that is gone has none.

    Neither has one in which another disk, in another place, bears the alias. Raises
    DeviceAmbiguous for any other doubt.
    """
    guest = guest_of(row.instance, ports)
    found = () if guest is None else looked_up(row, guest, ports)
    for one in found:
        if isinstance(one, Doubt) and one.why is not Why.ELSEWHERE:
            raise DeviceAmbiguous(one.said)
    return any(isinstance(one, Found) for one in found)


def _left(row: BlockDevice, ports: Ports) -> str:
    """Name what was not looked at: host and volume service are the operator's to clear."""
    if row.local:
        return "; left as it is: its file, which goes with the instance"
    left = [] if row.attachment is None else [f"attachment {row.attachment}"]
    if ports.connections.get(row.uuid) is not None:
        left.append("the record that this host is connected")
    if row.swap is not None:
        left.append(f"volume {row.swap.volume}, the other side of its swap")
    return f"; left as it is: {', '.join(left)}" if left else ""


def _error(operation: Operation, phases: Phases, device: DeviceRow | None) -> Update:
    update = Update(
        event=phases.error,
        instance=operation.instance,
        operation=operation.id,
        request_id=operation.request_id,
        fault=operation.fault,
    )
    return update.about(device)
