"""Sees what takes long while it still runs: a thread in a library cannot be stopped, only named."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

from worker.errors import WorkerError
from worker.model.ids import OperationId
from worker.model.operation import Operation
from worker.steps import Watch

LOG = logging.getLogger(__name__)

LOOK_EVERY = 1.0


@dataclass(slots=True, kw_only=True)
class _Run:
    """One operation that runs, or waits between two tries; times of the monotonic clock."""

    operation: Operation
    since: float
    until: float
    marked: bool = False


@dataclass(slots=True, kw_only=True)
class _Call:
    """One step of it, under way while it is entered."""

    run: _Run
    step: str
    since: float
    under_way: dict[int, "_Call"]
    said_slow: bool = False

    def __enter__(self) -> None:
        self.under_way[id(self)] = self

    def __exit__(self, *_error: object) -> None:
        del self.under_way[id(self)]


class Watchman:
    """Looks each second at what runs; names a slow step once, and a late operation once."""

    def __init__(
        self, slow_step: Callable[[], float], mark_late: Callable[[OperationId], None]
    ) -> None:
        """``slow_step`` says after how many seconds a step is slow, asked at each look."""
        self._slow_step = slow_step
        self._mark_late = mark_late
        self._runs: dict[OperationId, _Run] = {}
        self._calls: dict[int, _Call] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchman", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()

    def watch(self, operation: Operation, seconds: float) -> Watch:
        """Watch an operation that is late after that time; return the watch over its steps."""
        now = time.monotonic()
        run = _Run(operation=operation, since=now, until=now + seconds)
        with self._lock:
            self._runs[operation.id] = run
        return partial(self._around, run)

    def ended(self, operation: Operation) -> None:
        """Watch the operation no more."""
        with self._lock:
            self._runs.pop(operation.id, None)

    def late(self) -> int:
        """Return how many steps run past the deadline of their operation."""
        now = time.monotonic()
        return sum(call.run.until <= now for call in self._under_way())

    def look(self) -> None:
        """Name what has become slow or late since the last look."""
        now, slow, calls = time.monotonic(), self._slow_step(), self._under_way()
        for call in calls:
            if now - call.since >= slow and not call.said_slow:
                call.said_slow = True
                _say("step slow", call.run.operation, call.step, now - call.since)
        with self._lock:
            late = [run for run in self._runs.values() if run.until <= now and not run.marked]
        for run in late:
            step = next((call.step for call in calls if call.run is run), "-")
            _say("operation late", run.operation, step, now - run.since)
            self._mark(run)

    def _watch(self) -> None:
        while not self._stopping.wait(LOOK_EVERY):
            try:
                self.look()
            except Exception:
                LOG.exception("watchman looks again")

    def _around(self, run: _Run, step: str) -> AbstractContextManager[object]:
        return _Call(run=run, step=step, since=time.monotonic(), under_way=self._calls)

    def _under_way(self) -> tuple[_Call, ...]:
        # A copy in one go: lanes begin and end their calls meanwhile, without a lock.
        return tuple(self._calls.copy().values())

    def _mark(self, run: _Run) -> None:
        try:
            self._mark_late(run.operation.id)
        except WorkerError as error:
            LOG.warning("operation not marked late yet: %s error=%s", run.operation.id, error)
        else:
            run.marked = True


def _say(what: str, operation: Operation, step: str, seconds: float) -> None:
    LOG.warning(
        "%s: operation=%s method=%s instance=%s device=%s step=%s seconds=%.1f",
        what,
        operation.id,
        operation.method,
        operation.instance or "-",
        operation.block_device or "-",
        step,
        seconds,
    )
