"""The API over RabbitMQ, beside the same calls made directly, in the same run.

The API is a process of its own, asked over HTTP on loopback by clients that keep their connection.
The volumes are the built-in pool's, in the database that worker and API share. What an attach costs
without the API is what the API asks for it: a reservation, an attachment, an accepted operation. To
list volumes it asks nobody, so that all of that time is its own.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import crowd
from tests.bench.asking import Caller, wait_until_it_answers
from tests.bench.cycles import Ends, timed
from tests.bench.figures import Figure, milliseconds, percentile, single
from tests.bench.instant import INSTANCES
from tests.bench.many_volumes import VOLUMES, write_server_with_volumes
from tests.bench.ways import Direct, OverHttp, Pair
from tests.bench.worker import started, wait_until_it_serves, worker
from tests.processes import blockworker
from tests.services_rabbitmq import free_ports
from worker import conf as options
from worker import wiring
from worker.model.ids import InstanceId, VolumeId, new_uuid
from worker.persistence.repositories import Repositories
from worker.rpc.bus import BusSettings
from worker.rpc.client import Client
from worker.wiring.core import SystemClock
from worker.wiring.volumes import make_volume_service

WARMING = 5
SIDE_BY_SIDE = 4
LISTS = 5
"""Lists for each attach: they are quick."""

ATTACH = "instance.volume_attach.end"
DETACH = "instance.volume_detach.end"


@dataclass(kw_only=True)
class Times:
    """Seconds that each request took until it was answered."""

    attach: list[float] = field(default_factory=list)
    detach: list[float] = field(default_factory=list)
    elapsed: float = 0.0

    @property
    def rate(self) -> float:
        """Cycles of both in a second."""
        return len(self.detach) / self.elapsed


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """All that runs while the bench measures."""

    direct: Direct
    ends: Ends
    pairs: tuple[Pair, ...]
    listed: InstanceId
    open_caller: Callable[[], Caller]

    def cycle(self, way: Direct | OverHttp, pair: Pair, times: Times) -> None:
        """Attach and detach, each waited for after it was answered."""
        self.ends.wait(timed(times.attach, lambda: way.attach(pair)), ATTACH)
        self.ends.wait(timed(times.detach, lambda: way.detach(pair)), DETACH)


def measure(settings: BusSettings, folder: Path, cycles: int) -> list[Figure]:
    """Measure lists and attaches one by one, by turns with the direct ones, then side by side."""
    with _stage(settings, folder) as stage:
        return [*_lists(stage, LISTS * cycles), *_attaches(stage, cycles)]


@contextmanager
def _stage(settings: BusSettings, folder: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        client = stack.enter_context(Client(settings.url, name=settings.name))
        stack.enter_context(worker(settings, folder, 0, "--pool"))
        wait_until_it_serves(client, settings.host)
        config = folder / "blockworker.conf"
        conf = options.load([config])
        repositories = Repositories(wiring.make_database(conf), settings.host, SystemClock())
        ends = Ends(stack.enter_context(client.updates()))
        stack.callback(ends.stop)
        attachments = make_volume_service(conf, repositories, dict).attachments
        yield Stage(
            direct=Direct(client=client, host=settings.host, attachments=attachments),
            ends=ends,
            pairs=tuple(_pair(client, settings.host, number) for number in range(INSTANCES)),
            listed=write_server_with_volumes(repositories, settings.host, INSTANCES),
            open_caller=stack.enter_context(_api(config)),
        )


def _pair(client: Client, host: str, number: int) -> Pair:
    volume = VolumeId(new_uuid())
    client.adopt_instance(host, domain=f"guest-{number}")
    made = client.create_volume(host, volume_id=volume, size=crowd.GIB)
    assert client.wait_for(host, made)["state"] == "succeeded"
    return Pair(server=crowd.instance(number), volume=volume)


@contextmanager
def _api(config: Path) -> Iterator[Callable[[], Caller]]:
    """Run the API as a process; lend what opens a connection to it, with a token of its file."""
    (port,) = free_ports(1)
    own = config.with_name("api.conf")
    own.write_text(f"[api]\nlisten = 127.0.0.1:{port}\n")
    words = ("--config-file", config, "--config-file", own)
    made = blockworker("api", "token", "add", "bench", "--role", "admin", *words)
    assert made.returncode == 0, made.stderr
    token = made.stdout.strip()
    output = config.with_name("api.log")
    with started("worker", "api", *words, output=output), ExitStack() as stack:

        def open_caller() -> Caller:
            caller = Caller(port=port, token=token)
            stack.callback(caller.close)
            return caller

        wait_until_it_answers(open_caller)
        yield open_caller


def _lists(stage: Stage, count: int) -> list[Figure]:
    direct: list[float] = []
    http: list[float] = []
    caller = stage.open_caller()
    url = f"/v2.1/servers/{stage.listed}/os-volume_attachments"

    def over_http() -> None:
        assert len(caller.ask("GET", url)["volumeAttachments"]) == VOLUMES

    def directly() -> None:
        found = stage.direct.client.list_block_devices(
            stage.direct.host, instance_uuid=stage.listed
        )
        assert len(found) == VOLUMES

    for _ in range(count + WARMING):
        timed(direct, directly)
        timed(http, over_http)
    return [
        milliseconds(f"list {VOLUMES} volumes directly (list_block_devices)", direct[WARMING:]),
        milliseconds(f"list {VOLUMES} volumes over HTTP, all of it", http[WARMING:], most=3),
        single("lists a second over HTTP, one by one", count / sum(http[WARMING:]), "1/s"),
        single(f"lists a second, {SIDE_BY_SIDE} clients", _rate(stage, url, count), "1/s"),
    ]


def _rate(stage: Stage, url: str, count: int) -> float:
    callers = [stage.open_caller() for _ in range(SIDE_BY_SIDE)]
    begun = time.perf_counter()
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        list(pool.map(lambda each: [each.ask("GET", url) for _ in range(count)], callers))
    return SIDE_BY_SIDE * count / (time.perf_counter() - begun)


def _attaches(stage: Stage, cycles: int) -> list[Figure]:
    direct, http = Times(), Times()
    over_http = OverHttp(caller=stage.open_caller())
    for _ in range(cycles + WARMING):
        stage.cycle(stage.direct, stage.pairs[0], direct)
        stage.cycle(over_http, stage.pairs[0], http)
    return [
        *_compared("attach, accepted", direct.attach[WARMING:], http.attach[WARMING:]),
        *_compared("detach, accepted", direct.detach[WARMING:], http.detach[WARMING:]),
        *_side_by_side(stage, cycles // len(stage.pairs)),
    ]


def _compared(what: str, direct: list[float], http: list[float]) -> list[Figure]:
    own = (percentile(http, 50) - percentile(direct, 50)) * 1000
    return [
        milliseconds(f"{what}, directly", direct),
        milliseconds(f"{what}, over HTTP", http),
        single(f"{what}, the API's own part of the p50", own, "ms", most=5),
    ]


def _side_by_side(stage: Stage, cycles: int) -> list[Figure]:
    many = f"{len(stage.pairs)} in flight"
    direct = _together(stage, cycles, lambda: stage.direct)
    http = _together(stage, cycles, lambda: OverHttp(caller=stage.open_caller()))
    return [
        single(f"attach and detach a second, directly, {many}", direct.rate, "1/s"),
        single(f"attach and detach a second, over HTTP, {many}", http.rate, "1/s"),
        milliseconds(f"attach, accepted, over HTTP, {many}", http.attach),
    ]


def _together(stage: Stage, cycles: int, way: Callable[[], Direct | OverHttp]) -> Times:
    times = Times()

    def run(pair: Pair) -> None:
        mine = way()
        for _ in range(cycles):
            stage.cycle(mine, pair, times)

    begun = time.perf_counter()
    with ThreadPoolExecutor(len(stage.pairs)) as pool:
        list(pool.map(run, stage.pairs))
    times.elapsed = time.perf_counter() - begun
    return times
