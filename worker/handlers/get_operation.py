"""One operation of the journal."""

from dataclasses import dataclass
from typing import Any

from worker.model.ids import OperationId
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class GetOperation:
    """Call: one operation of the journal, with its steps."""

    operation_id: OperationId


def get_operation(request: GetOperation, ports: Ports) -> dict[str, Any]:
    """Return the operation with its steps."""
    return ports.operations.get(request.operation_id).public()
