"""What lies below us, in the same run, without us: calls, casts, updates and synced commits.

Of a cycle of reserve, attach and detach a worker cannot do without one call, two casts, a synced
commit for each promise, and five updates that are published and confirmed. What these cost in
CPU when nothing else is done is the floor under the worker's own figure.
"""

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kombu.messaging import Producer
from oslo_messaging import (
    MessageUndeliverable,
    Target,
    TransportOptions,
    get_rpc_client,
    get_rpc_transport,
)

from tests.bench.figures import Figure, milliseconds, single
from tests.bench.worker import PATIENCE, started
from worker.rpc.bus import BusSettings, connection_to, messaging_conf
from worker.rpc.topology import retained_updates

TOPIC = "echo"
WARMING = 20

CALLS, CASTS, COMMITS, UPDATES = 1, 2, 17, 5
"""Of one cycle: a commit for what is accepted, begun, ended, and for each call that acts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bare:
    """How long each takes whoever waits for it, and what it costs, all in ms."""

    figures: tuple[Figure, ...]

    @property
    def call(self) -> float:
        """The p50 of a call."""
        return self.figures[0].p50


def measure(settings: BusSettings, folder: Path, count: int) -> Bare:
    """Measure all that lies below; the last figure is the floor under a cycle."""
    timed, call, cast = _bus(settings, folder, count)
    commits, commit = _disk(folder, count)
    update = _updates(settings, count)
    floor = CALLS * call + CASTS * cast + COMMITS * commit + UPDATES * update
    costs = [
        single("bare call, CPU of who answers", call, "ms"),
        single("bare cast, CPU of who hears it", cast, "ms"),
        single("bare synced SQLite commit, CPU", commit, "ms"),
        single("bare update, published and confirmed, CPU", update, "ms"),
        single(f"bare {CALLS}+{CASTS}+{COMMITS}+{UPDATES} of these, CPU a cycle", floor, "ms"),
    ]
    return Bare(figures=(*timed, commits, *costs))


def _bus(settings: BusSettings, folder: Path, count: int) -> tuple[list[Figure], float, float]:
    """Call and cast to an oslo.messaging server that does nothing."""
    transport = get_rpc_transport(messaging_conf(settings.url, quorum=settings.replicated))
    target = Target(exchange=settings.name, topic=TOPIC, server=settings.host)
    client = get_rpc_client(
        transport, target, transport_options=TransportOptions(at_least_once=True), timeout=10
    )
    words = (settings.url, settings.name, settings.host)
    with started("tests.bench.echo", *words, output=folder / "echo") as echo:
        _wait_for_echo(client)
        first = echo.cpu()
        call = _series(count, lambda: client.call({}, "echo", said="hello"))
        between = echo.cpu()
        cast = _series(count, lambda: client.cast({}, "echo", said="hello"))
        # Whoever is called has heard all that was cast before.
        client.call({}, "echo", said="done?")
        last = echo.cpu()
    transport.cleanup()
    figures = [
        milliseconds("bare oslo.messaging call", call),
        milliseconds("bare oslo.messaging cast, sent", cast),
    ]
    made = (count + WARMING) / 1000
    return figures, (between - first) / made, (last - between) / made


def _updates(settings: BusSettings, count: int) -> float:
    """Publish to a queue as updates are: durable, mandatory, each confirmed."""
    with connection_to(settings, "bare") as connection:
        channel = connection.channel()
        queue = retained_updates(settings)(channel)
        queue.declare()
        producer = Producer(channel, exchange=queue.exchange, routing_key=queue.routing_key)
        begun = time.process_time()
        _series(count, lambda: producer.publish({"said": "x" * 1000}, mandatory=True))
        return (time.process_time() - begun) * 1000 / (count + WARMING)


def _disk(folder: Path, count: int) -> tuple[Figure, float]:
    """Commit one row at a time, synced, as the journal does."""
    connection = sqlite3.connect(folder / "bare.sqlite", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE bare (id INTEGER PRIMARY KEY, what TEXT)")
    begun = time.process_time()
    commits = _series(count, lambda: connection.execute("INSERT INTO bare (what) VALUES ('x')"))
    spent = (time.process_time() - begun) * 1000 / (count + WARMING)
    connection.close()
    return milliseconds("bare synced SQLite commit", commits), spent


def _wait_for_echo(client: Any) -> None:  # noqa: ANN401 - oslo.messaging has no types
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            client.call({}, "echo", said="there?")
        except MessageUndeliverable:
            assert time.monotonic() < deadline, "no echo"
            time.sleep(0.1)
        else:
            return


def _series(count: int, work: Callable[[], object]) -> list[float]:
    for _ in range(WARMING):
        work()
    return [_spent(work) for _ in range(count)]


def _spent(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
