"""One operation of the journal."""

from typing import Any

from worker.model.requests import GetOperation
from worker.ports import Ports


def get_operation(request: GetOperation, ports: Ports) -> dict[str, Any]:
    """Return the operation with its steps."""
    return ports.operations.get(request.operation_id).public()
