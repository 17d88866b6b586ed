"""Have an operation end that nobody wants any more."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from worker.model.ids import OperationId
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelOperation:
    """Call: ask for the end of an operation that waits, or copies."""

    operation_id: OperationId


def cancel_operation(
    request: CancelOperation, ports: Ports, *, cancellable: Collection[str]
) -> dict[str, Any]:
    """Note that the operation is to end; return it as it is now, which may not be its end yet.

    One that is queued fails at its turn, before it begins. One of a ``cancellable`` method that
    runs goes back at its next look. Both end with ``operation.cancelled``; one that passes its
    commit point meanwhile goes on, and its end tells. Raises OperationWrongState for any other.
    """
    return ports.cancelling.ask(request.operation_id, cancellable).public()
