"""The one connection to libvirt: opened when it is needed, and again when it was lost."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import libvirt
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from worker.errors import HypervisorUnavailable
from worker.model.guest import GuestEvent
from worker.model.ids import InstanceId
from worker.virt.events import Events, Watch
from worker.virt.failures import connection_lost, translated
from worker.virt.session import Session

LOG = logging.getLogger(__name__)

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0
_KEEPER_TIMEOUT = 5.0


class LibvirtConnection:
    """A connection to ``uri`` that any thread may use.

    A call tries for ``patience`` seconds to open it. While there are listeners it is opened again
    without a call, every ``reopen_interval`` seconds at most, since events come on it alone.
    """

    def __init__(self, uri: str, *, patience: float = 2.0, reopen_interval: float = 5.0) -> None:
        self.uri = uri
        self._patience = patience
        self._reopen_interval = reopen_interval
        self._events = Events()
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._keeper: threading.Thread | None = None
        self._nudge = threading.Event()
        self._closed = threading.Event()

    @contextmanager
    def use(self) -> Iterator[libvirt.virConnect]:
        """Lend the open connection; what libvirt raises meanwhile comes out as an error of ours.

        Raises HypervisorUnavailable, DomainNotFound, HypervisorRefused. A call that found the
        connection lost is not repeated: it may have had its effect.
        """
        session = self._open_within(self._patience)
        try:
            yield session.connection
        except libvirt.libvirtError as error:
            if connection_lost(error):
                session.lose(str(error))
            raise translated(error, self.uri) from error

    @contextmanager
    def domain(self, instance: InstanceId) -> Iterator[libvirt.virDomain]:
        """Lend the domain of that uuid, as ``use`` does."""
        with self.use() as connection:
            yield connection.lookupByUUIDString(instance)

    def reopen(self, within: float) -> None:
        """Wait up to that many seconds for the connection; raises HypervisorUnavailable."""
        self._open_within(within)

    def watch(self, instance: InstanceId, alias: str) -> AbstractContextManager[Watch]:
        """Take note, from now on, of what becomes of one device."""
        return self._events.watch(instance, alias)

    def subscribe(self, listener: Callable[[GuestEvent], None]) -> None:
        """Hand all events to the listener, on a thread of ours from which it may call libvirt.

        Whenever the connection is opened there is a PowerChanged for each domain, running or not,
        since its events may have been missed.
        """
        self._events.subscribe(listener)
        with self._lock:
            if self._keeper is None:
                self._keeper = threading.Thread(
                    target=self._keep_open, name="libvirt-keeper", daemon=True
                )
                self._keeper.start()

    def close(self) -> None:
        """Let go of the connection for good: every later call raises HypervisorUnavailable."""
        self._closed.set()
        self._nudge.set()
        keeper = self._keeper
        if keeper is not None and keeper is not threading.current_thread():
            keeper.join(_KEEPER_TIMEOUT)
        with self._lock:
            session, self._session = self._session, None
        if session is not None:
            session.close()
        self._events.close()

    def _open_within(self, seconds: float) -> Session:
        retrying = Retrying(
            stop=stop_after_delay(seconds),
            wait=wait_exponential(multiplier=_FIRST_PAUSE, max=_LONGEST_PAUSE),
            retry=retry_if_exception_type(libvirt.libvirtError),
            reraise=True,
        )
        try:
            return retrying(self._opened)
        except libvirt.libvirtError as error:
            message = f"libvirt at {self.uri} does not answer: {error}"
            raise HypervisorUnavailable(message) from error

    def _opened(self) -> Session:
        # The lock is held for one attempt, never for a pause between two: many threads that find
        # libvirt away then wait side by side and not one after another.
        with self._lock:
            if self._closed.is_set():
                raise HypervisorUnavailable(f"the connection to libvirt at {self.uri} is closed")
            if self._session is None or not self._session.alive:
                self._session = self._open(self._session)
            return self._session

    def _open(self, lost: Session | None) -> Session:
        if lost is not None:
            self._session = None
            lost.close()
        session = Session.open(self.uri, self._events, self._lost)
        try:
            session.announce_all()
        except libvirt.libvirtError:
            session.close()
            raise
        LOG.info("libvirt connected: uri=%s", self.uri)
        return session

    def _lost(self, reason: str) -> None:
        LOG.warning("libvirt lost: uri=%s reason=%r", self.uri, reason)
        self._events.tell_lost()
        self._nudge.set()

    def _keep_open(self) -> None:
        away = False
        while not self._closed.is_set():
            self._nudge.clear()
            try:
                self._opened()
                away = False
            except (libvirt.libvirtError, HypervisorUnavailable) as error:
                if not away and not self._closed.is_set():
                    LOG.warning("libvirt away: uri=%s error=%s", self.uri, error)
                away = True
            self._nudge.wait(self._reopen_interval)
