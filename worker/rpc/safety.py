"""Which settings of the bus weaken what the worker promises, and what the broker itself says."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from amqp.exceptions import NotFound, PreconditionFailed
from kombu.connection import Connection
from oslo_messaging import TransportURL

from worker.errors import BrokerUnavailable
from worker.rpc import topology
from worker.rpc.bus import FAKE, MEMORY, BusSettings, messaging_conf, tls_wanted
from worker.rpc.link import BROKER_ERRORS, opened

DIFFERENCE = re.compile(
    r"inequivalent arg '(?P<name>[^']+)'.*?:"
    r" received (?P<wanted>.+?) but current is (?P<found>.+)"
)
OFF = ("0", "0.0", "false", "no", "off")

MAKE_ANEW = (
    "stop the worker ('blockworker drain'), let the queue run empty or move what is in it, delete"
    " it, and start the worker, which declares it anew"
)
MAKE_EXCHANGE_ANEW = (
    "stop all who use the exchange, delete it, and start them with the same quorum setting"
)
LOST_ON_THE_WAY = "an operation that was sent and not yet taken is lost with the broker's node"
NOT_GIVEN_UP = "a message that cannot be taken comes again for ever, or is dropped in silence"

MEANINGS = {
    "durable": LOST_ON_THE_WAY,
    "x-queue-type": LOST_ON_THE_WAY,
    "x-dead-letter-exchange": "what the broker gives up on is dropped in silence",
    "x-dead-letter-routing-key": "what the broker gives up on is dropped in silence",
    "x-delivery-limit": NOT_GIVEN_UP,
    "x-dead-letter-strategy": "a dead letter may be lost on its way",
    "x-overflow": "a dead letter may be lost on its way",
    "auto_delete": "the queue is gone with the worker, and with it what it holds",
    "exclusive": "the queue is gone with the worker, and with it what it holds",
}
"""By the property in which a queue or exchange differs: what it costs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsafe:
    """One thing that weakens the worker's promises; each field is a sentence or less."""

    what: str
    why: str
    do: str

    def __str__(self) -> str:
        return f"{self.what}: {self.why}; {self.do}"


def unsafe_settings(settings: BusSettings) -> tuple[Unsafe, ...]:
    """Return what the settings alone give away; connects to nothing."""
    if settings.in_process is not None:
        return (_in_process(settings.in_process),)
    url = TransportURL.parse(messaging_conf(settings.url, quorum=False), settings.url)
    return (*_queues(settings, url), *_hosts(url), *_heartbeat(url))


def unsafe_on_broker(settings: BusSettings) -> tuple[Unsafe, ...]:
    """Ask the broker what it has; it is changed in nothing. Raises BrokerUnavailable.

    AMQP tells only whether a queue is as we would declare it and the first difference, so a
    second one shows when the first is mended; what a policy of the broker does it tells not at all.
    """
    if settings.in_process is not None:
        return ()
    try:
        with opened(settings, "check") as connection:
            return tuple(_differences(connection, settings))
    except BROKER_ERRORS as error:
        raise BrokerUnavailable("the message broker does not answer") from error


def _in_process(kind: str) -> Unsafe:
    whys = {
        FAKE: "it forgets: operations and updates may be lost",
        MEMORY: "what was not taken from it dies with it",
    }
    return Unsafe(
        what=f"transport_url is {kind}, a bus that lives in the worker's process",
        why=whys[kind],
        do="set transport_url to a RabbitMQ",
    )


def _queues(settings: BusSettings, url: TransportURL) -> Iterator[Unsafe]:
    if not settings.quorum:
        yield Unsafe(
            what="[bus] quorum is off, so queues are classic ones",
            why="the exchange does not outlive a restart of the broker, nor a queue the loss of"
            " its node; messages sent meanwhile may be lost",
            do="set [bus] quorum, and rabbit_quorum_queue wherever else the exchange is used",
        )
    elif _off(url, "rabbit_quorum_queue"):
        yield Unsafe(
            what="transport_url turns rabbit_quorum_queue off",
            why="oslo.messaging would declare a classic queue where the worker has a quorum queue,"
            " and the broker refuses one of them",
            do="take it out of the URL",
        )


def _hosts(url: TransportURL) -> Iterator[Unsafe]:
    for host in url.hosts:
        if is_loopback(host.hostname):
            continue
        where = f"the broker at {host.hostname}"
        if (host.username or "guest", host.password or "guest") == ("guest", "guest"):
            yield Unsafe(
                what=f"{where} is used as guest with the password guest",
                why="whoever reaches the broker may send operations to every host",
                do="make a user of the worker's own on the broker and remove guest",
            )
        if not tls_wanted(url.query):
            yield Unsafe(
                what=f"{where} is used without TLS",
                why="password, operations and updates can be read and changed on the way",
                do="add ?ssl=1&ssl_ca_file=FILE to transport_url",
            )


def _heartbeat(url: TransportURL) -> Iterator[Unsafe]:
    if _off(url, "heartbeat_timeout_threshold"):
        yield Unsafe(
            what="transport_url turns heartbeat_timeout_threshold off",
            why="calls never come back after a broker or a network that was lost without a word",
            do="take it out of the URL",
        )


def _off(url: TransportURL, option: str) -> bool:
    return str(url.query.get(option, "on")).lower() in OFF


def is_loopback(name: str | None) -> bool:
    """Return whether the name or address is this machine's alone; no name server is asked."""
    if name in (None, "", "localhost"):
        return True
    try:
        return ip_address(str(name)).is_loopback
    except ValueError:
        return False


def _differences(connection: Connection, settings: BusSettings) -> Iterator[Unsafe]:
    queue = topology.operations_queue(settings)
    for what, entity, declare, do in (
        ("exchange", topology.exchange(settings), "declare", MAKE_EXCHANGE_ANEW),
        ("operations queue", queue, "queue_declare", MAKE_ANEW),
    ):
        said = _difference(connection, entity, declare)
        if said is not None:
            yield told_apart(f"the {what} {entity.name} on the broker", said, do)


def _difference(connection: Connection, entity: Any, declare: str) -> str | None:  # noqa: ANN401
    """Return the broker's word on how the entity differs from ours; one not there yet does not."""
    with connection.channel() as channel:
        bound = entity(channel)
        try:
            getattr(bound, declare)(passive=True)
            getattr(bound, declare)()
        except NotFound:
            return None
        except PreconditionFailed as error:
            return str(error.reply_text)
    return None


def told_apart(what: str, said: str, do: str) -> Unsafe:
    """Return what the broker's refusal of our declaration says of the thing that it has."""
    found = DIFFERENCE.search(said)
    if found is None:
        return Unsafe(what=f"{what} is not as the worker declares it", why=said, do=do)
    name, has, wanted = found["name"], _plain(found["found"]), _plain(found["wanted"])
    return Unsafe(
        what=f"{what} has {name} {has} where the worker wants {wanted}",
        why=MEANINGS.get(name, "the worker cannot use it as it is"),
        do=do,
    )


def _plain(value: str) -> str:
    """Shorten ``the value 'classic' of type 'longstr'`` to ``classic``."""
    quoted = re.search(r"the value '?([^' ]*)'?", value)
    return quoted[1] if quoted else value.strip().strip("'")
