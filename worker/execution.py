"""Brings one operation to its one end: may it begin, its handler, its end and what is told."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from worker.errors import (
    DatabaseUnavailable,
    LeftBehind,
    OperationBlocked,
    OperationExpired,
    Unavailable,
)
from worker.model.block_device import BlockDevice
from worker.model.ids import BlockDeviceId
from worker.model.operation import Fault, Operation, OperationState, StepOutcome
from worker.model.update import Event, Phases, Update
from worker.ports import OperationRecord, Ports
from worker.steps import fault_of

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What the runner must know of one method.

    ``handler`` gets the request and the ports and returns the block device it was about, if
    any. ``pin`` is asked at acceptance for the row that a request means without naming it; the
    journal keeps it beside the arguments as they came, so that a second delivery compares equal.
    A kind that is ``own_only`` is begun by the worker itself and refused to others.
    """

    request: type[Any]
    handler: Callable[[Any, Ports], BlockDevice | None]
    phases: Phases | None = None
    pin: Callable[[Any, Ports], BlockDeviceId | None] | None = None
    own_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The journal's page of one operation, and the ports whose calls it records."""

    record: OperationRecord
    ports: Ports


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


def carry_out(operation: Operation, kind: Kind, page: Page, patience: Patience) -> None:
    """Bring the operation to its end and tell it; raises DatabaseUnavailable only."""
    begun = time.monotonic()
    phases = kind.phases
    device: BlockDevice | None = None
    fault: Fault | None = None
    try:
        _check_may_begin(operation, page)
        if operation.state is OperationState.QUEUED:
            page.record.start(_update(phases.start if phases else None, operation, page))
        device = _go(operation, kind, page, patience)
    except DatabaseUnavailable:
        raise
    except LeftBehind as error:
        LOG.warning("operation stuck: operation=%s", operation.id, exc_info=error)
        state, fault = OperationState.STUCK, fault_of(error)
    except Exception as error:  # noqa: BLE001 - whatever it was, the operation has its end
        state, fault = OperationState.FAILED, _logged(operation, error)
    else:
        state = OperationState.SUCCEEDED
    event = _last_event(phases, state)
    page.record.end(state, fault, _update(event, operation, page, device=device, fault=fault))
    _log_end(operation, state, fault, time.monotonic() - begun)


def _check_may_begin(operation: Operation, page: Page) -> None:
    if operation.state is not OperationState.QUEUED:
        return
    if operation.expires_at is not None and operation.expires_at <= page.ports.clock.now():
        message = f"operation expired at {operation.expires_at.isoformat()}, before its first step"
        raise OperationExpired(message)
    if operation.block_device is None or operation.instance is None:
        return
    stuck = page.ports.operations.list(instance=operation.instance, states=(OperationState.STUCK,))
    for other in stuck:
        if other.block_device == operation.block_device and other.id != operation.id:
            message = f"operation {other.id} on this device is stuck; retry or abandon it first"
            raise OperationBlocked(message)


def _go(operation: Operation, kind: Kind, page: Page, patience: Patience) -> BlockDevice | None:
    """Run the handler; past the commit point run it again until it is through."""
    _count_death(operation, page, patience)
    request = _request(operation, kind)
    for attempt in count(1):
        try:
            return kind.handler(request, page.ports)
        except (DatabaseUnavailable, LeftBehind):
            raise
        except Exception as error:  # noqa: BLE001 - it may have come past the commit point
            _check_goes_on(operation, error, page, last=attempt >= patience.tries(error))
        time.sleep(patience.pause(attempt))
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


def _request(operation: Operation, kind: Kind) -> Any:  # noqa: ANN401 - one type a method
    request = kind.request(**operation.arguments)
    return request if kind.pin is None else replace(request, bdm_uuid=operation.block_device)


def _count_death(operation: Operation, page: Page, patience: Patience) -> None:
    died_in = [step.name for step in operation.steps if step.outcome is StepOutcome.OPEN]
    attempts = page.record.count_attempt() if died_in else operation.attempts
    if attempts >= patience.max_attempts:
        last = f", last in {died_in[-1]}" if died_in else ""
        message = f"the worker died {attempts} times in this operation{last}"
        raise LeftBehind(message)


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
    device: BlockDevice | None = None,
    fault: Fault | None = None,
) -> Update | None:
    if event is None:
        return None
    return Update(
        event=event,
        instance=operation.instance,
        operation=operation.id,
        request_id=operation.request_id,
        block_device=device or _row(operation, page),
        fault=fault,
    )


def _row(operation: Operation, page: Page) -> BlockDevice | None:
    """Return the row as it is, or was; an operation may name one that never existed."""
    if operation.block_device is None:
        return None
    return page.ports.devices.look(operation.block_device)


def _logged(operation: Operation, error: Exception) -> Fault:
    fault = fault_of(error)
    if fault.code == "internal":
        LOG.error("operation crashed: operation=%s", operation.id, exc_info=error)
    return fault


def _log_end(
    operation: Operation, state: OperationState, fault: Fault | None, seconds: float
) -> None:
    LOG.info(
        "operation ended: operation=%s method=%s instance=%s device=%s state=%s seconds=%.3f"
        " code=%s",
        operation.id,
        operation.method,
        operation.instance or "-",
        operation.block_device or "-",
        state,
        seconds,
        "-" if fault is None else fault.code,
    )
