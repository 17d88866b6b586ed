"""The outbox relay: publishes each update until the broker has confirmed it, in order."""

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from kombu.connection import Connection
from kombu.exceptions import KombuError
from kombu.messaging import Producer
from kombu.transport.pyamqp import Channel
from oslo_messaging import Notifier, get_notification_transport

from worker.errors import DatabaseUnavailable
from worker.model.ids import InstanceId
from worker.model.update import OutboxEntry
from worker.ports import Outbox
from worker.rpc.bus import FAKE, BusSettings, messaging_conf
from worker.rpc.link import AT_ONCE, Link, Outage, drain
from worker.rpc.topology import exchange, retained_updates
from worker.rpc.wire import update_out

LOG = logging.getLogger(__name__)

PERSISTENT = 2
BATCH = 100
NOTED = 16
PAUSE = 0.1
"""Confirmed updates are noted when there are so many, or none came for so many seconds.

Until then a crash has them told again.
"""

IDLE = 1.0
"""Seconds without an update after which the connection is looked after."""


Publish = Callable[[Sequence[OutboxEntry]], None]
"""Returns when the bus has all of them; they may have been sent when it raises."""


class Refused(KombuError):
    """The broker did not take an update, or had no queue for it, not even the default one."""


class Relay:
    """Tells the bus what the outbox holds, at least once and in the outbox's order."""

    def __init__(self, settings: BusSettings, outbox: Outbox) -> None:
        """Read the outbox from a thread of its own."""
        self._settings = settings
        self._outbox = outbox
        self._confirmed: list[int] = []
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
        return done

    def _relay(self, connection: Connection) -> None:
        publish = _publisher(connection, self._settings)
        self._link.settled()
        while not self._link.stopping.is_set():
            try:
                count = self._publish_some(publish)
                self._database.over()
            except DatabaseUnavailable as error:
                self._link.stopping.wait(self._database.goes_on(error))
                continue
            if not count:
                if self._leaving.is_set():
                    return
                drain(connection, AT_ONCE)
            if count < BATCH and not self._leaving.is_set():
                self._outbox.wait(PAUSE if self._confirmed else IDLE)

    def _publish_some(self, publish: Publish) -> int:
        """Return how many there were."""
        entries = self._outbox.waiting(BATCH, but=self._confirmed)
        for wave in waves(entries):
            publish(wave)
            self._confirmed += [entry.id for entry in wave]
        if len(self._confirmed) >= NOTED or not entries:
            self._outbox.published(self._confirmed)
            self._confirmed.clear()
        return len(entries)


def waves(entries: Sequence[OutboxEntry]) -> list[list[OutboxEntry]]:
    """Part the entries so that each part has one of an instance at most, in their order.

    A part is confirmed as a whole, and before the next is sent: what the broker refuses of one
    instance is never overtaken by a later update of it.
    """
    parts: list[list[OutboxEntry]] = []
    seen: Counter[InstanceId | None] = Counter()
    for entry in entries:
        nth = seen[entry.instance]
        seen[entry.instance] += 1
        if nth == len(parts):
            parts.append([])
        parts[nth].append(entry)
    return parts


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

    def __call__(self, entries: Sequence[OutboxEntry]) -> None:
        for entry in entries:
            self._producer.publish(
                update_out(entry, self._settings.publisher),
                routing_key=self._settings.updates_key,
            )


class _Confirming:
    """Publishes to a broker: mandatory, and all confirmed before it returns.

    kombu's producer would wait for each confirmation before the next is sent.
    """

    def __init__(self, channel: Channel, settings: BusSettings) -> None:
        self._channel = channel
        self._settings = settings
        self._sent = 0
        self._open: set[int] = set()
        self._trouble = ""
        channel.confirm_select()
        channel.events["basic_ack"].add(self._note_ack)
        channel.events["basic_nack"].add(self._note_nack)
        channel.events["basic_return"].add(self._note_return)

    def __call__(self, entries: Sequence[OutboxEntry]) -> None:
        for entry in entries:
            self._send(entry)
        deadline = time.monotonic() + self._settings.confirm_timeout
        while self._open:
            left = max(AT_ONCE, deadline - time.monotonic())
            self._channel.connection.drain_events(timeout=left)
        if self._trouble:
            raise Refused(self._trouble)

    def _send(self, entry: OutboxEntry) -> None:
        message = self._channel.prepare_message(
            json.dumps(update_out(entry, self._settings.publisher)),
            content_type="application/json",
            content_encoding="utf-8",
            properties={"delivery_mode": PERSISTENT},
        )
        self._sent += 1
        self._open.add(self._sent)
        Channel.basic_publish(
            self._channel,
            message,
            exchange=self._settings.name,
            routing_key=self._settings.updates_key,
            mandatory=True,
        )

    def _note_ack(self, tag: int, multiple: bool) -> None:  # noqa: FBT001 - amqp calls it so
        self._open -= {each for each in self._open if each == tag or (multiple and each < tag)}

    def _note_nack(self, tag: int, multiple: bool) -> None:  # noqa: FBT001 - amqp calls it so
        self._note_ack(tag, multiple)
        self._trouble = "the broker refused an update"

    def _note_return(self, *_args: object) -> None:
        self._trouble = f"no queue is bound to {self._settings.updates_key}"


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

    def __call__(self, entries: Sequence[OutboxEntry]) -> None:
        for entry in entries:
            self._notifier.info({}, entry.event.value, dict(entry.payload))
