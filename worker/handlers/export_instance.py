"""Write an instance down as it can be carried to another host."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from worker.errors import InstanceWrongState
from worker.handlers.forget_instance import check_alone
from worker.handlers.parts.taken_down import taken_down
from worker.model.ids import InstanceId
from worker.model.instance import TaskState
from worker.model.moving.carried import written
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportInstance:
    """Call: everything that another host's worker needs to take the instance over."""

    instance_uuid: InstanceId


def export_instance(request: ExportInstance, ports: Ports) -> dict[str, Any]:
    """Return the document; change nothing.

    That of an instance that was released says so, and is the same each time. Raises
    OperationBlocked while an operation is at work, InstanceWrongState for one that was released
    when no document was kept, and what ``taken_down`` raises.
    """
    check_alone(request.instance_uuid, ports)
    instance = ports.instances.get(request.instance_uuid)
    if instance.task_state == TaskState.RELEASED:
        return dict(_kept(instance.uuid, ports))
    return written(taken_down(instance, ports))


def _kept(instance: InstanceId, ports: Ports) -> Mapping[str, Any]:
    kept = ports.moves.kept(instance)
    if kept is None:
        message = (
            f"instance {instance} was released by an older release of this worker, which kept no"
            " document: import the one that it printed then, with --force"
        )
        raise InstanceWrongState(message)
    return kept
