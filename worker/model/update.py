"""An update: what the worker tells the bus about a change of state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, assert_never

from worker.model.block_device import BlockDevice
from worker.model.ids import InstanceId, OperationId
from worker.model.operation import Fault
from worker.model.peripheral import DeviceRow, Peripheral


class Event(StrEnum):
    """Every event type that is told."""

    VOLUME_ATTACH_START = "instance.volume_attach.start"
    VOLUME_ATTACH_END = "instance.volume_attach.end"
    VOLUME_ATTACH_ERROR = "instance.volume_attach.error"
    VOLUME_DETACH_START = "instance.volume_detach.start"
    VOLUME_DETACH_END = "instance.volume_detach.end"
    VOLUME_DETACH_ERROR = "instance.volume_detach.error"
    VOLUME_EXTEND_START = "instance.volume_extend.start"
    VOLUME_EXTEND_END = "instance.volume_extend.end"
    VOLUME_EXTEND_ERROR = "instance.volume_extend.error"
    UPDATE_START = "block_device.update.start"
    UPDATE_END = "block_device.update.end"
    UPDATE_ERROR = "block_device.update.error"
    VOLUME_SWAP_START = "instance.volume_swap.start"
    VOLUME_SWAP_PROGRESS = "instance.volume_swap.progress"
    VOLUME_SWAP_END = "instance.volume_swap.end"
    VOLUME_SWAP_ERROR = "instance.volume_swap.error"
    POWER = "instance.power"
    RESERVED = "block_device.reserved"
    RELEASED = "block_device.released"
    REFUSED = "operation.refused"
    STUCK = "operation.stuck"
    BUILD_START = "instance.build.start"
    BUILD_END = "instance.build.end"
    BUILD_ERROR = "instance.build.error"
    START_START = "instance.start.start"
    START_END = "instance.start.end"
    START_ERROR = "instance.start.error"
    STOP_START = "instance.stop.start"
    STOP_END = "instance.stop.end"
    STOP_ERROR = "instance.stop.error"
    REBOOT_START = "instance.reboot.start"
    REBOOT_END = "instance.reboot.end"
    REBOOT_ERROR = "instance.reboot.error"
    DESTROY_START = "instance.destroy.start"
    DESTROY_END = "instance.destroy.end"
    DESTROY_ERROR = "instance.destroy.error"
    RESCUE_START = "instance.rescue.start"
    RESCUE_END = "instance.rescue.end"
    RESCUE_ERROR = "instance.rescue.error"
    UNRESCUE_START = "instance.unrescue.start"
    UNRESCUE_END = "instance.unrescue.end"
    UNRESCUE_ERROR = "instance.unrescue.error"
    INTERFACE_ATTACH_START = "instance.interface_attach.start"
    INTERFACE_ATTACH_END = "instance.interface_attach.end"
    INTERFACE_ATTACH_ERROR = "instance.interface_attach.error"
    INTERFACE_DETACH_START = "instance.interface_detach.start"
    INTERFACE_DETACH_END = "instance.interface_detach.end"
    INTERFACE_DETACH_ERROR = "instance.interface_detach.error"
    HOST_DEVICE_ATTACH_START = "instance.host_device_attach.start"
    HOST_DEVICE_ATTACH_END = "instance.host_device_attach.end"
    HOST_DEVICE_ATTACH_ERROR = "instance.host_device_attach.error"
    HOST_DEVICE_DETACH_START = "instance.host_device_detach.start"
    HOST_DEVICE_DETACH_END = "instance.host_device_detach.end"
    HOST_DEVICE_DETACH_ERROR = "instance.host_device_detach.error"
    ADOPT_START = "instance.adopt.start"
    ADOPT_END = "instance.adopt.end"
    ADOPT_ERROR = "instance.adopt.error"
    FORGET_START = "instance.forget.start"
    FORGET_END = "instance.forget.end"
    FORGET_ERROR = "instance.forget.error"
    RELEASE_START = "instance.release.start"
    RELEASE_END = "instance.release.end"
    RELEASE_ERROR = "instance.release.error"
    IMPORT_START = "instance.import.start"
    IMPORT_END = "instance.import.end"
    IMPORT_ERROR = "instance.import.error"
    MISSING = "block_device.missing"
    RETURNED = "block_device.returned"
    GHOST = "block_device.ghost"
    DRIFT_REPAIRED = "instance.drift_repaired"
    ALIASES_MIGRATED = "instance.aliases_migrated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Phases:
    """The three events of an operation that is told: one at its start, one at its end."""

    start: Event
    end: Event
    error: Event


ATTACH_PHASES = Phases(
    start=Event.VOLUME_ATTACH_START,
    end=Event.VOLUME_ATTACH_END,
    error=Event.VOLUME_ATTACH_ERROR,
)
DETACH_PHASES = Phases(
    start=Event.VOLUME_DETACH_START,
    end=Event.VOLUME_DETACH_END,
    error=Event.VOLUME_DETACH_ERROR,
)
EXTEND_PHASES = Phases(
    start=Event.VOLUME_EXTEND_START,
    end=Event.VOLUME_EXTEND_END,
    error=Event.VOLUME_EXTEND_ERROR,
)
UPDATE_PHASES = Phases(start=Event.UPDATE_START, end=Event.UPDATE_END, error=Event.UPDATE_ERROR)
SWAP_PHASES = Phases(
    start=Event.VOLUME_SWAP_START,
    end=Event.VOLUME_SWAP_END,
    error=Event.VOLUME_SWAP_ERROR,
)
INTERFACE_ATTACH_PHASES = Phases(
    start=Event.INTERFACE_ATTACH_START,
    end=Event.INTERFACE_ATTACH_END,
    error=Event.INTERFACE_ATTACH_ERROR,
)
INTERFACE_DETACH_PHASES = Phases(
    start=Event.INTERFACE_DETACH_START,
    end=Event.INTERFACE_DETACH_END,
    error=Event.INTERFACE_DETACH_ERROR,
)
HOST_DEVICE_ATTACH_PHASES = Phases(
    start=Event.HOST_DEVICE_ATTACH_START,
    end=Event.HOST_DEVICE_ATTACH_END,
    error=Event.HOST_DEVICE_ATTACH_ERROR,
)
HOST_DEVICE_DETACH_PHASES = Phases(
    start=Event.HOST_DEVICE_DETACH_START,
    end=Event.HOST_DEVICE_DETACH_END,
    error=Event.HOST_DEVICE_DETACH_ERROR,
)
BUILD_PHASES = Phases(start=Event.BUILD_START, end=Event.BUILD_END, error=Event.BUILD_ERROR)
START_PHASES = Phases(start=Event.START_START, end=Event.START_END, error=Event.START_ERROR)
STOP_PHASES = Phases(start=Event.STOP_START, end=Event.STOP_END, error=Event.STOP_ERROR)
REBOOT_PHASES = Phases(start=Event.REBOOT_START, end=Event.REBOOT_END, error=Event.REBOOT_ERROR)
DESTROY_PHASES = Phases(start=Event.DESTROY_START, end=Event.DESTROY_END, error=Event.DESTROY_ERROR)
RESCUE_PHASES = Phases(start=Event.RESCUE_START, end=Event.RESCUE_END, error=Event.RESCUE_ERROR)
UNRESCUE_PHASES = Phases(
    start=Event.UNRESCUE_START, end=Event.UNRESCUE_END, error=Event.UNRESCUE_ERROR
)
ADOPT_PHASES = Phases(start=Event.ADOPT_START, end=Event.ADOPT_END, error=Event.ADOPT_ERROR)
FORGET_PHASES = Phases(start=Event.FORGET_START, end=Event.FORGET_END, error=Event.FORGET_ERROR)
RELEASE_PHASES = Phases(start=Event.RELEASE_START, end=Event.RELEASE_END, error=Event.RELEASE_ERROR)
IMPORT_PHASES = Phases(start=Event.IMPORT_START, end=Event.IMPORT_END, error=Event.IMPORT_ERROR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """One update before it is numbered.

    ``count`` is there where something is counted (differences mended), ``devices`` where it is told
    what became of each, ``percent`` how far something is; they are told only there.
    Sequence, host, states of the instance and time are added by ``persistence/`` in the
    transaction that writes it, so that they are those of that moment.
    """

    event: Event
    instance: InstanceId | None
    operation: OperationId | None = None
    request_id: str | None = None
    block_device: BlockDevice | None = None
    peripheral: Peripheral | None = None
    fault: Fault | None = None
    count: int | None = None
    devices: Sequence[Mapping[str, str | None]] | None = None
    percent: int | None = None

    def about(self, row: DeviceRow | None) -> "Update":
        """Return the update with the row that it is about, where that is told."""
        match row:
            case None:
                return self
            case BlockDevice():
                return replace(self, block_device=row)
            case Peripheral():
                return replace(self, peripheral=row)
            case _:
                assert_never(row)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxEntry:
    """An update as it was written: numbered, and ready to be published.

    ``id`` orders the outbox; ``message_id`` stays the same however often it is published.
    """

    id: int
    message_id: str
    event: Event
    instance: InstanceId | None
    payload: Mapping[str, Any]
