"""An instance: the guest of one domain, in this worker's care."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from worker.model.ids import InstanceId
from worker.model.specification import Specification


class VmState(StrEnum):
    """What the guest is doing, as far as the worker knows."""

    BUILDING = "building"
    ACTIVE = "active"
    PAUSED = "paused"
    STOPPED = "stopped"
    RESCUED = "rescued"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One row of ``instances``; ``specification`` is frozen when the row is made.

    An adopted one has none: its domain was made by other hands.
    """

    uuid: InstanceId
    host: str
    name: str
    vm_state: VmState
    task_state: str | None = None
    project_id: str | None = None
    user_id: str | None = None
    specification: Specification | None = None

    def public(self) -> dict[str, Any]:
        """Return the fields that may leave the worker."""
        return {
            "uuid": self.uuid,
            "host": self.host,
            "name": self.name,
            "vm_state": self.vm_state.value,
            "task_state": self.task_state,
            "project_id": self.project_id,
            "user_id": self.user_id,
        }
