"""The watchdog on a real broker: it stops for one that swallows, and for nothing that is away."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests import database_servers
from tests.database_servers import Postgresql
from tests.health_client import health, health_when
from tests.notified import Manager, manager
from tests.processes import Served, configure
from tests.services.swallowing import Swallowing, swallowing
from tests.services_rabbitmq import RabbitMQ, private_rabbitmq
from worker.model.ids import new_uuid
from worker.rpc.bus import BusSettings
from worker.rpc.client import Client
from worker.rpc.link import opened
from worker.rpc.topology import operations_queue

pytestmark = pytest.mark.timeout(240)

WATCHDOG = 1.0


@pytest.fixture(scope="module")
def rabbitmq() -> Iterator[RabbitMQ]:
    with private_rabbitmq() as broker:
        yield broker


@pytest.fixture
def proxy(rabbitmq: RabbitMQ) -> Iterator[Swallowing]:
    port = urlsplit(rabbitmq.url).port
    assert port is not None
    with swallowing(port) as found:
        yield found


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Manager]:
    with manager(tmp_path) as found:
        yield found


@pytest.fixture
def host() -> str:
    return f"host-{new_uuid()[:8]}"


@pytest.fixture
def served(
    proxy: Swallowing, listening: Manager, host: str, libvirtd: str, tmp_path: Path
) -> Iterator[Served]:
    found = configure(
        tmp_path / "state",
        libvirtd,
        host=host,
        transport_url=f"rabbit://guest:guest@127.0.0.1:{proxy.port}/",
    )
    with found.config.open("a") as config:
        config.write("\n[health]\ninterval = 0.5\n")
    found.environment = listening.environment(WATCHDOG)
    found.start()
    yield found
    if found.process is not None and found.process.poll() is None:
        found.kill()


def test_a_database_that_hangs_looks_like_a_dead_intake_and_is_no_reason(
    rabbitmq: RabbitMQ, listening: Manager, host: str, libvirtd: str, tmp_path: Path
) -> None:
    served = configure(tmp_path / "state", libvirtd, host=host, transport_url=rabbitmq.url)
    served.environment = listening.environment(WATCHDOG)
    with database_servers.running(Postgresql) as server, Client(rabbitmq.url) as client:
        with served.config.open("a") as config:
            config.write(
                f"\n[health]\ninterval = 1\n[database]\nconnection = {server.new_database()}\n"
            )
        assert served.command("db", "upgrade").returncode == 0
        served.start()
        try:
            health_when(served.state, broker_is_well)
            client.ping(host)
            server.freeze()
            operation = client.cast(host, "delete_volume", volume_id=new_uuid())
            health_when(served.state, lambda found: not found["parts"]["database"]["ok"])
            for _ in range(20):
                listening.wait_for("WATCHDOG", 10 * WATCHDOG)
            server.thaw()
            assert client.wait_for(host, operation, seconds=60)["state"]
            health_when(served.state, broker_is_well)
            assert not [told for told in listening.heard if "not fed" in told.get("STATUS", "")]
        finally:
            server.thaw()
            served.kill()


def broker_is_well(found: dict[str, dict[str, dict[str, object]]]) -> bool:
    return bool(found["parts"]["broker"]["ok"] and found["parts"]["broker"]["milliseconds"])


def test_a_broker_that_swallows_is_found_out_and_the_watchdog_starves(
    served: Served, proxy: Swallowing, listening: Manager
) -> None:
    health_when(served.state, broker_is_well)
    listening.wait_for("WATCHDOG")
    proxy.swallows.set()
    while "did not come back" not in listening.wait_for("STATUS")["STATUS"]:
        pass
    assert listening.silent_for("WATCHDOG", 4 * WATCHDOG)
    status, told = health(served.state)
    assert (status, told["parts"]["database"]["ok"]) == (503, True)
    assert "to oneself" in told["parts"]["broker"]["why"]
    assert proxy.swallowed > 0
    assert "CRITICAL" in served.log()


def test_a_broker_that_is_away_is_told_and_no_reason(
    served: Served, rabbitmq: RabbitMQ, listening: Manager
) -> None:
    health_when(served.state, broker_is_well)
    rabbitmq.stop()
    try:
        gone = health_when(served.state, lambda found: not found["parts"]["broker"]["ok"])
        assert "not connected" in gone["parts"]["broker"]["why"]
        for _ in range(8):
            listening.wait_for("WATCHDOG", 10 * WATCHDOG)
    finally:
        rabbitmq.start()
    health_when(served.state, broker_is_well)
    for _ in range(8):
        listening.wait_for("WATCHDOG", 10 * WATCHDOG)
    assert not [told for told in listening.heard if "not fed" in told.get("STATUS", "")]


def test_messages_to_oneself_leave_nothing_behind(
    served: Served, rabbitmq: RabbitMQ, host: str
) -> None:
    trips: set[float] = set()
    while len(trips) < 5:
        trips.add(health_when(served.state, broker_is_well)["parts"]["broker"]["milliseconds"])
    assert served.told("dead-letter", "list") == []
    assert served.told("operation", "list") == []
    assert served.stop() == 0
    settings = BusSettings(url=rabbitmq.url, host=host)
    with opened(settings, "test") as connection:
        queue = operations_queue(settings)(connection.channel())
        # The last one may have been on its way.
        assert queue.queue_declare(passive=True).message_count <= 1
    checked = served.command("config", "check", "--connect")
    assert checked.returncode == 0, checked.stdout
