"""Finds reservations that nobody came for, and has them released in their lanes."""

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta

from worker.errors import Unavailable
from worker.model.ids import BlockDeviceId
from worker.model.method import Method
from worker.ports import Ports
from worker.rpc.dispatch import Dispatcher

LOG = logging.getLogger(__name__)

LOOKS_A_TTL = 10
LONGEST_PAUSE = 60.0
OFF_PAUSE = 5.0


class Reservations:
    """Looks now and then, but never while an attach may wait in the queue unread."""

    def __init__(
        self,
        open_call: Callable[[], AbstractContextManager[Ports]],
        dispatcher: Dispatcher,
        ttl: Callable[[], float],
        backlog_taken: threading.Event,
    ) -> None:
        """``ttl`` in seconds is asked at each look; ``backlog_taken`` says the queue was read."""
        self._open_call = open_call
        self._dispatcher = dispatcher
        self._ttl = ttl
        self._backlog_taken = backlog_taken
        self._asked: set[BlockDeviceId] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reservations", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()

    def look(self) -> None:
        """Have what has lapsed by now released; raises Unavailable."""
        if self._ttl() <= 0 or not self._backlog_taken.is_set():
            return
        with self._open_call() as ports:
            moment = ports.clock.now() - timedelta(seconds=self._ttl())
            lapsed = ports.devices.reserved_before(moment)
        self._asked &= {row.uuid for row in lapsed}
        for row in lapsed:
            if row.uuid not in self._asked:
                self._dispatcher.submit_own(
                    Method.RELEASE_LAPSED_RESERVATION, instance_uuid=row.instance, bdm_uuid=row.uuid
                )
                self._asked.add(row.uuid)

    def _run(self) -> None:
        while not self._stopping.wait(self._pause()):
            try:
                self.look()
            except Unavailable as error:
                LOG.warning("reservations not looked at: error=%s", error)
            except Exception:
                LOG.exception("reservations not looked at")

    def _pause(self) -> float:
        ttl = self._ttl()
        return min(LONGEST_PAUSE, ttl / LOOKS_A_TTL) if ttl > 0 else OFF_PAUSE
