"""Finds reservations that nobody came for, and has them released in their lanes."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta

from worker.model.ids import BlockDeviceId, OperationId
from worker.model.method import Method
from worker.model.operation import OperationState
from worker.ports import Ports
from worker.rpc.dispatch import Dispatcher
from worker.wiring.sweep import Sweep

LOOKS_A_TTL = 10
LONGEST_PAUSE = 60.0
OFF_PAUSE = 5.0


class Reservations(Sweep):
    """Looks now and then, but never while an attach may wait in the queue unread."""

    def __init__(
        self,
        open_call: Callable[[], AbstractContextManager[Ports]],
        dispatcher: Dispatcher,
        ttl: Callable[[], float],
        backlog_taken: threading.Event,
    ) -> None:
        """``ttl`` in seconds is asked at each look; ``backlog_taken`` says the queue was read."""
        super().__init__("reservations")
        self._open_call = open_call
        self._dispatcher = dispatcher
        self._ttl = ttl
        self._backlog_taken = backlog_taken
        self._asked: dict[BlockDeviceId, OperationId] = {}

    def look(self) -> None:
        """Have what has lapsed by now released; raises Unavailable.

        Asked again is what failed, for the volume service was away.
        """
        if self._ttl() <= 0 or not self._backlog_taken.is_set():
            return
        with self._open_call() as ports:
            moment = ports.clock.now() - timedelta(seconds=self._ttl())
            lapsed = {row.uuid: row for row in ports.devices.reserved_before(moment)}
            asked = {each: self._asked[each] for each in lapsed if each in self._asked}
            self._asked = {
                each: operation
                for each, operation in asked.items()
                if ports.operations.get(operation).state is not OperationState.FAILED
            }
        for row in lapsed.values():
            if row.uuid not in self._asked:
                own = self._dispatcher.submit_own(
                    Method.RELEASE_LAPSED_RESERVATION, instance_uuid=row.instance, bdm_uuid=row.uuid
                )
                self._asked[row.uuid] = own.id

    def pause(self) -> float:
        """Return the seconds until the next look."""
        ttl = self._ttl()
        return min(LONGEST_PAUSE, ttl / LOOKS_A_TTL) if ttl > 0 else OFF_PAUSE
