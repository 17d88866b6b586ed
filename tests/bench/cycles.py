"""Reserve, attach and detach over RabbitMQ, beside a world that answers at once."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

from tests.bench import crowd, instant
from tests.bench.figures import Figure, milliseconds, single
from tests.bench.worker import Process, wait_until_it_serves, worker
from worker.rpc.bus import BusSettings
from worker.rpc.client import Client, Json
from worker.rpc.hearing import Hearing

ResultT = TypeVar("ResultT")

IN_FLIGHT = instant.INSTANCES
SOON = 60.0
WARMING = 5


@dataclass(kw_only=True)
class Times:
    """Seconds that each took, and that all took together."""

    reserve: list[float] = field(default_factory=list)
    attach: list[float] = field(default_factory=list)
    detach: list[float] = field(default_factory=list)
    elapsed: float = 0.0
    cpu: float = 0.0
    kernel: float = 0.0

    def figures(self, how: str, *, reserve: float | None, attach: float | None) -> list[Figure]:
        return [
            milliseconds(f"reserve, {how}", self.reserve, most=reserve),
            milliseconds(f"attach, cast to end heard, {how}", self.attach, most=attach),
            milliseconds(f"detach, cast to end heard, {how}", self.detach),
        ]


class Ends:
    """Hears the end of operations, on a thread of its own."""

    def __init__(self, hearing: Hearing) -> None:
        self._hearing = hearing
        self._ends: dict[str, SimpleQueue[str]] = defaultdict(SimpleQueue)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def wait(self, operation: str, event: str) -> None:
        """Return when the end of the operation is heard, which is to be that event."""
        heard = self._ends[operation].get(timeout=SOON)
        assert heard == event, heard
        del self._ends[operation]

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _listen(self) -> None:
        while not self._stopping.is_set():
            update = self._hearing.wait(0.2)
            if update is not None and update["event_type"].endswith((".end", ".error")):
                self._ends[update["payload"]["operation_id"]].put(update["event_type"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """What an API tier does: it asks, and waits until it hears of the end."""

    client: Client
    host: str
    ends: Ends

    def adopt(self) -> None:
        for number in range(instant.INSTANCES):
            self.client.adopt_instance(self.host, domain=f"guest-{number}")

    def cycles(self, number: int, count: int, times: Times) -> None:
        for _ in range(count):
            self._cycle(crowd.instance(number), instant.volume(number), times)

    def _cycle(self, guest: str, volume: str, times: Times) -> None:
        row = timed(times.reserve, lambda: self._reserve(guest, volume))
        timed(times.attach, lambda: self._attach(row))
        timed(times.detach, lambda: self._detach(row))

    def _reserve(self, guest: str, volume: str) -> Json:
        return self.client.reserve_block_device_name(
            self.host, instance_uuid=guest, volume_id=volume
        )

    def _attach(self, row: Json) -> None:
        operation = self.client.attach_volume(
            self.host, instance_uuid=row["instance_uuid"], bdm_uuid=row["uuid"]
        )
        self.ends.wait(operation, "instance.volume_attach.end")

    def _detach(self, row: Json) -> None:
        operation = self.client.detach_volume(
            self.host,
            instance_uuid=row["instance_uuid"],
            volume_id=row["volume_id"],
            bdm_uuid=row["uuid"],
        )
        self.ends.wait(operation, "instance.volume_detach.end")


def measure(settings: BusSettings, folder: Path, cycles: int, bare_call: float) -> list[Figure]:
    """Run so many cycles one after another, and so many with 8 instances at a time.

    ``bare_call`` is the p50 of a call without us, in ms.
    """
    client = Client(settings.url, name=settings.name)
    begun = time.perf_counter()
    with client, worker(settings, folder) as process:
        wait_until_it_serves(client, settings.host)
        served = time.perf_counter() - begun
        with client.updates() as hearing:
            tier = Tier(client=client, host=settings.host, ends=Ends(hearing))
            try:
                figures = _measured(tier, process, cycles, bare_call)
            finally:
                tier.ends.stop()
    return [single("from start to serving, new folder", served, "s", most=2.0), *figures]


def _measured(tier: Tier, process: Process, cycles: int, bare_call: float) -> list[Figure]:
    tier.adopt()
    tier.cycles(0, WARMING, Times())
    alone = _run(process, lambda times: tier.cycles(0, cycles, times))
    together = _run(process, lambda times: _side_by_side(tier, cycles // IN_FLIGHT, times))
    now, peak = process.memory()
    many = f"{IN_FLIGHT} in flight"
    return [
        single("cycles a second, one by one", cycles / alone.elapsed, "1/s"),
        single(f"cycles a second, {many}", _rate(together), "1/s", least=80),
        single("worker's CPU a cycle, one by one", _cpu(alone), "ms", most=8),
        single(f"worker's CPU a cycle, {many}", _cpu(together), "ms", most=8),
        single("of it in the kernel, one by one", _per_cycle(alone.kernel, alone), "ms"),
        single(f"of it in the kernel, {many}", _per_cycle(together.kernel, together), "ms"),
        *alone.figures("one by one", reserve=3 * bare_call, attach=10),
        *together.figures(many, reserve=None, attach=None),
        single("worker's memory after the cycles", now, "MiB", most=150),
        single("worker's memory, peak", peak, "MiB"),
    ]


def _run(process: Process, work: Callable[[Times], object]) -> Times:
    times = Times()
    before, begun = process.split(), time.perf_counter()
    work(times)
    times.elapsed = time.perf_counter() - begun
    after = process.split()
    times.cpu, times.kernel = sum(after) - sum(before), after[1] - before[1]
    return times


def _side_by_side(tier: Tier, cycles: int, times: Times) -> None:
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        running = [pool.submit(tier.cycles, number, cycles, times) for number in range(IN_FLIGHT)]
        for each in running:
            each.result()


def _rate(times: Times) -> float:
    return len(times.detach) / times.elapsed


def _cpu(times: Times) -> float:
    return _per_cycle(times.cpu, times)


def _per_cycle(seconds: float, times: Times) -> float:
    return seconds * 1000 / len(times.detach)


def timed(samples: list[float], work: Callable[[], ResultT]) -> ResultT:
    """Return what the work returns, and keep how long it took."""
    begun = time.perf_counter()
    result = work()
    samples.append(time.perf_counter() - begun)
    return result
