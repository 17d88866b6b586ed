"""The main job on real services: RabbitMQ's quorum queues, PostgreSQL or MariaDB, a real guest."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import database_servers, guests
from tests.database_servers import Mariadb, Postgresql, Server
from tests.processes import configure
from tests.rig import Rig, running
from tests.services_rabbitmq import RabbitMQ, private_rabbitmq
from worker.errors import WorkerError
from worker.model.ids import new_uuid
from worker.persistence import migrate
from worker.persistence.engine import make_engine

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def rabbitmq() -> Iterator[RabbitMQ]:
    with private_rabbitmq() as broker:
        yield broker


@pytest.fixture(scope="module", params=[Postgresql, Mariadb], ids=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with database_servers.running(request.param) as found:
        yield found


@pytest.fixture
def url(server: Server) -> str:
    """A database of the test's own, its schema made as an operator would."""
    found = server.new_database()
    engine = make_engine(found)
    migrate.upgrade(engine)
    engine.dispose()
    return found


@pytest.fixture
def rig(rabbitmq: RabbitMQ, url: str, libvirtd: str, tmp_path: Path) -> Iterator[Rig]:
    host = f"host-{new_uuid()[:8]}"
    with running(
        tmp_path / host, libvirtd, bus=rabbitmq.url, host=host, database__connection=url
    ) as found:
        yield found


def test_a_volume_comes_and_goes(rig: Rig, libvirtd: str, tmp_path: Path) -> None:
    with guests.guest_maker(libvirtd, guests.cached_guest_image(), tmp_path) as make_guest:
        guest = make_guest()
        assert rig.call("adopt_instance", domain=guest.uuid)["vm_state"] == "active"
        row = rig.attach(guest.uuid, rig.volume(), disk_bus="scsi")
        seen = guest.console.wait_for(lambda disks: "sda" in disks, 20)["sda"]
        assert seen.serial == row["volume_id"]
        assert rig.detach(row)["state"] == "succeeded"
        guest.wait_for_no_disk("sda")
        rig.wait_for_event("instance.volume_detach.end")
        told = [update["payload"]["sequence"] for update in rig.updates]
        assert told == sorted(told)
        assert rig.call("get_volume", volume_id=row["volume_id"])["status"] == "available"


def test_a_second_worker_for_the_host_is_refused(
    rig: Rig, rabbitmq: RabbitMQ, url: str, libvirtd: str, tmp_path: Path
) -> None:
    second = configure(tmp_path / "elsewhere", libvirtd, host=rig.host, transport_url=rabbitmq.url)
    with second.config.open("a") as config:
        config.write(f"\n[database]\nconnection = {url.replace('%', '%%')}\n")
    done = second.command("serve")
    assert done.returncode == 1, done.stderr
    assert "worker.lease_held" in done.stderr


def test_what_no_worker_hears_is_said_at_once(rig: Rig) -> None:
    with pytest.raises(WorkerError) as caught:
        rig.client.call("nobody", "list_instances")
    assert caught.value.code == "worker.unreachable"
