"""Write an instance down as it can be carried to another host."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from worker.errors import DeviceWrongState, InstanceWrongState
from worker.handlers.forget_instance import check_alone
from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.carried import Carried, written
from worker.model.guest import Guest, Layout
from worker.model.ids import InstanceId
from worker.model.instance import Instance
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportInstance:
    """Call: everything that another host's worker needs to take the instance over."""

    instance_uuid: InstanceId


AT_REST = (DeviceStatus.ATTACHED, DeviceStatus.MISSING)


def export_instance(request: ExportInstance, ports: Ports) -> dict[str, Any]:
    """Return the document; change nothing.

    Raises OperationBlocked while an operation is at work, InstanceWrongState unless the guest is
    off and will be kept by its hypervisor, DeviceWrongState for a reservation that is open.
    """
    check_alone(request.instance_uuid, ports)
    instance = ports.instances.get(request.instance_uuid)
    layout = layout_of_stopped(instance, ports.guests.describe(instance.uuid))
    rows = ports.devices.of_instance(instance.uuid)
    check_at_rest(rows)
    volumes = {row.alias for row in rows if not row.local}
    carried = Carried(
        instance=replace(instance, task_state=None),
        rows=rows,
        text=ports.definitions.read(instance.uuid),
        sources={
            disk.alias: disk.source
            for disk in layout.disks
            if disk.alias is not None and disk.source is not None and disk.alias not in volumes
        },
    )
    return written(carried)


def check_at_rest(rows: Sequence[BlockDevice]) -> None:
    """Raise DeviceWrongState for a disk that is on its way to the instance, or from it."""
    for row in rows:
        if row.status not in AT_REST:
            message = f"block device {row.uuid} is {row.status}; release or detach it first"
            raise DeviceWrongState(message)


def layout_of_stopped(instance: Instance, guest: Guest) -> Layout:
    """Return the persistent layout of a guest that is off; raises InstanceWrongState."""
    if guest.live is not None or guest.persistent is None:
        message = f"instance {instance.uuid} is {guest.vm_state}; stop its guest first"
        raise InstanceWrongState(message)
    return guest.persistent
