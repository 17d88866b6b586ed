"""The instance whose devices are to change, if they are this host's to change, and may change."""

from worker.errors import InstanceRescued, InstanceWrongState
from worker.model.ids import InstanceId
from worker.model.instance import Instance, TaskState, VmState
from worker.ports import Ports


def instance_here(uuid: InstanceId, ports: Ports) -> Instance:
    """Return it; raises InstanceNotFound for another host's, InstanceWrongState for one that moves.

    The rows of another host's instance can be seen in a database that both share, and a request
    may come after the instance has gone: it was meant for this host as it was before. While it
    moves, its devices are to stay as the document says that is carried.
    """
    instance = ports.instances.get(uuid)
    if instance.task_state in (TaskState.RELEASED, TaskState.IMPORTING):
        message = (
            f"instance {uuid} is {instance.task_state}; import it before you change its devices"
        )
        raise InstanceWrongState(message)
    return instance


def changeable_instance(uuid: InstanceId, ports: Ports) -> Instance:
    """Return it as ``instance_here`` does; raises InstanceRescued for one in rescue.

    What changes its devices asks here before it touches anything.
    """
    instance = instance_here(uuid, ports)
    check_changeable(instance, ports)
    return instance


def check_changeable(instance: Instance, ports: Ports) -> None:
    """Raise InstanceRescued unless the instance's devices may change now.

    An operation that has begun is brought to its end: it was allowed, or there was no rescue yet.
    """
    if not is_changeable(instance, ports) and not _has_begun(ports):
        message = (
            f"instance {instance.uuid} is in rescue, or on its way into it or out of it, and its"
            " devices stay as they are; ask again after its unrescue"
        )
        raise InstanceRescued(message)


def is_changeable(instance: Instance, ports: Ports) -> bool:
    """Tell whether the instance's devices may change: in rescue only where the host allows it.

    On the way into rescue, or out of it, they may not: what the guest has is being decided.
    """
    if instance.task_state in (TaskState.RESCUING, TaskState.UNRESCUING):
        return False
    return instance.vm_state is not VmState.RESCUED or ports.rescue.device_operations


def _has_begun(ports: Ports) -> bool:
    operation = ports.progress.operation
    return operation is not None and operation.started_at is not None
