"""From which state Nova takes each action; the worker may take it from more."""

from collections.abc import Mapping
from types import MappingProxyType

from worker.api.asked import Refused
from worker.model.instance import Instance, TaskState, VmState

_IDLE: frozenset[TaskState | None] = frozenset({None})
_REBOOTS = frozenset({None, TaskState.REBOOTING, TaskState.REBOOTING_HARD})

_STATES: Mapping[str, frozenset[VmState]] = MappingProxyType(
    {
        "start": frozenset({VmState.STOPPED}),
        "stop": frozenset({VmState.ACTIVE, VmState.ERROR}),
        "reboot": frozenset({VmState.ACTIVE}),
        "reboot_hard": frozenset({VmState.ACTIVE, VmState.STOPPED, VmState.PAUSED, VmState.ERROR}),
        "rescue": frozenset({VmState.ACTIVE, VmState.STOPPED, VmState.ERROR}),
        "unrescue": frozenset({VmState.RESCUED}),
        "attach_volume": frozenset({VmState.ACTIVE, VmState.PAUSED, VmState.STOPPED}),
        "detach_volume": frozenset({VmState.ACTIVE, VmState.PAUSED, VmState.STOPPED}),
        "swap_volume": frozenset({VmState.ACTIVE, VmState.PAUSED}),
    }
)
_TASKS: Mapping[str, frozenset[TaskState | None]] = MappingProxyType({"reboot_hard": _REBOOTS})


def check_takes(action: str, instance: Instance) -> None:
    """Raise Refused (409) unless the server takes the action now: Nova's words, and when it can."""
    if instance.vm_state not in _STATES[action]:
        fit = " or ".join(sorted(_STATES[action]))
        where = f"vm_state {instance.vm_state}; it can be done while that is {fit}"
        raise _conflict(action, instance, where)
    if instance.task_state not in _TASKS.get(action, _IDLE):
        where = f"task_state {instance.task_state}; ask again once that has ended"
        raise _conflict(action, instance, where)


def _conflict(action: str, instance: Instance, where: str) -> Refused:
    name = action.removesuffix("_hard")
    return Refused(409, f"Cannot '{name}' instance {instance.uuid} while it is in {where}")
