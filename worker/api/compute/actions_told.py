"""The journal of an instance in Nova's words: actions, and the events of each.

Nova has one action for a request; a request may have begun several operations, which are one
action here. What has no request has the operation's own id in its place.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from worker.api.asked import UNASKED, Json, Who
from worker.api.compute.server_words import host_id
from worker.api.unplaced import fit_for
from worker.model.operation import Fault, Operation, OperationState, Step, StepOutcome
from worker.persistence.fleet import Server, Told

ACTIONS: Mapping[str, str] = {
    "build_instance": "create",
    "destroy_instance": "delete",
    "start_instance": "start",
    "resume_instance": "start",
    "stop_instance": "stop",
    "reboot_instance": "reboot",
    "rescue_instance": "rescue",
    "unrescue_instance": "unrescue",
}
"""Nova's words where they are not ours; the rest are called alike, or are not known to Nova."""

SUCCESS, ERROR = "Success", "Error"

FAILED = (OperationState.FAILED, OperationState.STUCK, OperationState.ABANDONED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Showing:
    """How much of an event is shown, by microversion and by rule."""

    traceback: bool = False
    host: bool = False
    host_id: bool = False
    details: bool = False
    who: Who = UNASKED


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What one request has begun on an instance; the oldest operation first."""

    request_id: str
    operations: Sequence[Told]

    @property
    def begun(self) -> datetime:
        """When it was accepted."""
        return _accepted(self.operations[0].operation)

    @property
    def updated(self) -> datetime:
        """When it last changed."""
        return max(_changed(told.operation) for told in self.operations)

    def public(self, server: Server, *, updated: bool) -> Json:
        """Return it as Nova would."""
        first = self.operations[0].operation
        failed = any(told.operation.state in FAILED for told in self.operations)
        found: Json = {
            "action": ACTIONS.get(first.method, first.method),
            "instance_uuid": server.instance.uuid,
            "request_id": self.request_id,
            "user_id": server.instance.user_id,
            "project_id": server.instance.project_id,
            "start_time": _at(self.begun),
            "message": ERROR if failed else None,
        }
        return found | ({"updated_at": _at(self.updated)} if updated else {})


def actions_of(operations: Iterable[Told]) -> list[Action]:
    """Return the actions that these operations, newest first, were begun by; newest first."""
    found: dict[str, list[Told]] = {}
    for told in operations:
        found.setdefault(request_of(told.operation), []).append(told)
    return [
        Action(request_id=request, operations=tuple(reversed(those)))
        for request, those in found.items()
    ]


def request_of(operation: Operation) -> str:
    """Return the id of the request, or what stands in for it."""
    return operation.request_id or f"req-{operation.id}"


def events_of(told: Told, server: Server, showing: Showing) -> Iterator[Json]:
    """Yield the events of an operation: it itself, then each of its steps."""
    operation = told.operation
    extra = _where(told.host, server, showing)
    yield (
        _event(
            f"compute_{operation.method}",
            operation.started_at or _accepted(operation),
            operation.ended_at,
            _result(operation),
        )
        | extra
        | _details(operation.fault, showing)
    )
    for step in operation.steps:
        ended = None if step.seconds is None else step.started_at + timedelta(seconds=step.seconds)
        event = _event(step.name, step.started_at, ended, _result_of(step))
        yield event | extra | _details(step.fault, showing)


def _event(name: str, begun: datetime, ended: datetime | None, result: str | None) -> Json:
    finish = None if ended is None else _at(ended)
    return {"event": name, "start_time": _at(begun), "finish_time": finish, "result": result}


def _where(host: str, server: Server, showing: Showing) -> Json:
    found: Json = {}
    if showing.traceback:
        # The journal has none: they would say more than who asks may know.
        found["traceback"] = None
    if showing.host:
        found["host"] = host
    if showing.host_id:
        found["hostId"] = host_id(host, server.instance.project_id)
    return found


def _details(fault: Fault | None, showing: Showing) -> Json:
    if not showing.details:
        return {}
    message = None if fault is None else fit_for(showing.who, fault.message)
    return {"details": None if fault is None else f"{fault.code}: {message}"}


def _result(operation: Operation) -> str | None:
    if operation.state is OperationState.SUCCEEDED:
        return SUCCESS
    return ERROR if operation.state in FAILED else None


def _result_of(step: Step) -> str | None:
    results = {StepOutcome.DONE: SUCCESS, StepOutcome.FAILED: ERROR, StepOutcome.OPEN: None}
    return results[step.outcome]


def _accepted(operation: Operation) -> datetime:
    if operation.accepted_at is None:
        message = f"operation {operation.id} is in the journal without a time"
        raise ValueError(message)
    return operation.accepted_at


def _changed(operation: Operation) -> datetime:
    return operation.ended_at or operation.started_at or _accepted(operation)


def _at(moment: datetime) -> str:
    """Return it as Nova writes times here: UTC without a zone, with microseconds."""
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds")
