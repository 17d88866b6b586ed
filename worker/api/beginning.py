"""Have a worker begin an operation: the one way in which the API asks for one."""

from typing import Any

from worker.api.asked import Asked
from worker.api.services import Services
from worker.errors import BrokerUnavailable, NoAnswer
from worker.model.ids import OperationId, new_uuid
from worker.model.instance import Instance


def begin(
    instance: Instance,
    method: str,
    asked: Asked,
    services: Services,
    **arguments: Any,  # noqa: ANN401 - plain JSON
) -> OperationId:
    """Return the operation on a server, as ``begin_at`` does."""
    return begin_at(
        instance.host, method, asked, services, instance_uuid=instance.uuid, **arguments
    )


def begin_at(
    host: str,
    method: str,
    asked: Asked,
    services: Services,
    **arguments: Any,  # noqa: ANN401 - plain JSON
) -> OperationId:
    """Return the operation, which is in the journal of the host's worker.

    An answer that does not come is looked for there. Raises NoAnswer and BrokerUnavailable for what
    is not there, and may come yet: it is what was asked for, and may be asked for again.
    """
    operation = OperationId(new_uuid())
    try:
        services.workers.call(
            host, method, request_id=asked.request_id, operation_id=operation, **arguments
        )
    except (NoAnswer, BrokerUnavailable):
        if services.fleet.operation(operation) is None:
            raise
    return operation
