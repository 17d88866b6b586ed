"""One opening of the connection to libvirt, from open to lost or closed."""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress

import libvirt

from worker.model.ids import InstanceId
from worker.virt.libvirtd.eventloop import start_event_loop
from worker.virt.libvirtd.events import Events

LOG = logging.getLogger(__name__)

_KEEPALIVE_INTERVAL = 5
_KEEPALIVE_COUNT = 3
_NOT_RUNNING = -1

_REASONS = {
    libvirt.VIR_CONNECT_CLOSE_REASON_ERROR: "error",
    libvirt.VIR_CONNECT_CLOSE_REASON_EOF: "end of file",
    libvirt.VIR_CONNECT_CLOSE_REASON_KEEPALIVE: "no answer to keepalive",
    libvirt.VIR_CONNECT_CLOSE_REASON_CLIENT: "closed by us",
}

_POWER_EVENTS = frozenset(
    {
        libvirt.VIR_DOMAIN_EVENT_STARTED,
        libvirt.VIR_DOMAIN_EVENT_SUSPENDED,
        libvirt.VIR_DOMAIN_EVENT_RESUMED,
        libvirt.VIR_DOMAIN_EVENT_STOPPED,
        libvirt.VIR_DOMAIN_EVENT_SHUTDOWN,
        libvirt.VIR_DOMAIN_EVENT_PMSUSPENDED,
        libvirt.VIR_DOMAIN_EVENT_CRASHED,
    }
)


class Session:
    """A virConnect with its events registered; once lost it stays lost.

    All methods but ``lose`` call libvirt, so none of them may run on its event thread.
    """

    def __init__(
        self, connection: libvirt.virConnect, events: Events, on_lost: Callable[[str], None]
    ) -> None:
        self.connection = connection
        self._events = events
        self._on_lost = on_lost
        self._lost = threading.Event()
        self._event_ids: list[int] = []

    @classmethod
    def open(cls, uri: str, events: Events, on_lost: Callable[[str], None]) -> "Session":
        """Open a connection and register for its events; raises libvirtError.

        ``on_lost`` is called once, with the reason, on any thread, libvirt's own included.
        """
        start_event_loop()
        session = cls(libvirt.open(uri), events, on_lost)
        try:
            session._register()
        except libvirt.libvirtError:
            session.close()
            raise
        return session

    @property
    def alive(self) -> bool:
        """Whether the connection was still there when somebody last heard of it."""
        return not self._lost.is_set() and bool(self.connection.isAlive())

    def lose(self, reason: str) -> None:
        """Take note, once, that the connection is gone."""
        if self._lost.is_set():
            return
        self._lost.set()
        self._on_lost(reason)

    def announce_all(self, *, doubtful: bool = False) -> None:
        """Tell of every domain, so that what happened while nobody listened is made up for.

        ``doubtful`` puts those that run in doubt: libvirtd may have died under them.
        """
        for domain in self.connection.listAllDomains():
            # The number came with the list; asking each would fail for one that has gone since.
            stopped = domain.ID() == _NOT_RUNNING
            self._events.tell_power(_instance(domain), stopped=stopped)
            if doubtful and not stopped:
                self._events.tell_doubt(_instance(domain))

    def close(self) -> None:
        """Let go of the connection, lost or not; calls under way on it fail."""
        self._lost.set()
        # libvirt keeps a connection alive that has callbacks, and they keep us alive.
        with suppress(libvirt.libvirtError):
            self.connection.unregisterCloseCallback()
        for event_id in self._event_ids:
            with suppress(libvirt.libvirtError):
                self.connection.domainEventDeregisterAny(event_id)
        with suppress(libvirt.libvirtError):
            self.connection.close()

    def _register(self) -> None:
        # A driver inside this process (test:///) has neither and cannot be lost.
        with suppress(libvirt.libvirtError):
            self.connection.registerCloseCallback(self._closed, None)
            self.connection.setKeepAlive(_KEEPALIVE_INTERVAL, _KEEPALIVE_COUNT)
        for kind, callback in (
            (libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._lifecycle),
            (libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, self._removed),
            (libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED, self._removal_failed),
        ):
            self._event_ids.append(self.connection.domainEventRegisterAny(None, kind, callback, 0))

    # A libvirtd that stops and one that is killed close alike: `daemon` tells them apart.
    def _closed(self, _connection: libvirt.virConnect, reason: int, _opaque: object) -> None:
        self.lose(_REASONS.get(reason, str(reason)))

    def _lifecycle(
        self,
        _connection: libvirt.virConnect,
        domain: libvirt.virDomain,
        event: int,
        _detail: int,
        _opaque: object,
    ) -> None:
        if event in _POWER_EVENTS:
            stopped = event == libvirt.VIR_DOMAIN_EVENT_STOPPED
            self._events.tell_power(_instance(domain), stopped=stopped)

    def _removed(
        self,
        _connection: libvirt.virConnect,
        domain: libvirt.virDomain,
        alias: str,
        _opaque: object,
    ) -> None:
        self._events.tell_removed(_instance(domain), alias)

    def _removal_failed(
        self,
        _connection: libvirt.virConnect,
        domain: libvirt.virDomain,
        alias: str,
        _opaque: object,
    ) -> None:
        self._events.tell_refused(_instance(domain), alias)


def _instance(domain: libvirt.virDomain) -> InstanceId:
    return InstanceId(domain.UUIDString())
