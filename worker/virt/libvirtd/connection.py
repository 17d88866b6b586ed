"""The one connection to libvirt: opened when it is needed, and again when it was lost."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import libvirt
from tenacity import Retrying, retry_if_exception_type, stop_before_delay, wait_exponential

from worker.errors import HypervisorUnavailable
from worker.model.guest import GuestEvent
from worker.model.ids import InstanceId
from worker.virt.failures import connection_lost, translated
from worker.virt.libvirtd.daemon import Daemon
from worker.virt.libvirtd.events import Events, Watch
from worker.virt.libvirtd.memory import Memory
from worker.virt.libvirtd.opening import Opening
from worker.virt.libvirtd.session import Session

LOG = logging.getLogger(__name__)

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0
_FAIR_CHANCE = 0.2
"""Seconds that an attempt to open is waited for, whatever the caller's patience has left."""
_CLOSE_TIMEOUT = 2.0


class LibvirtConnection:
    """A connection to ``uri`` that any thread may use.

    A call tries for ``patience`` seconds to open it. While there are listeners it is opened again
    without a call, every ``reopen_interval`` seconds at most, since events come on it alone.

    When libvirtd is back and no clean stop explains that it was away, every guest that runs is in
    doubt from then on, until it stops. With a memory that holds for a libvirtd that an earlier
    worker was connected to as well, and for the guests that were in doubt then.
    """

    def __init__(
        self,
        uri: str,
        *,
        patience: float = 2.0,
        reopen_interval: float = 5.0,
        memory: Memory | None = None,
    ) -> None:
        self.uri = uri
        self._patience = patience
        self._reopen_interval = reopen_interval
        self._memory = memory or Memory(None, uri)
        self._events = Events(self._memory)
        # Never held while libvirt is called: who wants the connection would wait with it.
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._opening: Opening | None = None
        self._daemon = Daemon.remembered(self._memory)
        self._keeper: threading.Thread | None = None
        self._nudge = threading.Event()
        self._closed = threading.Event()
        self._closed_why: str | None = None

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
        since its events may have been missed, and a GuestInDoubt for each that runs and has been
        in doubt since.
        """
        self._events.subscribe(listener)
        with self._lock:
            if self._keeper is None:
                self._keeper = threading.Thread(
                    target=self._keep_open, name="libvirt-keeper", daemon=True
                )
                self._keeper.start()

    def doubt(self, instance: InstanceId) -> None:
        """Put the guest in doubt, and tell the listeners."""
        self._events.tell_doubt(instance)

    def in_doubt(self, instance: InstanceId) -> bool:
        """Tell whether QEMU may have what libvirt denies, since libvirtd died under the guest."""
        return instance in self._events.doubts

    def close(self, why: str | None = None) -> None:
        """Let go of the connection for good: every later call raises HypervisorUnavailable.

        They say ``why``, if there is more to say than that it is closed. Takes a few
        seconds at most, even if libvirt does not answer.
        """
        with self._lock:
            self._closed.set()
            self._closed_why = self._closed_why or why
            session, self._session = self._session, None
        self._nudge.set()
        if self._keeper is not None and self._keeper is not threading.current_thread():
            self._keeper.join(self._patience + _CLOSE_TIMEOUT)
        if session is not None:
            _let_go(session)
        self._forget_opening()
        self._events.close()

    def _forget_opening(self) -> None:
        if self._opening is not None:
            self._opening.join(_CLOSE_TIMEOUT)
        if self._daemon is not None and (self._opening is None or self._opening.ended):
            self._daemon.close()

    def _open_within(self, seconds: float) -> Session:
        retrying = Retrying(
            stop=stop_before_delay(seconds),
            wait=wait_exponential(multiplier=_FIRST_PAUSE, max=_LONGEST_PAUSE),
            retry=retry_if_exception_type(libvirt.libvirtError),
            reraise=True,
        )
        try:
            return retrying(self._opened, time.monotonic() + seconds)
        except libvirt.libvirtError as error:
            message = f"libvirt at {self.uri} does not answer: {error}"
            raise HypervisorUnavailable(message) from error

    def _opened(self, end: float) -> Session:
        """Return the session, waiting until then for the attempt that is under way, or for one."""
        with self._lock:
            self._check_not_closed()
            if self._session is not None and self._session.alive:
                return self._session
            if self._opening is None or self._opening.ended:
                self._opening = Opening(self._open)
            opening = self._opening
        try:
            return opening.wait(max(_FAIR_CHANCE, end - time.monotonic()))
        except TimeoutError as error:
            message = f"libvirt at {self.uri} does not answer: it hangs"
            raise HypervisorUnavailable(message) from error

    def _open(self) -> Session:
        """Open the next session and show it; on a thread of its own, one at a time."""
        with self._lock:
            lost, self._session = self._session, None
        if lost is not None:
            lost.close()
        session = Session.open(self.uri, self._events, self._lost)
        try:
            session.announce_all(doubtful=self._died())
            self._show(session)
        except (libvirt.libvirtError, HypervisorUnavailable):
            session.close()
            raise
        return session

    def _died(self) -> bool:
        died = self._daemon is not None and self._daemon.may_have_died()
        if died:
            LOG.warning("libvirtd ended uncleanly: uri=%s", self.uri)
        return died

    def _show(self, session: Session) -> None:
        daemon = Daemon.at(self.uri)
        with self._lock:
            if self._closed.is_set():
                daemon.close()
            self._check_not_closed()
            former, self._daemon = self._daemon, daemon
            self._session = session
        # Only now: who is in doubt for what became of the former one is written down by now.
        self._memory.keep_sightings(daemon.sightings)
        if former is not None:
            former.close()
        LOG.info("libvirt connected: uri=%s", self.uri)

    def _check_not_closed(self) -> None:
        if self._closed.is_set():
            closed = f"the connection to libvirt at {self.uri} is closed"
            raise HypervisorUnavailable(self._closed_why or closed)

    def _lost(self, reason: str) -> None:
        LOG.warning("libvirt lost: uri=%s reason=%r", self.uri, reason)
        self._events.tell_lost()
        self._nudge.set()

    def _keep_open(self) -> None:
        away = False
        while not self._closed.is_set():
            self._nudge.clear()
            try:
                self._opened(time.monotonic() + self._patience)
                away = False
            except (libvirt.libvirtError, HypervisorUnavailable) as error:
                if not away and not self._closed.is_set():
                    LOG.warning("libvirt away: uri=%s error=%s", self.uri, error)
                away = True
            self._nudge.wait(self._reopen_interval)


def _let_go(session: Session) -> None:
    """Close it, on a thread of its own: libvirtd is told, and may hang."""
    closing = threading.Thread(target=session.close, name="libvirt-closing", daemon=True)
    closing.start()
    closing.join(_CLOSE_TIMEOUT)
