"""One operation of the journal."""

from dataclasses import dataclass
from typing import Any

from worker.model.downtime import seconds_without_guest
from worker.model.ids import OperationId
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class GetOperation:
    """Call: one operation of the journal, with its steps."""

    operation_id: OperationId


def get_operation(request: GetOperation, ports: Ports) -> dict[str, Any]:
    """Return the operation with its steps, and how long it left its guest off between two."""
    found = ports.operations.get(request.operation_id)
    return found.public() | {"seconds_without_guest": seconds_without_guest(found.steps)}
