"""Operations and steps as rows, and back."""

from typing import Any

from sqlalchemy import Row

from worker.model.operation import Fault, Operation, OperationState, Step, StepOutcome


def operation_values(operation: Operation, host: str) -> dict[str, Any]:
    """Return the columns of a journal row."""
    return {
        "id": operation.id,
        "host": host,
        "method": operation.method,
        "arguments": dict(operation.arguments),
        "lane": operation.lane,
        "instance_uuid": operation.instance,
        "block_device_uuid": operation.block_device,
        "request_id": operation.request_id,
        "own": operation.own,
        "state": operation.state.value,
        "attempts": operation.attempts,
        "past_commit_point": operation.past_commit_point,
        "progress": operation.progress,
        "cancel_requested": operation.cancel_requested,
        "accepted_at": operation.accepted_at,
        "expires_at": operation.expires_at,
        "started_at": operation.started_at,
        "deadline": operation.deadline,
        "late": operation.late,
        "ended_at": operation.ended_at,
    } | fault_values(operation.fault)


def operation_of(row: Row[Any], steps: tuple[Step, ...] = ()) -> Operation:
    """Read an operation."""
    return Operation(
        id=row.id,
        method=row.method,
        arguments=row.arguments,
        lane=row.lane,
        instance=row.instance_uuid,
        block_device=row.block_device_uuid,
        request_id=row.request_id,
        own=row.own,
        state=OperationState(row.state),
        attempts=row.attempts,
        past_commit_point=row.past_commit_point,
        progress=row.progress,
        cancel_requested=row.cancel_requested,
        accepted_at=row.accepted_at,
        expires_at=row.expires_at,
        started_at=row.started_at,
        deadline=row.deadline,
        late=row.late,
        ended_at=row.ended_at,
        fault=_fault_of(row),
        steps=steps,
    )


def step_of(row: Row[Any]) -> Step:
    """Read a step."""
    return Step(
        number=row.number,
        attempt=row.attempt,
        name=row.name,
        started_at=row.started_at,
        seconds=row.seconds,
        outcome=StepOutcome(row.outcome),
        fault=_fault_of(row),
    )


def fault_values(fault: Fault | None) -> dict[str, str | None]:
    """Return the columns of a fault."""
    if fault is None:
        return {"fault_code": None, "fault_message": None}
    return {"fault_code": fault.code, "fault_message": fault.message}


def _fault_of(row: Row[Any]) -> Fault | None:
    if row.fault_code is None:
        return None
    return Fault(code=row.fault_code, message=row.fault_message)
