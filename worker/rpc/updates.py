"""The outbox relay: publishes each update until the broker has confirmed it, in order."""

import json
import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

from kombu.connection import Connection
from kombu.messaging import Producer
from kombu.transport.pyamqp import Channel
from oslo_messaging import Notifier, get_notification_transport

from worker.errors import DatabaseUnavailable
from worker.model.update import OutboxEntry
from worker.ports import Outbox
from worker.rpc.bus import FAKE, BusSettings, messaging_conf
from worker.rpc.link import AT_ONCE, Link, Outage, drain
from worker.rpc.rounds import BATCH, Publish, Refused, Rounds
from worker.rpc.topology import exchange, retained_updates
from worker.rpc.wire import update_out

LOG = logging.getLogger(__name__)

PERSISTENT = 2
PAUSE = 0.1
"""Confirmed updates are noted when there are many, or none came for so many seconds.

Until then a crash has them told again.
"""

IDLE = 1.0
"""Seconds without an update after which the connection is looked after."""


class Relay:
    """Tells the bus what the outbox holds, at least once and in the outbox's order."""

    def __init__(self, settings: BusSettings, outbox: Outbox) -> None:
        """Read the outbox from a thread of its own."""
        self._settings = settings
        self._outbox = outbox
        self._rounds = Rounds(outbox, settings)
        self._database = Outage("updates: database", settings)
        self._leaving = threading.Event()
        self._link = Link("updates", settings, self._relay)

    def start(self) -> None:
        """Begin to publish; returns once it can, or soon and keeps trying without a broker."""
        self._link.start()

    @property
    def connected(self) -> bool:
        """Whether the connection claims to be well."""
        return self._link.connected

    def stop(self, seconds: float = 10.0) -> bool:
        """Publish what is left, then end; return whether all was published in time.

        What was not stays in the outbox, for the next worker.
        """
        self._leaving.set()
        done = self._link.wait(seconds)
        self._link.stop(seconds=1.0)
        return done and not self._rounds.held

    def _relay(self, connection: Connection) -> None:
        publish = _publisher(connection, self._settings)
        self._link.settled()
        while not self._link.stopping.is_set():
            try:
                count = self._rounds.send(publish)
                self._database.over()
            except DatabaseUnavailable as error:
                self._link.stopping.wait(self._database.goes_on(error))
                continue
            if not count:
                if self._leaving.is_set():
                    return
                drain(connection, AT_ONCE)
            if count < BATCH and not self._leaving.is_set():
                self._outbox.wait(PAUSE if self._rounds.unnoted else IDLE)


def _publisher(connection: Connection, settings: BusSettings) -> Publish:
    if settings.in_process == FAKE:
        return _Notifying(settings)
    channel = connection.channel()
    retained_updates(settings)(channel).declare()
    kind = _Confirming if settings.in_process is None else _Handing
    return kind(channel, settings)


class _Handing:
    """Publishes through kombu, on a bus in this process: there is nothing to wait for."""

    def __init__(self, channel: Any, settings: BusSettings) -> None:  # noqa: ANN401 - kombu's
        self._settings = settings
        self._producer = Producer(channel, exchange=exchange(settings))

    def __call__(self, entries: Sequence[OutboxEntry]) -> Sequence[OutboxEntry]:
        for entry in entries:
            self._producer.publish(
                update_out(entry, self._settings.publisher),
                routing_key=self._settings.updates_key,
            )
        return ()


class _Confirming:
    """Publishes to a broker: mandatory, and all confirmed before it returns.

    kombu's producer would wait for each confirmation before the next is sent.
    """

    def __init__(self, channel: Channel, settings: BusSettings) -> None:
        self._channel = channel
        self._settings = settings
        self._sent = 0
        self._open: dict[int, OutboxEntry] = {}
        self._refused: list[OutboxEntry] = []
        self._homeless = False
        channel.confirm_select()
        channel.events["basic_ack"].add(self._note_ack)
        channel.events["basic_nack"].add(self._note_nack)
        channel.events["basic_return"].add(self._note_return)

    def __call__(self, entries: Sequence[OutboxEntry]) -> Sequence[OutboxEntry]:
        self._refused.clear()
        for entry in entries:
            self._send(entry)
        deadline = time.monotonic() + self._settings.confirm_timeout
        while self._open:
            left = max(AT_ONCE, deadline - time.monotonic())
            self._channel.connection.drain_events(timeout=left)
        if self._homeless:
            message = f"no queue is bound to {self._settings.updates_key}"
            raise Refused(message)
        return tuple(self._refused)

    def _send(self, entry: OutboxEntry) -> None:
        message = self._channel.prepare_message(
            json.dumps(update_out(entry, self._settings.publisher)),
            content_type="application/json",
            content_encoding="utf-8",
            properties={"delivery_mode": PERSISTENT},
        )
        self._sent += 1
        self._open[self._sent] = entry
        Channel.basic_publish(
            self._channel,
            message,
            exchange=self._settings.name,
            routing_key=self._settings.updates_key,
            mandatory=True,
        )

    def _note_ack(self, tag: int, multiple: bool) -> None:  # noqa: FBT001 - amqp calls it so
        self._closed(tag, multiple=multiple)

    def _note_nack(self, tag: int, multiple: bool) -> None:  # noqa: FBT001 - amqp calls it so
        self._refused += self._closed(tag, multiple=multiple)

    def _closed(self, tag: int, *, multiple: bool) -> list[OutboxEntry]:
        """Return the entries that this is the answer for."""
        tags = [each for each in self._open if each == tag or (multiple and each < tag)]
        return [self._open.pop(each) for each in tags]

    def _note_return(self, *_args: object) -> None:
        self._homeless = True


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

    def __call__(self, entries: Sequence[OutboxEntry]) -> Sequence[OutboxEntry]:
        for entry in entries:
            self._notifier.info({}, entry.event.value, dict(entry.payload))
        return ()
