"""Let go of an instance that was exported, so that another host can have it."""

from dataclasses import dataclass, replace

from worker.handlers import host_volume
from worker.handlers.export_instance import check_at_rest, layout_of_stopped
from worker.handlers.forget_instance import check_alone
from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.carried import RELEASED
from worker.model.ids import InstanceId
from worker.model.instance import Instance, VmState
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseInstance:
    """Operation: give up an exported instance's domain and connections, not its rows or files."""

    instance_uuid: InstanceId


def release_instance(request: ReleaseInstance, ports: Ports) -> None:
    """Have neither hypervisor nor host hold on to the instance; its guest must be off.

    Rows and attachments stay until it is imported elsewhere, and forgotten here: until then
    nothing is lost. Past its checks it only goes forward.
    """
    check_alone(request.instance_uuid, ports)
    instance = ports.instances.get(request.instance_uuid)
    if instance.task_state == RELEASED:
        return
    if not ports.progress.past_commit_point:
        layout_of_stopped(instance, ports.guests.describe(instance.uuid))
        check_at_rest(ports.devices.of_instance(instance.uuid))
        ports.progress.pass_commit_point()
    ports.definitions.drop(instance.uuid)
    for row in ports.devices.of_instance(instance.uuid):
        if not row.local:
            _let_go(row, ports)
    _keep(instance, ports)


def _let_go(row: BlockDevice, ports: Ports) -> None:
    connection = ports.connections.get(row.uuid)
    host_volume.disconnect(row.uuid, row.its_volume, connection, ports)
    ports.devices.save(replace(row, status=DeviceStatus.MISSING))


def _keep(instance: Instance, ports: Ports) -> None:
    ports.instances.save(replace(instance, vm_state=VmState.STOPPED, task_state=RELEASED))
