"""How a worker of a host with many instances starts, and what it takes to list and upgrade them."""

import json
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench import crowd
from tests.bench.figures import Figure, milliseconds, single
from tests.bench.worker import PATIENCE, wait_until_it_serves, worker
from tests.processes import blockworker
from worker import conf as options
from worker import wiring
from worker.persistence import migrate
from worker.persistence.repositories import Repositories
from worker.rpc.bus import BusSettings
from worker.rpc.client import Client
from worker.wiring.core import SystemClock

ASKED = 1000
CALLS = 20
COMMANDS = 5
LOOK = 0.05

ALL_STOPPED = "UPDATE instances SET vm_state = 'stopped'"
STOPPED = "SELECT count(*) FROM instances WHERE vm_state = 'stopped'"
UNMARKED = "UPDATE block_device_mapping SET uuid = NULL, alias = NULL, serial = NULL"
EMPTY = "SELECT count(*) FROM block_device_mapping WHERE uuid IS NULL"


class Host:
    """A worker's state folder on a bus, and its database as another program sees it."""

    def __init__(self, settings: BusSettings, folder: Path, count: int) -> None:
        """Write the rows of so many instances, as builds would have left them."""
        self.settings = settings
        self.folder = folder
        self.count = count
        self._database = folder / "blockworker.sqlite"
        folder.mkdir(parents=True)
        database = wiring.make_database(options.load(state_path=str(folder)))
        migrate.upgrade(database.engine)
        written = Repositories(database, settings.host, SystemClock()).for_call()
        for number in range(count):
            written.instances.insert(crowd.record(number, settings.host), crowd.rows(number))
        database.engine.dispose()

    def started(self, client: Client, then: Callable[[float], object]) -> tuple[float, float]:
        """Start a worker; return the seconds until it served, and of its CPU.

        While it serves ``then`` is called with the time of its start.
        """
        begun = time.perf_counter()
        with worker(self.settings, self.folder, self.count) as process:
            wait_until_it_serves(client, self.settings.host)
            served, cpu = time.perf_counter() - begun, process.cpu()
            then(begun)
        return served, cpu

    def command(self, *words: str) -> tuple[str, float]:
        """Run a command; return what it printed for programs, and the seconds that it took."""
        begun = time.perf_counter()
        config = self.folder / "blockworker.conf"
        done = blockworker(*words, "--json", "--config-file", config)
        assert done.returncode == 0, done.stderr
        return done.stdout, time.perf_counter() - begun

    def change(self, statement: str) -> None:
        with sqlite3.connect(self._database) as connection:
            connection.execute(statement)
        connection.close()

    def count_of(self, query: str) -> int:
        connection = sqlite3.connect(f"file:{self._database}?mode=ro", uri=True)
        try:
            return int(connection.execute(query).fetchone()[0])
        finally:
            connection.close()

    def wait_for_none(self, query: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while (left := self.count_of(query)) and time.monotonic() < deadline:
            time.sleep(LOOK)
        assert not left, f"{left} are left: {query}"


def measure(settings: BusSettings, folder: Path, count: int) -> list[Figure]:
    """Measure a start, a listing, a start after a boot of the host, and two upgrades."""
    host = Host(settings, folder, count)
    many = f"{count} instances of {crowd.DISKS} disks"
    with Client(settings.url, name=settings.name) as client:
        return [
            *_start_and_list(host, client, many),
            *_start_after_changes(host, client, many),
            *_start_on_old_rows(host, client, many),
            *_populate(host),
        ]


def _start_and_list(host: Host, client: Client, many: str) -> list[Figure]:
    calls: list[float] = []
    commands: list[float] = []

    def list_them(_begun: float) -> None:
        for _ in range(CALLS):
            begun = time.perf_counter()
            assert len(client.call(host.settings.host, "list_instances")) == host.count
            calls.append(time.perf_counter() - begun)
        for _ in range(COMMANDS):
            printed, spent = host.command("instance", "list")
            assert len(json.loads(printed)) == host.count
            commands.append(spent)

    served, cpu = host.started(client, list_them)
    return [
        single(f"from start to serving, {many}", served, "s", most=_asked(host)),
        single("worker's CPU until then", cpu, "s"),
        milliseconds("list_instances over the bus", calls),
        milliseconds("instance list, the command's process", commands),
    ]


def _start_after_changes(host: Host, client: Client, many: str) -> list[Figure]:
    """Every guest's power changed while there was no worker: each has an operation of its own."""
    settled: list[float] = []

    def wait(begun: float) -> None:
        host.wait_for_none(STOPPED)
        settled.append(time.perf_counter() - begun)

    host.change(ALL_STOPPED)
    served, _ = host.started(client, wait)
    return [
        single(f"from start to serving, {many}, each changed", served, "s", most=_asked(host)),
        single("from start to all changes followed, in the lanes", settled[0], "s"),
    ]


def _start_on_old_rows(host: Host, client: Client, many: str) -> list[Figure]:
    """The rows are an older release's: whoever reads one first gives it its uuid."""
    settled: list[float] = []

    def wait(begun: float) -> None:
        host.wait_for_none(EMPTY)
        settled.append(time.perf_counter() - begun)

    host.change(UNMARKED)
    served, _ = host.started(client, wait)
    return [
        single(f"from start to serving, {many}, none a uuid", served, "s", most=_asked(host)),
        single("from start to all have a uuid, by looks", settled[0], "s"),
    ]


def _populate(host: Host) -> list[Figure]:
    host.change(UNMARKED)
    printed, spent = host.command("db", "populate-uuids")
    said = json.loads(printed)
    assert (said["done"], said["left"]) == (host.count * crowd.DISKS, 0), said
    return [single(f"db populate-uuids, {said['done']} rows, its process", spent, "s")]


def _asked(host: Host) -> float | None:
    return 10.0 if host.count >= ASKED else None
