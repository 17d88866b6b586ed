"""The instance whose devices are to change, if they are this host's to change."""

from worker.errors import InstanceWrongState
from worker.model.ids import InstanceId
from worker.model.instance import Instance, TaskState
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
