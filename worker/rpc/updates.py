"""The outbox relay: publishes each update until the broker has confirmed it, in order."""

import logging
import threading
from collections.abc import Callable

from kombu.connection import Connection
from kombu.exceptions import KombuError
from kombu.messaging import Producer
from oslo_messaging import Notifier, get_notification_transport

from worker.errors import DatabaseUnavailable
from worker.model.update import OutboxEntry
from worker.ports import Outbox
from worker.rpc.bus import FAKE, BusSettings, messaging_conf
from worker.rpc.link import AT_ONCE, Link, Outage, drain
from worker.rpc.topology import exchange, retained_updates
from worker.rpc.wire import update_out

LOG = logging.getLogger(__name__)

BATCH = 100
IDLE = 1.0
"""Seconds without an update after which the connection is looked after."""


class Unroutable(KombuError):
    """The broker had no queue for an update, not even the default one."""


class Relay:
    """Tells the bus what the outbox holds, at least once and in the outbox's order."""

    def __init__(self, settings: BusSettings, outbox: Outbox) -> None:
        """Read the outbox from a thread of its own."""
        self._settings = settings
        self._outbox = outbox
        self._database = Outage("updates: database", settings)
        self._leaving = threading.Event()
        self._link = Link("updates", settings, self._relay)

    def start(self) -> None:
        """Begin to publish; returns once it can, or soon and keeps trying without a broker."""
        self._link.start()

    def stop(self, seconds: float = 10.0) -> bool:
        """Publish what is left, then end; return whether all was published in time.

        What was not stays in the outbox, for the next worker.
        """
        self._leaving.set()
        done = self._link.wait(seconds)
        self._link.stop(seconds=1.0)
        return done

    def _relay(self, connection: Connection) -> None:
        publish = _publisher(connection, self._settings)
        self._link.settled()
        while not self._link.stopping.is_set():
            try:
                left = self._publish_some(publish)
                self._database.over()
            except DatabaseUnavailable as error:
                self._link.stopping.wait(self._database.goes_on(error))
                continue
            if left:
                continue
            if self._leaving.is_set():
                return
            self._outbox.wait(IDLE)
            drain(connection, AT_ONCE)

    def _publish_some(self, publish: Callable[[OutboxEntry], None]) -> bool:
        """Return whether there was anything."""
        entries = self._outbox.waiting(BATCH)
        confirmed: list[int] = []
        try:
            for entry in entries:
                publish(entry)
                confirmed.append(entry.id)
        finally:
            if confirmed:
                self._outbox.published(confirmed)
        return bool(entries)


def _publisher(connection: Connection, settings: BusSettings) -> Callable[[OutboxEntry], None]:
    if settings.in_process == FAKE:
        return _Notifying(settings)
    return _Publishing(connection, settings)


class _Publishing:
    """Publishes through kombu: mandatory, and confirmed before it returns."""

    def __init__(self, connection: Connection, settings: BusSettings) -> None:
        channel = connection.channel()
        retained_updates(settings)(channel).declare()
        self._settings = settings
        self._returned = False
        self._producer = Producer(channel, exchange=exchange(settings))
        if settings.in_process is None:
            channel.events["basic_return"].add(self._note_return)

    def __call__(self, entry: OutboxEntry) -> None:
        self._returned = False
        self._producer.publish(
            update_out(entry, self._settings.publisher),
            routing_key=self._settings.updates_key,
            mandatory=True,
            confirm_timeout=self._settings.confirm_timeout,
        )
        if self._returned:
            message = f"no queue is bound to {self._settings.updates_key}"
            raise Unroutable(message)

    def _note_return(self, *_args: object) -> None:
        self._returned = True


class _Notifying:
    """Publishes through oslo.messaging, for the one bus that kombu does not speak."""

    def __init__(self, settings: BusSettings) -> None:
        conf = messaging_conf(settings.url, quorum=settings.replicated)
        conf.set_override("control_exchange", settings.name)
        self._notifier = Notifier(
            get_notification_transport(conf),
            publisher_id=settings.publisher,
            driver="messaging",
            topics=[settings.updates_topic],
        )

    def __call__(self, entry: OutboxEntry) -> None:
        self._notifier.info({}, entry.event.value, dict(entry.payload))
