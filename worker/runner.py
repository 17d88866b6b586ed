"""Runs operations: those of one lane in the order they were accepted, lanes side by side."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from worker.errors import DatabaseUnavailable, Stopped
from worker.execution import Kind, Page, Patience, carry_out
from worker.gate import Gate
from worker.model.operation import Operation

LOG = logging.getLogger(__name__)

DEATHS_UNTIL_ALONE = 2
"""Of an operation in whose steps the worker died that often, the third time is a suspicion."""


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
        self._gate = Gate()

    def submit(self, operation: Operation) -> None:
        """Queue an accepted operation in its lane; returns at once."""
        self._enter(operation.lane, partial(self._run_gated, operation))

    def submit_new(self, operation: Operation) -> None:
        """Queue one that the journal has just taken: nobody else can have run it meanwhile."""
        self._enter(operation.lane, partial(self._run_gated, operation, new=True))

    def enter(self, name: str, work: Callable[[], None]) -> None:
        """Queue work that is no operation, a look at a guest say, in a lane; returns at once."""
        self._enter(name, partial(self._beside, work))

    def _enter(self, name: str, work: Callable[[], None]) -> None:
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

    def load(self) -> tuple[int, int]:
        """Return how many lanes are worked on or wait for a thread, and what waits in them."""
        with self._lock:
            return len(self._lanes), sum(map(len, self._lanes.values()))

    def rest(self, seconds: float) -> None:
        """Wait that long, on an operation's thread; raises Stopped when the runner stops."""
        if self._stopping.wait(seconds):
            raise Stopped

    def wait_idle(self, seconds: float) -> bool:
        """Wait until no lane has work; return whether that came in time."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._lanes, seconds)

    def stop(self, seconds: float) -> bool:
        """Begin no more operations, wait for those that run; return whether all ended in time.

        What has not begun stays in the journal, for the next worker, and so does what only waits
        to be tried again.
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

    def _beside(self, work: Callable[[], None]) -> None:
        with self._gate.together():
            work()

    def _run_gated(self, operation: Operation, *, new: bool = False) -> None:
        suspect = operation.deaths >= DEATHS_UNTIL_ALONE
        name = f"operation={operation.id} deaths={operation.deaths}"
        with self._gate.alone(name) if suspect else self._gate.together():
            self._run(operation, new=new)

    def _run(self, operation: Operation, *, new: bool) -> None:
        page = self._open_page(operation)
        try:
            self._run_on(page, operation, new=new)
        finally:
            page.on_close()

    def _run_on(self, page: Page, operation: Operation, *, new: bool) -> None:
        attempt = 0
        while True:
            try:
                if attempt or not new:
                    operation = _as_kept(operation, page)
                if not operation.state.ended:
                    self._carry_out(operation, page)
                return
            except DatabaseUnavailable as error:
                attempt += 1
                LOG.warning("journal away: operation=%s error=%s", operation.id, error)
                if self._stopping.wait(self._patience.pause(attempt)):
                    return

    def _carry_out(self, operation: Operation, page: Page) -> None:
        try:
            carry_out(operation, self._kinds, page, self._patience)
        except Stopped:
            page.record.leave()
            LOG.info("operation left to the next start: operation=%s", operation.id)


def _as_kept(operation: Operation, page: Page) -> Operation:
    """Return the operation as the journal has it by now; no death is counted a second time.

    A commit whose answer was lost may have happened, and one that has begun cannot expire. One
    that was run before may have ended since it was queued again: it has one end.
    """
    kept = page.ports.operations.get(operation.id)
    steps = operation.steps if kept.attempts == operation.attempts else ()
    return replace(operation, state=kept.state, attempts=kept.attempts, steps=steps)
