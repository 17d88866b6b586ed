"""Let go of an instance, so that another host can have it."""

from dataclasses import dataclass, replace

from worker.handlers.forget_instance import check_alone
from worker.handlers.parts import host_volume
from worker.handlers.parts.taken_down import taken_down
from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.ids import InstanceId
from worker.model.instance import Instance, TaskState, VmState
from worker.model.moving.carried import Release, written
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseInstance:
    """Operation: give up an instance's domain and connections, not its rows or files."""

    instance_uuid: InstanceId


def release_instance(request: ReleaseInstance, ports: Ports) -> None:
    """Have neither hypervisor nor host hold on to the instance; its guest must be off.

    Its document, which says that it was released, is kept first: an export answers it from then
    on. Rows and attachments stay until it is imported elsewhere, and forgotten here. Past its
    checks, which are those of an export, it only goes forward.
    """
    check_alone(request.instance_uuid, ports)
    instance = ports.instances.get(request.instance_uuid)
    if instance.task_state == TaskState.RELEASED:
        return
    if not ports.progress.past_commit_point:
        mark = Release(host=ports.host, at=ports.clock.now().isoformat())
        carried = replace(taken_down(instance, ports), release=mark)
        ports.moves.keep(instance.uuid, written(carried))
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
    ports.instances.save(replace(instance, vm_state=VmState.STOPPED, task_state=TaskState.RELEASED))
