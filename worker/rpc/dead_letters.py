"""What could not be read: kept, with the reason, until an operator has looked."""

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kombu.connection import Connection
from kombu.entity import Queue
from kombu.message import Message
from kombu.messaging import Producer

from worker.errors import BrokerUnavailable, DeadLetterNotFound, Invalid, RequestMalformed
from worker.model.connection import is_secret
from worker.model.operation import Fault
from worker.rpc.bus import BusSettings
from worker.rpc.link import BROKER_ERRORS, opened
from worker.rpc.topology import (
    dead_letter_exchange,
    dead_letter_queue,
    exchange,
    operations_queue,
)
from worker.rpc.wire import envelope_in, without_context

CODE = "x-blockworker-code"
REASON = "x-blockworker-reason"
AT = "x-blockworker-at"

ID_LENGTH = 12
"""Characters of an id; a shorter run of digits is a position."""

MASK = "***"

RETURN_SECONDS, RETURN_POLL = 2.0, 0.01


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


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A dead letter as it may be shown: without its context, its secret arguments masked.

    Of one that cannot be read no word is shown, only its size. ``position`` counts from 1, the
    oldest, and changes with the queue; ``id`` is the message's own, made from what it says.
    """

    position: int
    id: str
    at: str | None
    code: str | None
    reason: str
    method: str | None
    arguments: Mapping[str, Any] | None
    size: int


class DeadLetterBox:
    """This host's dead letters, as an operator goes through them."""

    def __init__(self, settings: BusSettings) -> None:
        """Raises Invalid for a bus that only the worker's own process can reach."""
        if settings.in_process is not None:
            message = (
                f"the bus {settings.in_process} lives in the worker's process, and its dead"
                " letters with it; only those of a broker can be looked at"
            )
            raise Invalid(message)
        self._settings = settings

    def list(self) -> tuple[DeadLetter, ...]:
        """Return them, oldest first; they stay. Raises BrokerUnavailable."""
        with self._laid_out() as (_, messages):
            return _shown(messages)

    def show(self, which: str) -> DeadLetter:
        """Return one by its position or id; it stays. Raises DeadLetterNotFound."""
        with self._laid_out() as (_, messages):
            return _find(which, messages)

    def replay(self, which: str) -> DeadLetter:
        """Send one to the operations once more; it is dropped when the broker has confirmed it.

        What was taken before changes nothing a second time: the journal knows its id.
        """
        with self._laid_out() as (connection, messages):
            found = _find(which, messages)
            message = messages[found.position - 1]
            self._send(connection, message)
            message.ack()
            return found

    def drop(self, which: str) -> DeadLetter:
        """Forget one; return what it was."""
        with self._laid_out() as (_, messages):
            found = _find(which, messages)
            messages[found.position - 1].ack()
            return found

    @contextmanager
    def _laid_out(self) -> Iterator[tuple[Connection, Sequence[Message]]]:
        """Lend all of them, unacknowledged; closing gives back those that still are, in order."""
        try:
            with opened(self._settings, "dead letters") as connection:
                channel = connection.channel()
                queue = dead_letter_queue(self._settings)(channel)
                queue.declare()
                messages = list(_taken(queue))
                yield connection, messages
                channel.close()
                _wait_for_return(dead_letter_queue(self._settings)(connection.channel()), messages)
        except BROKER_ERRORS as error:
            message = f"the broker does not answer, or refuses: {error}"
            raise BrokerUnavailable(message) from error

    def _send(self, connection: Connection, message: Message) -> None:
        channel = connection.channel()
        # A worker that never ran has no queue yet, and what is not routed would be lost.
        operations_queue(self._settings)(channel).declare()
        Producer(channel, exchange=exchange(self._settings)).publish(
            message.body,
            routing_key=self._settings.operations_queue,
            content_type=message.content_type,
            content_encoding=message.content_encoding,
            mandatory=True,
            confirm_timeout=self._settings.confirm_timeout,
        )


def _taken(queue: Queue) -> Iterator[Message]:
    """Take what is there now; what comes meanwhile is for the next look."""
    for _ in range(queue.queue_declare(passive=True).message_count):
        message = queue.get(accept=None)
        if message is None:
            return
        yield message


def _wait_for_return(queue: Queue, messages: Sequence[Message]) -> None:
    """Wait until those that were given back can be taken again, for whoever looks next.

    A quorum queue takes them back a moment after the channel was closed. Not for ever: somebody
    else may have dropped them by then.
    """
    kept = sum(not message.acknowledged for message in messages)
    deadline = time.monotonic() + RETURN_SECONDS
    while queue.queue_declare(passive=True).message_count < kept and time.monotonic() < deadline:
        time.sleep(RETURN_POLL)


def _find(which: str, messages: Sequence[Message]) -> DeadLetter:
    by_position = which.isdecimal() and len(which) < ID_LENGTH
    for letter in _shown(messages):
        if which == (str(letter.position) if by_position else letter.id):
            return letter
    message = f"no dead letter {which}; there are {len(messages)}"
    raise DeadLetterNotFound(message)


def _shown(messages: Sequence[Message]) -> tuple[DeadLetter, ...]:
    return tuple(_letter(number, message) for number, message in enumerate(messages, start=1))


def _letter(position: int, message: Message) -> DeadLetter:
    body = message.body.encode() if isinstance(message.body, str) else bytes(message.body)
    method, arguments = _read(body)
    headers = message.headers or {}
    return DeadLetter(
        position=position,
        id=hashlib.sha256(body).hexdigest()[:ID_LENGTH],
        at=headers.get(AT),
        code=headers.get(CODE),
        reason=headers.get(REASON) or _given_up(headers),
        method=method,
        arguments=arguments,
        size=len(body),
    )


def _given_up(headers: Mapping[str, Any]) -> str:
    """Say why the broker itself moved the message: it was delivered too often, say."""
    return f"moved by the broker: {headers.get('x-first-death-reason', 'it does not say why')}"


def _read(body: bytes) -> tuple[str | None, Mapping[str, Any] | None]:
    try:
        message = envelope_in(body)
    except RequestMalformed:
        return None, None
    return message.method, _masked(message.arguments)


def _masked(value: Any) -> Any:  # noqa: ANN401 - JSON has no narrower type
    match value:
        case Mapping():
            return {
                name: MASK if _is_hidden(name) else _masked(item) for name, item in value.items()
            }
        case list():
            return [_masked(item) for item in value]
        case _:
            return value


def _is_hidden(name: str) -> bool:
    """Hide more than what is known as a secret: a name may be a caller's slip."""
    return is_secret(name) or any(part in name.lower() for part in ("token", "secret", "passwd"))
