"""How long it takes until what was queued before the start is in the journal."""

import json
import sqlite3
import time
from pathlib import Path

from kombu.connection import Connection
from kombu.messaging import Producer

from tests.bench.figures import Figure, single
from tests.bench.worker import PATIENCE, worker
from worker.model.ids import new_uuid
from worker.rpc.bus import BusSettings
from worker.rpc.dead_letters import DeadLetters
from worker.rpc.topology import operations_queue

ASKED = 10_000
LOOK = 0.1


def measure(settings: BusSettings, folder: Path, count: int) -> list[Figure]:
    """Queue attaches of block devices that never were, each on an instance of its own.

    Each is kept like any other, begins, and ends as not found: they run while the others are
    still being taken.
    """
    _fill(settings, count)
    begun = time.perf_counter()
    with worker(settings, folder) as process:
        kept = _wait_for(folder / "blockworker.sqlite", "SELECT count(*) FROM operations", count)
        ended = "SELECT count(*) FROM operations WHERE ended_at IS NOT NULL"
        done = _wait_for(folder / "blockworker.sqlite", ended, count)
        cpu = process.cpu()
    most = 20.0 if count >= ASKED else None
    return [
        single(f"{count} queued, from start to all in the journal", kept - begun, "s", most=most),
        single(f"{count} queued, from start to all ended", done - begun, "s"),
        single("worker's CPU for each of them, its start included", cpu * 1000 / count, "ms"),
    ]


def _fill(settings: BusSettings, count: int) -> None:
    with Connection(settings.url.replace("rabbit", "amqp", 1)) as connection:
        DeadLetters(connection, settings)
        channel = connection.channel()
        queue = operations_queue(settings)(channel)
        queue.declare()
        producer = Producer(channel, exchange=queue.exchange, routing_key=queue.routing_key)
        for _ in range(count):
            producer.publish(_attach())
        while queue.queue_declare(passive=True).message_count < count:
            time.sleep(LOOK)


def _attach() -> dict[str, str]:
    message = {
        "method": "attach_volume",
        "args": {
            "operation_id": new_uuid(),
            "instance_uuid": new_uuid(),
            "bdm_uuid": new_uuid(),
        },
        "version": "1.0",
    }
    return {"oslo.version": "2.0", "oslo.message": json.dumps(message)}


def _wait_for(path: Path, query: str, count: int) -> float:
    """Return the time at which the query counted so many."""
    deadline = time.monotonic() + 5 * PATIENCE
    while time.monotonic() < deadline:
        if path.exists() and _counted(path, query) >= count:
            return time.perf_counter()
        time.sleep(LOOK)
    message = f"not all were kept: {_counted(path, query)} of {count}"
    raise AssertionError(message)


def _counted(path: Path, query: str) -> int:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return int(connection.execute(query).fetchone()[0])
    except sqlite3.OperationalError:
        return 0
    finally:
        connection.close()
