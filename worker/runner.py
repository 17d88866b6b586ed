"""Runs operations: those of one lane in the order they were accepted, lanes side by side."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from worker.errors import DatabaseUnavailable, LeftBehind, OperationBlocked, OperationExpired
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
    """How long the runner goes on; times in seconds."""

    max_attempts: int = 5
    first_pause: float = 1.0
    longest_pause: float = 30.0

    def pause(self, attempt: int) -> float:
        """Return how long to wait after the n-th failure, n from 1."""
        return min(self.longest_pause, self.first_pause * 2.0 ** (attempt - 1))


class Runner:
    """A bounded pool of threads over one lane per instance."""

    def __init__(
        self,
        kinds: Mapping[str, Kind],
        open_page: Callable[[Operation], Page],
        *,
        threads: int,
        patience: Patience | None = None,
    ) -> None:
        """Run methods of these kinds; ``open_page`` makes the ports of one operation."""
        self._kinds = kinds
        self._open_page = open_page
        self._patience = patience or Patience()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="lane")
        self._lanes: dict[str, deque[Callable[[], None]]] = {}
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._stopping = threading.Event()

    def submit(self, operation: Operation) -> None:
        """Queue an accepted operation in its lane; returns at once."""
        self.enter(operation.lane, partial(self._run, operation))

    def enter(self, name: str, work: Callable[[], None]) -> None:
        """Queue work that is no operation, a look at a guest say, in a lane; returns at once."""
        with self._lock:
            if self._stopping.is_set():
                return
            lane = self._lanes.get(name)
            if lane is not None:
                lane.append(work)
                return
            self._lanes[name] = deque([work])
            self._pool.submit(self._run_next, name)

    def recover(self, unfinished: Sequence[Operation]) -> None:
        """Queue what an earlier worker of this host did not finish, oldest first."""
        for operation in unfinished:
            self.submit(operation)
        if unfinished:
            LOG.info("operations recovered: count=%d", len(unfinished))

    def wait_idle(self, seconds: float) -> bool:
        """Wait until no lane has work; return whether that came in time."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._lanes, seconds)

    def stop(self, seconds: float) -> bool:
        """Begin no more operations, wait for those that run; return whether all ended in time.

        What has not begun stays in the journal, for the next worker.
        """
        self._stopping.set()
        done = self.wait_idle(seconds)
        self._pool.shutdown(wait=done)
        return done

    def _run_next(self, name: str) -> None:
        with self._lock:
            work = self._lanes[name].popleft()
        try:
            if not self._stopping.is_set():
                work()
        except Exception:
            LOG.exception("work left unfinished: lane=%s", name)
        finally:
            self._leave(name)

    def _leave(self, name: str) -> None:
        with self._lock:
            if self._lanes[name] and not self._stopping.is_set():
                self._pool.submit(self._run_next, name)
                return
            del self._lanes[name]
            self._idle.notify_all()

    def _run(self, operation: Operation) -> None:
        attempt = 0
        page = self._open_page(operation)
        while True:
            try:
                if attempt:
                    operation = _as_kept(operation, page)
                if not operation.state.ended:
                    carry_out(operation, self._kinds[operation.method], page, self._patience)
                return
            except DatabaseUnavailable as error:
                attempt += 1
                LOG.warning("journal away: operation=%s error=%s", operation.id, error)
                if self._stopping.wait(self._patience.pause(attempt)):
                    return


def _as_kept(operation: Operation, page: Page) -> Operation:
    """Return the operation as the journal has it by now; no death is counted a second time.

    A commit whose answer was lost may have happened, and one that has begun cannot expire.
    """
    kept = page.ports.operations.get(operation.id)
    steps = operation.steps if kept.attempts == operation.attempts else ()
    return replace(operation, state=kept.state, attempts=kept.attempts, steps=steps)


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
    attempt = 0
    while True:
        try:
            return kind.handler(request, page.ports)
        except (DatabaseUnavailable, LeftBehind):
            raise
        except Exception as error:
            if not page.ports.progress.past_commit_point:
                raise
            attempt += 1
            said = _logged(operation, error).message
            if attempt >= patience.max_attempts:
                message = f"{said}; past its commit point, so it can only go forward"
                raise LeftBehind(message) from error
            LOG.warning("operation goes on: operation=%s error=%s", operation.id, said)
            time.sleep(patience.pause(attempt))


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
