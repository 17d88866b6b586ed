"""What the in-process bus costs while nothing is sent on it."""

import time

from tests.bench.figures import Figure
from tests.bus_worker import BusWorker, fresh_name
from worker.rpc.bus import BusSettings

SECOND = 1.0


def measure(seconds: int) -> list[Figure]:
    """Sleep beside a worker's bus for so many seconds, and count this process's CPU."""
    settings = BusSettings(url="kombu+memory://localhost/", host="bench", name=fresh_name())
    with BusWorker(settings) as worker, worker.client() as client:
        client.ping("bench")
        spent = sorted(_spent() for _ in range(seconds))
    return [
        Figure(
            name="idle in-process bus, CPU a second",
            unit="ms",
            p50=spent[len(spent) // 2] * 1000,
            p99=spent[-1] * 1000,
            samples=seconds,
        )
    ]


def _spent() -> float:
    before = time.process_time()
    time.sleep(SECOND)
    return time.process_time() - before
