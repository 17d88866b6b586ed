"""From a message to an operation as the journal may have it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from worker.errors import MethodUnknown
from worker.execution import Kind
from worker.model.ids import OperationId, new_uuid
from worker.model.operation import Operation, lane_of
from worker.model.plain import plain
from worker.model.secret import SEALED, Secret
from worker.ports import Ports, Seals
from worker.rpc.reading import request_from
from worker.rpc.wire import Message, expiry_in, operation_id_in

OF_THE_MESSAGE = ("operation_id", "expires_at")
"""What each operation carries beside the arguments of its method."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An operation as it is asked for; its arguments may hold a secret."""

    operation: Operation
    request: Any
    kind: Kind

    def ready(self, ports: Ports) -> Operation:
        """Return it as the journal may have it: secrets sealed, the row that is meant noted."""
        sealed = _sealed(self.operation, ports.seals)
        return _pinned(sealed, self.request, self.kind, ports)


def asked_by(message: Message, kinds: Mapping[str, Kind]) -> Asked:
    """Return what the message asks for; raises MethodUnknown, RequestMalformed."""
    kind = kinds.get(message.method)
    if kind is None or kind.own_only:
        raise MethodUnknown("there is no operation of that name")
    arguments = {k: v for k, v in message.arguments.items() if k not in OF_THE_MESSAGE}
    request = request_from(kind.request, arguments)
    operation = _operation(
        operation_id_in(message.arguments),
        message.method,
        request,
        kind,
        request_id=message.request_id,
        expires_at=expiry_in(message.arguments),
    )
    return Asked(operation=operation, request=request, kind=kind)


def asked_of_oneself(method: str, request: Any, kind: Kind) -> Asked:  # noqa: ANN401
    """Return an operation of the worker's own."""
    operation = _operation(OperationId(new_uuid()), method, request, kind, own=True)
    return Asked(operation=operation, request=request, kind=kind)


def _operation(
    id_: OperationId,
    method: str,
    request: Any,  # noqa: ANN401
    kind: Kind,
    **more: Any,  # noqa: ANN401
) -> Operation:
    arguments = plain(request)
    return Operation(
        id=id_,
        method=method,
        arguments=arguments,
        lane=lane_of(arguments),
        instance=arguments.get("instance_uuid"),
        block_device=arguments.get(kind.row),
        **more,
    )


def _sealed(operation: Operation, seals: Seals) -> Operation:
    """Hide the secret arguments, before the journal or any message of ours sees them."""
    if not any(isinstance(value, Secret) for value in operation.arguments.values()):
        return operation
    arguments = {
        name: {SEALED: seals.seal(operation.id, name, value)}
        if isinstance(value, Secret)
        else value
        for name, value in operation.arguments.items()
    }
    return replace(operation, arguments=arguments)


def _pinned(operation: Operation, request: Any, kind: Kind, ports: Ports) -> Operation:  # noqa: ANN401
    """Note the row that is meant; the arguments stay as they came, so a copy compares equal."""
    if kind.makes is not None:
        return replace(operation, block_device=kind.makes(operation.id))
    if kind.pin is None:
        return operation
    return replace(operation, block_device=kind.pin(request, ports))
