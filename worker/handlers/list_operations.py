"""Operations of the journal."""

from dataclasses import dataclass
from typing import Any

from worker.errors import RequestMalformed
from worker.model.ids import InstanceId
from worker.model.operation import OperationState
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOperations:
    """Call: operations of the journal, newest first."""

    instance_uuid: InstanceId | None = None
    state: str | None = None
    limit: int = 100


def list_operations(request: ListOperations, ports: Ports) -> list[dict[str, Any]]:
    """Return operations, newest first, without their steps."""
    if request.limit < 0:
        message = f"limit {request.limit} is negative"
        raise RequestMalformed(message)
    found = ports.operations.list(
        instance=request.instance_uuid, states=_states(request.state), limit=request.limit
    )
    return [operation.public() for operation in found]


def _states(text: str | None) -> tuple[OperationState, ...]:
    if text is None:
        return ()
    try:
        return (OperationState(text),)
    except ValueError as error:
        message = f"state {text!r} does not exist; one of {', '.join(OperationState)}"
        raise RequestMalformed(message) from error
