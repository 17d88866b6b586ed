"""The bus side of a worker, on a fake world: what the rings of the bus have in common."""

import itertools
import json
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import oslo_messaging
from kombu.message import Message as KombuMessage
from kombu.messaging import Consumer

from tests import fakes
from tests.fakes.world import World
from tests.unit.scenes import AT_ONCE, world
from worker.errors import DatabaseUnavailable
from worker.model.ids import InstanceId
from worker.model.update import Event, OutboxEntry
from worker.ports import Outbox, Ports
from worker.rpc.bus import BusSettings, messaging_conf
from worker.rpc.client import Client
from worker.rpc.dispatch import Dispatcher
from worker.rpc.link import drain, opened
from worker.rpc.methods import OPERATIONS
from worker.rpc.server import CallServer, intake_for
from worker.rpc.topology import dead_letter_queue
from worker.rpc.updates import Relay
from worker.runner import Runner

NAMES = itertools.count(1)
STOCK: list[Any] = []


def fresh_name() -> str:
    """Return a name for an exchange that no other test has."""
    return f"blockworker-{next(NAMES)}"


class ListOutbox(Outbox):
    """An outbox that is a list; what was published is left in it, and counted."""

    def __init__(self) -> None:
        self.entries: list[OutboxEntry] = []
        self.done: set[int] = set()

    def add(
        self,
        event: Event = Event.POWER,
        instance: InstanceId | None = None,
        **payload: Any,  # noqa: ANN401
    ) -> None:
        number = len(self.entries) + 1
        self.entries.append(
            OutboxEntry(
                id=number,
                message_id=f"message-{number}",
                event=event,
                instance=instance,
                payload={"sequence": number, "at": "2026-01-01T00:00:00+00:00", **payload},
            )
        )

    def waiting(
        self, limit: int, but: Sequence[int] = (), without: Collection[InstanceId | None] = ()
    ) -> tuple[OutboxEntry, ...]:
        known = self.done | set(but)
        left = [one for one in self.entries if one.id not in known and one.instance not in without]
        return tuple(left[:limit])

    def published(self, entries: Sequence[int]) -> None:
        self.done |= set(entries)

    def wait(self, seconds: float) -> None:
        eventually(lambda: bool(self.waiting(1)), seconds=min(seconds, 0.1))


class WorldOutbox(ListOutbox):
    """What a world has told."""

    def __init__(self, found: World) -> None:
        super().__init__()
        self._world = found

    def waiting(
        self, limit: int, but: Sequence[int] = (), without: Collection[InstanceId | None] = ()
    ) -> tuple[OutboxEntry, ...]:
        for update in self._world.told[len(self.entries) :]:
            fault = None if update.fault is None else update.fault.code
            self.add(update.event, operation_id=update.operation, fault=fault)
        return super().waiting(limit, but, without)


class BusWorker:
    """A whole worker on a fake world; its database can be taken away."""

    def __init__(self, settings: BusSettings) -> None:
        self.settings = settings
        self.world = world()
        self.failures = 0
        self.runner = Runner(
            OPERATIONS,
            lambda operation: fakes.page(self.world, operation),
            threads=4,
            patience=AT_ONCE,
        )
        self.dispatcher = Dispatcher(self.open_call, self.runner.submit)
        self.calls = CallServer(settings, self.dispatcher)
        self.intake = intake_for(settings, self.dispatcher)
        self.relay = Relay(settings, WorldOutbox(self.world))

    @contextmanager
    def open_call(self) -> Iterator[Ports]:
        if self.failures:
            self.failures -= 1
            raise DatabaseUnavailable("the database is away")
        yield fakes.ports(self.world)
        self.world.commit()

    def __enter__(self) -> Self:
        self.relay.start()
        self.calls.start()
        self.intake.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.intake.stop()
        self.calls.stop()
        self.runner.stop(5.0)
        self.relay.stop(5.0)

    def client(self, **options: Any) -> Client:  # noqa: ANN401
        settings = self.settings
        return Client(settings.url, quorum=settings.quorum, name=settings.name, **options)


def eventually(holds: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Wait until it holds; return whether it came to."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.01)
    return holds()


def stock_client(settings: BusSettings, topic: str, **target: Any) -> Any:  # noqa: ANN401
    """Return a client as any user of oslo.messaging would make it."""
    conf = messaging_conf(settings.url, quorum=settings.replicated)
    transport = oslo_messaging.get_rpc_transport(conf)
    STOCK.append(transport)
    return oslo_messaging.get_rpc_client(
        transport,
        oslo_messaging.Target(
            **({"exchange": settings.name, "topic": topic, "server": settings.host} | target)
        ),
        timeout=5,
    )


def close_stock_clients() -> Iterator[None]:
    """Leave no connection of theirs to the next test; a fixture."""
    yield
    while STOCK:
        STOCK.pop().cleanup()


def dead_letters(settings: BusSettings) -> list[tuple[dict[str, str], str]]:
    """Return headers and bodies of the dead letters, and leave none."""
    found: list[KombuMessage] = []
    with opened(settings, "test") as connection:
        queue = dead_letter_queue(settings)
        with Consumer(connection.channel(), [queue], on_message=found.append, accept=None):
            before = -1
            while before < len(found):
                before = len(found)
                drain(connection, 0.5)
            for message in found:
                message.ack()
    return [(message.headers, _text(message.body)) for message in found]


def _text(body: bytes | str) -> str:
    return body if isinstance(body, str) else body.decode()


def envelope(**message: Any) -> str:  # noqa: ANN401
    """Return a message as it looks on the wire."""
    return json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps(message)})
