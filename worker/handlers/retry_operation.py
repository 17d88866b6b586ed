"""Run a stuck operation again."""

from dataclasses import dataclass

from worker.errors import OperationWrongState
from worker.model.ids import OperationId
from worker.model.operation import Operation, OperationState
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryOperation:
    """Call: run a stuck operation again, from where it stands."""

    operation_id: OperationId


def retry_operation(request: RetryOperation, ports: Ports) -> Operation:
    """Return the operation, unfinished again; the table says that it is to be run."""
    check_stuck(ports.operations.get(request.operation_id))
    return ports.stuck.reopen(request.operation_id)


def check_stuck(operation: Operation) -> None:
    """Raise OperationWrongState unless the operation waits for an operator."""
    if operation.state is not OperationState.STUCK:
        message = f"operation {operation.id} is {operation.state}, not stuck"
        raise OperationWrongState(message)
