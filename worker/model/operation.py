"""An operation: something asked of this worker, from its acceptance to its one end."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from worker.errors import (
    GuestBusy,
    HypervisorRefused,
    HypervisorUnavailable,
    WorkerError,
    told,
)
from worker.model.ids import DeviceId, InstanceId, OperationId
from worker.model.secret import shown


class OperationState(StrEnum):
    """Where an operation is; the last four are ends, ``stuck`` one that an operator may undo."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STUCK = "stuck"
    ABANDONED = "abandoned"

    @property
    def ended(self) -> bool:
        """Whether nothing more will be done for the operation by itself."""
        return self not in (OperationState.QUEUED, OperationState.RUNNING)


UNSETTLED = (OperationState.QUEUED, OperationState.RUNNING, OperationState.STUCK)
"""What may still be done for an operation, by the worker or by an operator's retry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why something failed, as far as it may be told: a stable code and a sentence."""

    code: str
    message: str


WORKER_DIED = Fault(code="worker.died", message="the worker died in this step")
"""Of a step that was open when its worker ended."""


def fault_of(error: Exception) -> Fault:
    """Return what may be told of an error: never a class name or a traceback."""
    known = error if isinstance(error, WorkerError) else WorkerError
    return Fault(code=known.code, message=told(error))


class StepOutcome(StrEnum):
    """How a step ended; one that never did is ``open``."""

    OPEN = "open"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One outside call made for an operation; ``seconds`` is None while it is open."""

    number: int
    attempt: int
    name: str
    started_at: datetime
    seconds: float | None = None
    outcome: StepOutcome = StepOutcome.OPEN
    fault: Fault | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One row of the journal.

    ``arguments`` are those of the method's request, as plain JSON. ``lane`` is the instance, or
    what else keeps operations in order (a pool volume). ``past_commit_point`` says that the
    operation only goes forward from here. ``deadline`` is set when it begins and, should it be run
    again, anew; one that was ``late`` ran past it. ``progress`` is how far, in percent, one that
    takes long has come; with ``cancel_requested`` a caller has asked for its end. Times are UTC.
    """

    id: OperationId
    method: str
    arguments: Mapping[str, Any]
    lane: str
    instance: InstanceId | None = None
    block_device: DeviceId | None = None
    request_id: str | None = None
    own: bool = False
    state: OperationState = OperationState.QUEUED
    attempts: int = 0
    past_commit_point: bool = False
    progress: int | None = None
    cancel_requested: bool = False
    accepted_at: datetime | None = None
    expires_at: datetime | None = None
    started_at: datetime | None = None
    deadline: datetime | None = None
    late: bool = False
    ended_at: datetime | None = None
    fault: Fault | None = None
    steps: tuple[Step, ...] = field(default=())

    @property
    def deaths(self) -> int:
        """How often the worker died in a step of it, the death before this start included."""
        died_now = any(step.outcome is StepOutcome.OPEN for step in self.steps)
        return self.attempts + died_now

    def public(self) -> dict[str, Any]:
        """Return the fields that may leave the worker, times in ISO 8601."""
        return {
            "operation_id": self.id,
            "method": self.method,
            "arguments": shown(self.arguments),
            "instance_uuid": self.instance,
            "bdm_uuid": self.block_device,
            "request_id": self.request_id,
            "own": self.own,
            "state": self.state.value,
            "attempts": self.attempts,
            "past_commit_point": self.past_commit_point,
            "progress": self.progress,
            "cancel_requested": self.cancel_requested,
            "accepted_at": _iso(self.accepted_at),
            "expires_at": _iso(self.expires_at),
            "started_at": _iso(self.started_at),
            "deadline": _iso(self.deadline),
            "late": self.late,
            "ended_at": _iso(self.ended_at),
            "fault": None if self.fault is None else _fault(self.fault),
            "steps": [_step(step) for step in self.steps],
        }


def lane_of(arguments: Mapping[str, Any]) -> str:
    """Return which others an operation keeps its turn with: its instance's, else its volume's."""
    return arguments.get("instance_uuid") or f"volume:{arguments['volume_id']}"


ASKED = (GuestBusy.code, HypervisorRefused.code, HypervisorUnavailable.code)
"""What a detach ends with whose guest was asked, or may have been, and kept the device so far."""


def kept_by_guest(detach: Operation | None) -> bool:
    """Tell of the last detach of a device whether its guest kept it, and may let go of it yet."""
    if detach is None or detach.state is not OperationState.FAILED:
        return False
    return detach.fault is not None and detach.fault.code in ASKED


def end_line(ended: Operation, seconds: float) -> str:
    """Return the one line that the log has of an operation, at its end."""
    return (
        f"operation ended: operation={ended.id} method={ended.method}"
        f" instance={ended.instance or '-'} device={ended.block_device or '-'}"
        f" state={ended.state} seconds={seconds:.3f}"
        f" code={'-' if ended.fault is None else ended.fault.code}"
    )


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _fault(fault: Fault) -> dict[str, str]:
    return {"code": fault.code, "message": fault.message}


def _step(step: Step) -> dict[str, Any]:
    return {
        "number": step.number,
        "attempt": step.attempt,
        "name": step.name,
        "started_at": _iso(step.started_at),
        "seconds": step.seconds,
        "outcome": step.outcome.value,
        "fault": None if step.fault is None else _fault(step.fault),
    }
