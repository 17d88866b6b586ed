"""A message sent to oneself through the bus: a connection may live and yet deliver nothing."""

import threading
import time
from collections.abc import Callable

from kombu.connection import Connection
from kombu.message import Message
from kombu.messaging import Producer

from worker.model.ids import new_uuid
from worker.rpc.bus import BusSettings
from worker.rpc.link import AT_ONCE, Link, drain

HEADER = "x-blockworker-echo"
MOST = 10
"""So many are sent without one coming back; more would only fill the queue."""

LOOK = 1.0
"""Seconds after which the connection is looked after, at the longest."""


class Pulse:
    """What comes in at the intake; written by it and by who sends, read by whoever judges."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._on_the_way: dict[str, float] = {}
        self._last = time.monotonic()
        self.trip: float | None = None

    def mark(self) -> str | None:
        """Return the mark of the next message to oneself, or None while too many are missing."""
        with self._lock:
            if len(self._on_the_way) >= MOST:
                return None
            mark = new_uuid()
            self._on_the_way[mark] = time.monotonic()
            return mark

    def lost(self, mark: str) -> None:
        """Note that the message was never sent."""
        with self._lock:
            self._on_the_way.pop(mark, None)

    def beat(self) -> None:
        """Note that a message came in, whosever it was."""
        self._last = time.monotonic()

    def back(self, mark: str) -> None:
        """Note a message to oneself; those sent before it will not come any more."""
        with self._lock:
            sent = self._on_the_way.get(mark)
            if sent is not None:
                self.trip = time.monotonic() - sent
                self._on_the_way = {m: at for m, at in self._on_the_way.items() if at > sent}

    @property
    def unheard(self) -> float:
        """For how many seconds one has been missing, with nothing else coming in; 0 if none is."""
        with self._lock:
            first = min(self._on_the_way.values(), default=None)
        return 0.0 if first is None else time.monotonic() - max(first, self._last)


class Echo:
    """Sends a message into this host's own queue of operations every so many seconds.

    The intake takes it, settles it in its order, and tells the pulse. It has a connection of its
    own: what hangs there holds up nobody.
    """

    def __init__(self, settings: BusSettings, pulse: Pulse, *, every: Callable[[], float]) -> None:
        """``every`` is asked before each wait."""
        self._queue = settings.operations_queue
        self._pulse = pulse
        self._every = every
        self._confirm_timeout = settings.confirm_timeout
        self._in_process = settings.in_process is not None
        self._link = Link("echo", settings, self._send)

    @property
    def connected(self) -> bool:
        """Whether the connection claims to be well."""
        return self._link.connected

    def start(self) -> None:
        """Begin to send; returns at once."""
        self._link.start(patience=0.0)

    def stop(self, seconds: float) -> bool:
        """Send no more; return whether it ended in time."""
        return self._link.stop(seconds)

    def _send(self, connection: Connection) -> None:
        channel = connection.channel()
        returned = threading.Event()
        if not self._in_process:
            channel.events["basic_return"].add(lambda *_: returned.set())
        producer = Producer(channel)
        self._link.settled()
        due = time.monotonic()
        while not self._link.stopping.is_set():
            if time.monotonic() >= due:
                due = time.monotonic() + self._every()
                self._send_one(producer, returned)
            self._link.stopping.wait(min(LOOK, max(AT_ONCE, due - time.monotonic())))
            drain(connection, AT_ONCE)

    def _send_one(self, producer: Producer, returned: threading.Event) -> None:
        mark = self._pulse.mark()
        if mark is None:
            return
        returned.clear()
        sent = False
        try:
            producer.publish(
                {},
                routing_key=self._queue,
                headers={HEADER: mark},
                mandatory=True,
                confirm_timeout=self._confirm_timeout,
            )
            sent = not returned.is_set()
        finally:
            if not sent:
                self._pulse.lost(mark)


def mark_of(message: Message) -> str | None:
    """Return the mark of a message that a worker sent to itself; None for any other message."""
    headers = message.headers or {}
    return str(headers[HEADER]) if HEADER in headers else None
