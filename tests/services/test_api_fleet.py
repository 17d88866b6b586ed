"""The API before two workers, as processes over RabbitMQ and PostgreSQL; each killed under it."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Barrier
from typing import Any

import pytest
import requests
from sqlalchemy import select

from tests import database_servers
from tests.database_servers import Postgresql
from tests.functional.builders import SEEN
from tests.functional.rescues import OWN, RESCUE, make_two_images
from tests.guests import guest_maker, processes_of, remove_guests
from tests.processes import SOON
from tests.services.fleet_site import (
    Shared,
    Site,
    api_of,
    clients_of,
    give_to_project,
    until,
    worker_of,
)
from tests.services_rabbitmq import private_rabbitmq
from worker.cmd.demo.guest_image import GuestImage
from worker.persistence import migrate
from worker.persistence.engine import make_engine
from worker.persistence.schema import BLOCK_DEVICES

pytestmark = pytest.mark.timeout(400)

NEWER = "2.96"
HOSTS = ("host-a", "host-b")


@pytest.fixture(scope="module")
def shared() -> Iterator[Shared]:
    """The options that all processes share: broker and database, with its schema."""
    with private_rabbitmq() as broker, database_servers.running(Postgresql) as server:
        url = server.new_database()
        engine = make_engine(url)
        migrate.upgrade(engine)
        engine.dispose()
        yield Shared(broker=broker.url, database=url)


@pytest.fixture(scope="module")
def site(
    shared: Shared, libvirtd: str, guest_image: GuestImage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("fleet")
    make_two_images(folder / "images")
    with ExitStack() as stack:
        maker = stack.enter_context(guest_maker(libvirtd, guest_image, folder))
        workers = {
            host: stack.enter_context(worker_of(host, folder, libvirtd, shared)) for host in HOSTS
        }
        servers = {host: maker() for host in HOSTS}
        for host, guest in servers.items():
            workers[host].client.call("adopt_instance", domain=guest.name)
        give_to_project(shared)
        api = stack.enter_context(api_of(folder, shared))
        clients = stack.enter_context(clients_of(api))
        connection = stack.enter_context(clients.sdk())
        yield Site(
            workers=workers,
            api=api,
            clients=clients,
            compute=connection.compute,
            storage=connection.block_storage,
            folder=folder,
            servers=servers,
        )
        remove_guests(libvirtd, [path.name for path in folder.glob("instances/*")])


def test_servers_of_both_hosts_stand_in_one_list(site: Site) -> None:
    listed = site.clients.asked("server", "list", "--long")
    found = {each["Host"]: (each["ID"], each["Status"]) for each in listed}
    assert found == {host: (guest.uuid, "ACTIVE") for host, guest in site.servers.items()}


@pytest.mark.parametrize("host", HOSTS)
def test_a_volume_comes_and_goes_on_each_host(site: Site, host: str) -> None:
    guest, volume = site.servers[host], site.volume()
    site.clients.asked("server", "add", "volume", guest.uuid, volume)
    assert guest.console.wait_for(lambda disks: "vda" in disks, SOON)["vda"].serial == volume[:SEEN]
    assert site.volumes(guest.uuid) == [volume]
    site.clients.openstack("server", "remove", "volume", guest.uuid, volume)
    until(lambda: site.volumes(guest.uuid), [])
    guest.wait_for_no_disk("vda")


def test_a_server_lands_on_a_live_host_and_is_rescued(site: Site) -> None:
    openstack = site.clients
    flavor = min(openstack.asked("flavor", "list"), key=lambda each: int(each["RAM"]))["Name"]
    words = ("--flavor", flavor, "--image", "root", "--nic", "none", "patient")
    server = str(openstack.asked("server", "create", *words, compute=NEWER)["id"])
    until(lambda: site.status(server), "ACTIVE")
    patient = site.patient(server)
    patient.report(OWN, 1)
    before = patient.disks()

    patient.forget_what_was_said()
    openstack.openstack("server", "rescue", "--image", "virtio-disk", "patient")
    patient.report(RESCUE, 2)
    assert site.status(server) == "RESCUE"
    openstack.openstack("server", "unrescue", "patient")
    until(lambda: site.status(server), "ACTIVE")
    assert patient.disks() == before

    openstack.openstack("server", "delete", "patient")
    until(lambda: server in [each.id for each in site.compute.servers()], wanted=False)
    assert processes_of(server) == []


def test_an_attach_whose_worker_is_killed_comes_to_its_end(site: Site) -> None:
    guest, worker, volume = site.servers["host-a"], site.workers["host-a"], site.volume()
    site.compute.create_volume_attachment(guest.uuid, volume)
    worker.kill()
    worker.start()
    until(lambda: last_action(site.compute, guest.uuid), ("attach_volume", ["Success"]))
    assert site.volumes(guest.uuid) == [volume]
    guest.wait_for_disk("vda")
    site.compute.delete_volume_attachment(guest.uuid, volume, ignore_missing=False)
    until(lambda: site.volumes(guest.uuid), [])
    guest.wait_for_no_disk("vda")


def test_an_api_that_is_killed_between_requests_is_not_missed(site: Site) -> None:
    guest, volume = site.servers["host-b"], site.volume()
    site.compute.create_volume_attachment(guest.uuid, volume)
    site.api.kill()
    guest.wait_for_disk("vda")
    site.api.start()
    assert site.volumes(guest.uuid) == [volume]
    site.compute.delete_volume_attachment(guest.uuid, volume, ignore_missing=False)
    until(lambda: site.volumes(guest.uuid), [])
    guest.wait_for_no_disk("vda")


def test_of_200_requests_to_two_apis_for_one_volume_one_wins(site: Site, shared: Shared) -> None:
    volume, guests = site.volume(), [guest.uuid for guest in site.servers.values()]
    wanted = {"volumeAttachment": {"volumeId": volume}}
    with api_of(site.folder, shared, site.api.tokens) as other, ThreadPoolExecutor(200) as pool:
        both, token = (site.api.url, other.url), {"X-Auth-Token": str(site.clients.token)}
        asked = [attachments(api, guest) for api in both for guest in guests] * 50
        together = Barrier(len(asked))

        def ask(url: str) -> int:
            together.wait()
            return requests.post(url, json=wanted, headers=token, timeout=SOON).status_code

        said = Counter(pool.map(ask, asked))
    assert (said[200], said[400] + said[409]) == (1, 199), said

    (winner,) = [guest for guest in guests if site.volumes(guest)]
    until(lambda: holders(site, volume), [winner])
    assert rows_of(shared, volume) == [winner]
    site.compute.delete_volume_attachment(winner, volume, ignore_missing=False)
    until(lambda: rows_of(shared, volume), [])


def attachments(api: str, server: str) -> str:
    return f"{api}/v2.1/servers/{server}/os-volume_attachments"


def holders(site: Site, volume: str) -> list[str]:
    return [each["server_id"] for each in site.storage.get_volume(volume).attachments]


def rows_of(shared: Shared, volume: str) -> list[str]:
    """Return the servers that have a row of the volume, in whichever state."""
    engine, rows = make_engine(shared.database), BLOCK_DEVICES.c
    with engine.connect() as connection:
        found = connection.scalars(
            select(rows.instance_uuid).where(rows.volume_id == volume, rows.deleted == 0)
        ).all()
    engine.dispose()
    return list(found)


def last_action(compute: Any, server: str) -> tuple[str, list[str]]:  # noqa: ANN401
    """Return the newest action on the server, and how its first event has ended."""
    newest = next(iter(compute.server_actions(server)))
    shown = compute.get_server_action(newest.request_id, server)
    return shown.action, [event.result for event in shown.events[:1]]
