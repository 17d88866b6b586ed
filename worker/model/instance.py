"""An instance: the guest of one domain, in this worker's care."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from worker.errors import InstanceRescued, InstanceWrongState
from worker.model.identity.marks import Adoption
from worker.model.ids import InstanceId
from worker.model.rescue.words import Rescue
from worker.model.specification import Specification


class VmState(StrEnum):
    """What the guest is doing, as far as the worker knows."""

    BUILDING = "building"
    ACTIVE = "active"
    PAUSED = "paused"
    STOPPED = "stopped"
    RESCUED = "rescued"
    ERROR = "error"


class TaskState(StrEnum):
    """What is being done with an instance, in Nova's words where it has one.

    A text that another release wrote is a word like any other: it is told, and written back, as it
    was read.
    """

    BUILDING = "building"
    """Until its guest runs."""

    POWERING_ON = "powering-on"
    POWERING_OFF = "powering-off"
    REBOOTING = "rebooting"
    REBOOTING_HARD = "rebooting_hard"
    RESCUING = "rescuing"
    UNRESCUING = "unrescuing"

    DELETING = "deleting"
    """Things of it are gone already."""

    RELEASED = "released"
    """Its host has let it go, for another to import."""

    IMPORTING = "importing"
    """Until each of its volumes is connected to its new host."""

    @classmethod
    def _missing_(cls, value: object) -> "TaskState | None":
        if not isinstance(value, str):
            return None
        unknown = str.__new__(cls, value)
        unknown._name_ = unknown._value_ = value
        return unknown


class PowerChange(StrEnum):
    """What can be asked of an instance's power."""

    START = "start"
    STOP = "stop"
    SOFT_REBOOT = "soft reboot"
    HARD_REBOOT = "hard reboot"
    RESCUE = "rescue"
    UNRESCUE = "unrescue"


_AT_REST = frozenset({VmState.ACTIVE, VmState.PAUSED, VmState.STOPPED, VmState.ERROR})

TAKEN_FROM: Mapping[PowerChange, frozenset[VmState]] = {
    PowerChange.START: _AT_REST - {VmState.PAUSED},
    PowerChange.STOP: _AT_REST,
    PowerChange.SOFT_REBOOT: frozenset({VmState.ACTIVE}),
    PowerChange.HARD_REBOOT: _AT_REST,
    PowerChange.RESCUE: _AT_REST - {VmState.PAUSED},
    PowerChange.UNRESCUE: frozenset({VmState.RESCUED}),
}
"""From which state each is taken; what asks for what is there already is done at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One row of ``instances``; ``specification`` is frozen when the row is made.

    An adopted one has none, for its domain was made by other hands: ``adoption``, frozen too, says
    what its disks were before. ``rescue`` is there from before its guest is taken off until it runs
    as it did.
    """

    uuid: InstanceId
    host: str
    name: str
    vm_state: VmState
    task_state: TaskState | None = None
    project_id: str | None = None
    user_id: str | None = None
    specification: Specification | None = None
    adoption: Adoption | None = None
    rescue: Rescue | None = None

    def public(self) -> dict[str, Any]:
        """Return the fields that may leave the worker."""
        return {
            "uuid": self.uuid,
            "host": self.host,
            "name": self.name,
            "vm_state": self.vm_state.value,
            "task_state": None if self.task_state is None else self.task_state.value,
            "project_id": self.project_id,
            "user_id": self.user_id,
            "rescue": None if self.rescue is None else self.rescue.public(),
        }

    def check_takes(self, change: PowerChange) -> None:
        """Raise InstanceWrongState unless the change can be made from its present state.

        InstanceRescued where an unrescue would help.
        """
        if self.vm_state is VmState.RESCUED and change is not PowerChange.UNRESCUE:
            message = f"instance {self.uuid} is in rescue, and takes no {change}; unrescue it first"
            raise InstanceRescued(message)
        if self.vm_state not in TAKEN_FROM[change]:
            message = f"instance {self.uuid} is {self.vm_state}, and takes no {change} now"
            raise InstanceWrongState(message)

    def check_built(self) -> None:
        """Raise InstanceWrongState while it is being built.

        A build takes every row for one of its own; what comes later waits for its end.
        """
        if self.vm_state is VmState.BUILDING:
            message = f"instance {self.uuid} is being built; ask again when that has ended"
            raise InstanceWrongState(message)

    def check_not_rescued(self) -> None:
        """Raise InstanceRescued while its guest runs by another layout than what is kept of it."""
        if self.vm_state is VmState.RESCUED or self.rescue is not None:
            message = f"instance {self.uuid} is in rescue; unrescue it first"
            raise InstanceRescued(message)
