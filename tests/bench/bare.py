"""What lies below us, in the same run: the call, the cast and the synced commit, without us."""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from oslo_messaging import (
    MessageUndeliverable,
    Target,
    TransportOptions,
    get_rpc_client,
    get_rpc_transport,
)

from tests.bench.figures import Figure, milliseconds
from tests.bench.worker import PATIENCE, started
from worker.rpc.bus import BusSettings, messaging_conf

TOPIC = "echo"
WARMING = 20


def measure_bus(settings: BusSettings, folder: Path, count: int) -> list[Figure]:
    """Call and cast to an oslo.messaging server that does nothing; the call is the first."""
    transport = get_rpc_transport(messaging_conf(settings.url, quorum=settings.replicated))
    target = Target(exchange=settings.name, topic=TOPIC, server=settings.host)
    client = get_rpc_client(
        transport, target, transport_options=TransportOptions(at_least_once=True), timeout=10
    )
    words = (settings.url, settings.name, settings.host)
    with started("tests.bench.echo", *words, output=folder / "echo"):
        _wait_for_echo(client)
        call = _series(count, lambda: client.call({}, "echo", said="hello"))
        cast = _series(count, lambda: client.cast({}, "echo", said="hello"))
    transport.cleanup()
    return [
        milliseconds("bare oslo.messaging call", call),
        milliseconds("bare oslo.messaging cast, sent", cast),
    ]


def measure_disk(folder: Path, count: int) -> list[Figure]:
    """Commit one row at a time, synced, as the journal does."""
    connection = sqlite3.connect(folder / "bare.sqlite", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE bare (id INTEGER PRIMARY KEY, what TEXT)")
    commits = _series(count, lambda: connection.execute("INSERT INTO bare (what) VALUES ('x')"))
    connection.close()
    return [milliseconds("bare synced SQLite commit", commits)]


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
