"""A thread that works on a connection, and gets a new one for as long as it takes."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from amqp.exceptions import AMQPError
from kombu.connection import Connection
from kombu.exceptions import KombuError

from worker.rpc.bus import BusSettings, connection_to

LOG = logging.getLogger(__name__)

BROKER_ERRORS = (OSError, AMQPError, KombuError)

AT_ONCE = 0.001
LOOK = 0.2
"""Seconds after which a thread that waits for messages looks whether it should stop."""


class Outage:
    """Something we need is away: said once when it begins and once when it ends."""

    def __init__(self, what: str, settings: BusSettings) -> None:
        """Name what is away; the settings say how long to pause."""
        self._what = what
        self._settings = settings
        self._began: float | None = None
        self._pause = settings.first_pause

    def goes_on(self, error: Exception) -> float:
        """Note a failure; return how long to wait before the next try."""
        if self._began is None:
            self._began = time.monotonic()
            LOG.warning("%s away: error=%s", self._what, error)
        pause, longest = self._pause, self._settings.longest_pause
        self._pause = min(longest, pause * 2)
        return pause

    def over(self) -> None:
        """Note that it works, whether or not it had failed."""
        if self._began is not None:
            LOG.info("%s back: seconds=%.1f", self._what, time.monotonic() - self._began)
        self._began, self._pause = None, self._settings.first_pause

    @property
    def lasts(self) -> bool:
        """Whether it has begun and not ended."""
        return self._began is not None


class Link:
    """Runs ``work`` on a connection in a thread, again on a new one whenever it is lost.

    ``work`` calls ``settled`` once its connection is of use, and returns when ``stopping`` is set.
    ``connected`` is whether it is, as far as is known.
    """

    def __init__(
        self, name: str, settings: BusSettings, work: Callable[[Connection], None]
    ) -> None:
        """Name the thread and its connection."""
        self._settings = settings
        self._name = name
        self._work = work
        self._outage = Outage(f"{name}: broker", settings)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._ready = threading.Event()
        self.connected = False
        self.stopping = threading.Event()

    def start(self, *, patience: float | None = None) -> None:
        """Begin; returns once the connection is of use, or soon when there is no broker."""
        self._thread.start()
        self._ready.wait(self._settings.start_patience if patience is None else patience)

    def settled(self) -> None:
        """Note that an outage, if there was one, is over."""
        self._outage.over()
        self.connected = True
        self._ready.set()

    def wait(self, seconds: float) -> bool:
        """Wait until the work is done; return whether that came in time."""
        if self._thread.ident is not None:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def stop(self, seconds: float = 10.0) -> bool:
        """Have the work end; return whether it did in time."""
        self.stopping.set()
        return self.wait(seconds)

    def _run(self) -> None:
        while not self.stopping.is_set():
            try:
                with opened(self._settings, self._name) as connection:
                    self._work_on(connection)
            except BROKER_ERRORS as error:
                self.stopping.wait(self._outage.goes_on(error))
            except Exception as error:
                # A bug of ours; but a worker that listens no more would be worse.
                LOG.exception("%s crashed", self._name)
                self.stopping.wait(self._outage.goes_on(error))
            else:
                return

    def _work_on(self, connection: Connection) -> None:
        try:
            self._work(connection)
        finally:
            self.connected = False


@contextmanager
def opened(settings: BusSettings, purpose: str) -> Iterator[Connection]:
    """Open a connection to the first host of the broker that answers."""
    connection = connection_to(settings, purpose)
    with connection:
        connection.ensure_connection(max_retries=len(connection.alt) or 1, interval_start=0)
        yield connection


def drain_rest(connection: Connection, enough: Callable[[], bool]) -> None:
    """Have delivered what has arrived by now, until there is enough of it."""
    with suppress(TimeoutError):
        while not enough():
            connection.drain_events(timeout=0)


def drain(connection: Connection, seconds: float) -> None:
    """Wait for a message and have it delivered, or for nothing; keep the connection alive.

    Also while messages come without a pause: who only hears sends nothing else, and the broker
    would take it for dead.
    """
    with suppress(TimeoutError):
        connection.drain_events(timeout=seconds)
    if connection.supports_heartbeats:
        connection.heartbeat_check()
