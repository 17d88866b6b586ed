"""Nova's words for what a server is and does."""

import hashlib
import re
from collections.abc import Mapping
from types import MappingProxyType

from worker.model.instance import Instance, TaskState, VmState
from worker.persistence.fleet import Doing

ZONE = "nova"
"""The one availability zone there is, by the name of Nova's default."""

_REBOOTING = MappingProxyType(
    {TaskState.REBOOTING: "REBOOT", TaskState.REBOOTING_HARD: "HARD_REBOOT"}
)

STATUS: Mapping[VmState, str] = MappingProxyType(
    {
        VmState.ACTIVE: "ACTIVE",
        VmState.BUILDING: "BUILD",
        VmState.PAUSED: "PAUSED",
        VmState.STOPPED: "SHUTOFF",
        VmState.RESCUED: "RESCUE",
        VmState.ERROR: "ERROR",
    }
)

POWER = MappingProxyType(
    {VmState.ACTIVE: 1, VmState.RESCUED: 1, VmState.PAUSED: 3, VmState.STOPPED: 4}
)
"""Nova's numbers; 0 is not known."""


def status_of(instance: Instance) -> str:
    """Return Nova's one word for what a server does."""
    task = instance.task_state
    if instance.vm_state is VmState.ACTIVE and task is not None and task in _REBOOTING:
        return _REBOOTING[task]
    return STATUS[instance.vm_state]


def doing_of(status: str) -> Doing | None:
    """Return what servers with that status are at; None for a status that no server has."""
    for task, word in _REBOOTING.items():
        if status.upper() == word:
            return Doing(state=VmState.ACTIVE, tasks=(task.value,))
    state = next((state for state, word in STATUS.items() if word == status.upper()), None)
    if state is None:
        return None
    others = tuple(task.value for task in _REBOOTING) if state is VmState.ACTIVE else ()
    return Doing(state=state, other_tasks=others)


def hostname_of(name: str) -> str:
    """Return the name as a host may have it, as Nova makes it."""
    words = re.sub(r"[ _.]", "-", name.encode("ascii", "ignore").decode())
    return re.sub(r"[^\w-]+", "", words).lower().strip("-")[:63]


def host_id(host: str, project: str | None) -> str:
    """Return the name of a host as one project sees it; no two projects see the same."""
    return hashlib.sha224(f"{project or ''}{host}".encode(), usedforsecurity=False).hexdigest()
