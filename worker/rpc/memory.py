"""kombu's in-memory bus, made to wait for messages instead of asking for them all the time.

oslo.messaging sets its polling interval to nothing, which costs half a core for each listener.
"""

import logging
import threading
import time
from queue import Empty
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, memory

DRIVER_LOG = logging.getLogger("oslo.messaging._drivers.impl_rabbit")


class Bell:
    """Rings when a message was put anywhere; a ring between two looks is not missed."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.rings = 0

    def ring(self) -> None:
        """Wake all who wait."""
        with self._changed:
            self.rings += 1
            self._changed.notify_all()

    def wait(self, heard: int, seconds: float | None) -> bool:
        """Wait for a ring after the first ``heard``; return whether it came."""
        with self._changed:
            return self._changed.wait_for(lambda: self.rings != heard, seconds)


BELL = Bell()


class Channel(memory.Channel):
    """Rings for each message."""

    def _put(self, queue: str, message: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super()._put(queue, message, **kwargs)  # type: ignore[no-untyped-call]
        BELL.ring()


class Transport(memory.Transport):
    """Looks when it rings."""

    Channel = Channel

    def drain_events(
        self,
        connection: Any,  # noqa: ANN401, ARG002 - kombu's signature
        timeout: float | None = None,
        **_kwargs: Any,  # noqa: ANN401
    ) -> None:
        """Deliver one message; raises TimeoutError when none comes in that time."""
        deadline = None if timeout is None else time.monotonic() + timeout
        cycle: Any = self.cycle
        while True:
            heard = BELL.rings
            try:
                cycle.get(self._deliver, timeout=timeout)
            except Empty:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                if not BELL.wait(heard, left):
                    raise TimeoutError from None
            else:
                return


def _not_the_notice(record: logging.LogRecord) -> bool:
    """Drop oslo.messaging's word on each connection; the worker names a weak bus once."""
    return "experimental feature" not in str(record.msg)


def install() -> None:
    """Have ``memory://`` mean this transport, for oslo.messaging as well."""
    TRANSPORT_ALIASES["memory"] = f"{__name__}:Transport"
    DRIVER_LOG.addFilter(_not_the_notice)
