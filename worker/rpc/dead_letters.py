"""What could not be read: kept, with the reason, until an operator has looked."""

from datetime import UTC, datetime

from kombu.connection import Connection
from kombu.messaging import Producer

from worker.model.operation import Fault
from worker.rpc.bus import BusSettings
from worker.rpc.topology import dead_letter_exchange, dead_letter_queue
from worker.rpc.wire import without_context

CODE = "x-blockworker-code"
REASON = "x-blockworker-reason"
AT = "x-blockworker-at"


class DeadLetters:
    """Puts messages into this host's dead-letter queue."""

    def __init__(self, connection: Connection, settings: BusSettings) -> None:
        """Use a connection whose publishes are confirmed."""
        channel = connection.channel()
        dead_letter_queue(settings)(channel).declare()
        self._settings = settings
        self._producer = Producer(channel, exchange=dead_letter_exchange(settings))

    def put(self, body: bytes | str, fault: Fault) -> None:
        """Keep the message, tokens removed, with the reason; it is durable on return."""
        self._producer.publish(
            without_context(body),
            routing_key=self._settings.dead_letters,
            headers={
                CODE: fault.code,
                REASON: fault.message,
                AT: datetime.now(UTC).isoformat(),
            },
            content_type="application/json",
            content_encoding="utf-8",
            confirm_timeout=self._settings.confirm_timeout,
        )
