"""Hearing updates as they come; each hearer has a queue of its own, and takes from nobody."""

import threading
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Protocol, Self

from kombu.connection import Connection
from kombu.message import Message
from kombu.messaging import Consumer
from oslo_messaging import Target, get_notification_listener, get_notification_transport

from worker.errors import BrokerUnavailable, RequestMalformed
from worker.model.ids import new_uuid
from worker.rpc.bus import FAKE, BusSettings, messaging_conf
from worker.rpc.link import LOOK, Link, drain
from worker.rpc.topology import watchers_queue
from worker.rpc.wire import update_in

Hear = Callable[[dict[str, Any]], None]


class _Source(Protocol):
    bindings: int

    @property
    def connected(self) -> bool: ...
    def start(self) -> None: ...
    def stop(self) -> object: ...


class Hearing(Iterator[dict[str, Any]]):
    """Updates from the moment it is entered; what is told while the broker is away is missed.

    Whoever must miss nothing reads a durable queue of his own instead (docs/bus.md). Each update
    has ``event_type``, ``payload``, ``message_id``, ``publisher_id`` and ``timestamp``.
    """

    def __init__(self, settings: BusSettings) -> None:
        """Prepare; nothing is heard before ``with``."""
        self._patience = 2 * settings.connect_timeout
        self._heard: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self._bound = threading.Event()
        kind = _Notified if settings.in_process == FAKE else _Listening
        self._source: _Source = kind(settings, self._heard.put, self._bound)

    def __enter__(self) -> Self:
        """Return once the queue is bound; raises BrokerUnavailable."""
        self._source.start()
        if not self._bound.wait(self._patience):
            self._source.stop()
            raise BrokerUnavailable("the message broker does not answer")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Hear no more."""
        self._source.stop()

    def __next__(self) -> dict[str, Any]:
        """Return the next update, however long it takes."""
        return self._heard.get()

    @property
    def connected(self) -> bool:
        """Whether the broker is there, as far as is known."""
        return self._source.connected

    @property
    def bindings(self) -> int:
        """How often it began to hear: one more than there were outages, each with a hole."""
        return self._source.bindings

    def wait(self, seconds: float) -> dict[str, Any] | None:
        """Return the next update, or None if there is none in that time."""
        try:
            return self._heard.get(timeout=seconds)
        except Empty:
            return None


class _Listening:
    """Hears through kombu."""

    def __init__(self, settings: BusSettings, hear: Hear, bound: threading.Event) -> None:
        self._settings = settings
        self._hear = hear
        self._bound = bound
        self._link = Link("hearing", settings, self._listen)
        self.bindings = 0

    @property
    def connected(self) -> bool:
        return self._link.connected

    def start(self) -> None:
        self._link.start()

    def stop(self) -> object:
        return self._link.stop()

    def _listen(self, connection: Connection) -> None:
        channel = connection.channel()
        queue = watchers_queue(self._settings, f"{self._settings.updates_topic}.{new_uuid()}")
        consumer = Consumer(channel, [queue], on_message=self._read, no_ack=True, accept=None)
        consumer.consume()
        self._link.settled()
        self.bindings += 1
        self._bound.set()
        while not self._link.stopping.is_set():
            drain(connection, LOOK)

    def _read(self, message: Message) -> None:
        try:
            self._hear(update_in(message.body))
        except RequestMalformed:
            # Not one of ours: the exchange is open to all who have its password.
            return


class _Notified:
    """Hears through oslo.messaging, for the one bus that kombu does not speak."""

    filter_rule = None
    connected = True

    def __init__(self, settings: BusSettings, hear: Hear, bound: threading.Event) -> None:
        self.bindings = 1
        self._hear = hear
        self._bound = bound
        conf = messaging_conf(settings.url, quorum=settings.replicated)
        target = Target(topic=settings.updates_topic, exchange=settings.name)
        self._listener = get_notification_listener(
            get_notification_transport(conf), [target], [self], pool=new_uuid()
        )

    def start(self) -> None:
        self._listener.start()
        self._bound.set()

    def stop(self) -> object:
        self._listener.stop()
        return self._listener.wait()

    def info(
        self,
        _context: object,
        publisher_id: str,
        event_type: str,
        payload: dict[str, Any],
        metadata: dict[str, str],
    ) -> None:
        """Take one notification, as oslo.messaging hands it over."""
        self._hear(
            {
                "message_id": metadata["message_id"],
                "publisher_id": publisher_id,
                "event_type": event_type,
                "payload": payload,
                "timestamp": metadata["timestamp"],
            }
        )
