"""Brings one operation to its one end: may it begin, its handler, its end and what is told."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from itertools import count
from typing import Any

from worker.errors import (
    DatabaseUnavailable,
    LeftBehind,
    OperationBlocked,
    OperationExpired,
    Unavailable,
    told,
)
from worker.handlers.parts.guest_secrets import take_secrets
from worker.handlers.parts.row_of import row_of
from worker.model.ids import DeviceId, OperationId
from worker.model.instance import TaskState
from worker.model.operation import Fault, Operation, OperationState, StepOutcome, end_line, fault_of
from worker.model.peripheral import DeviceRow
from worker.model.plain import built
from worker.model.secret import SEALED, is_sealed
from worker.model.update import Event, Phases, Update
from worker.ports import OperationRecord, Ports, Seals
from worker.steps import LOOKS
from worker.undo import Undo

LOG = logging.getLogger(__name__)


class Scope(StrEnum):
    """What an operation that is stuck keeps from being touched."""

    DEVICE = "device"
    INSTANCE = "instance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What the runner must know of one method.

    ``handler`` gets the request and the ports and returns the row it was about, if any. Such a row
    is named by the argument ``row``. ``pin`` is asked at acceptance for the one that a request
    means without naming it, ``makes`` for the one that it will make; the journal keeps it beside
    the arguments as they came, so that a second delivery compares equal.
    A kind that is ``own_only`` is begun by the worker itself and refused to others. ``blocks`` says
    what is kept from others while one of this kind is stuck; one that is ``unblocked`` begins all
    the same. ``task`` says of the arguments what the instance's ``task_state`` is meanwhile. One
    that is ``unhurried`` takes as long as there is much to copy, and can be cancelled on its way.
    ``refused`` gives back what a request brought along that may not begin; it may be called again.
    """

    request: type[Any]
    handler: Callable[[Any, Ports], DeviceRow | None]
    phases: Phases | None = None
    row: str = "bdm_uuid"
    pin: Callable[[Any, Ports], DeviceId | None] | None = None
    makes: Callable[[OperationId], DeviceId] | None = None
    own_only: bool = False
    blocks: Scope = Scope.DEVICE
    unblocked: bool = False
    task: Callable[[Mapping[str, Any]], TaskState] | None = None
    unhurried: bool = False
    refused: Callable[[Any, Ports], None] | None = None


def tell_nobody(_operation: Operation) -> None:
    """Pass over an end that nobody asked to be told of."""


def leave() -> None:
    """Close a page that keeps nothing open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The journal's page of one operation, and the ports whose calls it records.

    ``deadline`` is when the operation is late; nothing is stopped then. ``on_end`` is told of its
    end, once that is durable; ``on_close`` is called when the run is over, however it was.
    ``rest`` waits between two tries, and raises Stopped where the worker is not to try again.
    """

    record: OperationRecord
    ports: Ports
    deadline: datetime | None = None
    on_end: Callable[[Operation], None] = tell_nobody
    on_close: Callable[[], None] = leave
    rest: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long the runner goes on; times in seconds.

    25 waits come to ten minutes: a volume service or libvirt that is being upgraded.
    """

    max_attempts: int = 5
    max_waits: int = 25
    first_pause: float = 1.0
    longest_pause: float = 30.0

    def tries(self, error: Exception) -> int:
        """Return how often to go forward: longer where something only does not answer."""
        return self.max_waits if isinstance(error, Unavailable) else self.max_attempts

    def pause(self, attempt: int) -> float:
        """Return how long to wait after the n-th failure, n from 1."""
        return min(self.longest_pause, self.first_pause * 2.0 ** (attempt - 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """What a run came to; ``device`` is the row it was about, if any."""

    state: OperationState
    fault: Fault | None = None
    device: DeviceRow | None = None


def carry_out(
    operation: Operation, kinds: Mapping[str, Kind], page: Page, patience: Patience
) -> None:
    """Bring the operation to its end and tell it; raises DatabaseUnavailable and Stopped only."""
    begun = time.monotonic()
    kind = kinds[operation.method]
    outcome = _run(operation, kinds, page, patience)
    take_secrets(page.ports)
    try:
        ended = _end(operation, kind, page, outcome)
    except DatabaseUnavailable:
        raise
    except Exception as error:  # noqa: BLE001 - what waited was refused, and waits no more
        outcome = _unwritten(operation, outcome, error)
        ended = _end(operation, kind, page, outcome)
    page.on_end(ended)
    LOG.info(end_line(ended, time.monotonic() - begun))


def _run(
    operation: Operation, kinds: Mapping[str, Kind], page: Page, patience: Patience
) -> _Outcome:
    kind = kinds[operation.method]
    try:
        with Undo(page.ports.progress) as undo:
            undo.by(_give_back, operation, kind, page, patience)
            _check_may_begin(operation, kinds, page)
        _say_task(operation, kind, page, begins=True)
        page.record.start(_begin(operation, kind.phases, page), page.deadline)
        device = _go(operation, kind, page, patience)
    except DatabaseUnavailable:
        raise
    except LeftBehind as error:
        LOG.warning("operation stuck: operation=%s", operation.id, exc_info=error)
        return _Outcome(state=OperationState.STUCK, fault=fault_of(error))
    except Exception as error:  # noqa: BLE001 - whatever it was, the operation has its end
        return _Outcome(state=OperationState.FAILED, fault=_logged(operation, error))
    return _Outcome(state=OperationState.SUCCEEDED, device=device)


def _give_back(operation: Operation, kind: Kind, page: Page, patience: Patience) -> None:
    """Leave nothing of what came along with an operation that may not begin."""
    if kind.refused is not None:
        _count_death(operation, page, patience)
        kind.refused(_request_again(operation, kind, page.ports.seals), page.ports)


def _begin(operation: Operation, phases: Phases | None, page: Page) -> Update | None:
    """Return what is told of the begin, unless an earlier run has told it."""
    if phases is None or operation.state is not OperationState.QUEUED:
        return None
    return _update(phases.start, operation, page)


def _say_task(operation: Operation, kind: Kind, page: Page, *, begins: bool) -> None:
    """Say what is being done with the instance, or not any more; durable with what comes next.

    What another part says of it (that it was released, say) stays.
    """
    if kind.task is not None and operation.instance is not None:
        task = kind.task(operation.arguments)
        was, becomes = (None, task) if begins else (task, None)
        page.ports.instances.change_task(operation.instance, was=was, becomes=becomes)


def _end(operation: Operation, kind: Kind, page: Page, outcome: _Outcome) -> Operation:
    _say_task(operation, kind, page, begins=False)
    event = _last_event(kind.phases, outcome.state)
    update = _update(event, operation, page, device=outcome.device, fault=outcome.fault)
    return page.record.end(outcome.state, outcome.fault, update)


def _unwritten(operation: Operation, outcome: _Outcome, error: Exception) -> _Outcome:
    message = f"it {outcome.state}, but the database refused what it wrote: {told(error)}"
    fault = _logged(operation, LeftBehind(message))
    return _Outcome(state=OperationState.STUCK, fault=fault)


def _check_may_begin(operation: Operation, kinds: Mapping[str, Kind], page: Page) -> None:
    if operation.state is not OperationState.QUEUED:
        return
    if operation.expires_at is not None and operation.expires_at <= page.ports.clock.now():
        message = f"operation expired at {operation.expires_at.isoformat()}, before its first step"
        raise OperationExpired(message)
    page.ports.cancelling.check(operation)
    if operation.instance is None or kinds[operation.method].unblocked:
        return
    others = page.ports.operations.list(instance=operation.instance, states=NOT_OVERTAKEN)
    for other in others:
        if other.id != operation.id and _blocks(other, operation, kinds):
            message = (
                f"operation {other.id} ({other.method}) is {other.state}; retry or abandon it"
                " first, or wait for its end"
            )
            raise OperationBlocked(message)


NOT_OVERTAKEN = (OperationState.STUCK, OperationState.RUNNING)
"""What must not be overtaken. In one lane nothing else runs, but for a stuck operation that an
operator has just reopened: it comes to the lane after what was accepted long after it."""


def _blocks(stuck: Operation, operation: Operation, kinds: Mapping[str, Kind]) -> bool:
    """A stuck operation that another release knew is taken for one that blocks most."""
    kind = kinds.get(stuck.method)
    if kind is None or kind.blocks is Scope.INSTANCE:
        return True
    return operation.block_device is not None and stuck.block_device == operation.block_device


def _go(operation: Operation, kind: Kind, page: Page, patience: Patience) -> DeviceRow | None:
    """Run the handler; past the commit point run it again until it is through."""
    _count_death(operation, page, patience)
    request = _request_again(operation, kind, page.ports.seals)
    for attempt in count(1):
        try:
            return kind.handler(request, page.ports)
        except (DatabaseUnavailable, LeftBehind):
            raise
        except Exception as error:  # noqa: BLE001 - it may have come past the commit point
            _check_goes_on(operation, error, page, last=attempt >= patience.tries(error))
        page.rest(patience.pause(attempt))
    raise AssertionError


def _check_goes_on(operation: Operation, error: Exception, page: Page, *, last: bool) -> None:
    """Return if the operation goes on after the error; else raise what it ends with."""
    if not page.ports.progress.past_commit_point:
        raise error
    said = _logged(operation, error).message
    if last:
        message = f"{said}; past its commit point, so it can only go forward"
        raise LeftBehind(message) from error
    LOG.warning("operation goes on: operation=%s error=%s", operation.id, said)


def _request_again(operation: Operation, kind: Kind, seals: Seals) -> Any:  # noqa: ANN401
    """Return the request; raises LeftBehind where an earlier run had begun, and it cannot be built.

    Its ways back are the handler's: without a request none of them can be walked.
    """
    try:
        return _request(operation, kind, seals)
    except (DatabaseUnavailable, LeftBehind):
        raise
    except Exception as error:
        if operation.started_at is None:
            raise
        said = _logged(operation, error).message
        message = f"{said}; it had begun before{_begun(operation)}"
        raise LeftBehind(message) from error


def _request(operation: Operation, kind: Kind, seals: Seals) -> Any:  # noqa: ANN401 - one type a method
    arguments = {
        name: seals.open(operation.id, name, value[SEALED]) if is_sealed(value) else value
        for name, value in operation.arguments.items()
    }
    request = built(kind.request, arguments)
    return request if kind.pin is None else replace(request, **{kind.row: operation.block_device})


def _count_death(operation: Operation, page: Page, patience: Patience) -> None:
    died_in = [step.name for step in operation.steps if step.outcome is StepOutcome.OPEN]
    attempts = page.record.count_attempt() if died_in else operation.attempts
    if attempts >= patience.max_attempts:
        last = f", last in {died_in[-1]}" if died_in else ""
        message = f"the worker died {attempts} times in this operation{last}{_begun(operation)}"
        raise LeftBehind(message)


def _begun(operation: Operation) -> str:
    """Name the steps that may have left something."""
    acting = dict.fromkeys(step.name for step in operation.steps if step.name not in LOOKS)
    return f"; what these began is as it was left: {', '.join(acting)}" if acting else ""


def _last_event(phases: Phases | None, state: OperationState) -> Event | None:
    if state is OperationState.STUCK:
        return Event.STUCK
    if phases is None:
        return None
    return phases.end if state is OperationState.SUCCEEDED else phases.error


def _update(
    event: Event | None,
    operation: Operation,
    page: Page,
    *,
    device: DeviceRow | None = None,
    fault: Fault | None = None,
) -> Update | None:
    if event is None:
        return None
    told = Update(
        event=event,
        instance=operation.instance,
        operation=operation.id,
        request_id=operation.request_id,
        fault=fault,
    )
    return told.about(device or row_of(operation, page.ports))


def _logged(operation: Operation, error: Exception) -> Fault:
    fault = fault_of(error)
    if fault.code == "internal":
        LOG.error("operation crashed: operation=%s", operation.id, exc_info=error)
    return fault
