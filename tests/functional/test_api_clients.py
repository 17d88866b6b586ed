"""`openstack`, openstacksdk and novaclient, unchanged, on a real guest that says what it sees."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.clients import Cloud, cloud
from tests.functional.builders import SEEN
from tests.functional.rescues import OWN, RESCUE, builder_of, make_two_images
from tests.functional.sites import Site, api_of, token_of, until
from tests.guests import processes_of
from worker.model.volume import GIB

pytestmark = pytest.mark.timeout(400)

Json = dict[str, Any]

NEWER = "2.96"
"""The newest microversion that every one of the clients speaks."""


@pytest.fixture(scope="module")
def site(libvirtd: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A worker, an API of it that wants a token, and one that does not."""
    folder: Path = tmp_path_factory.mktemp("clients")
    images = folder / "images"
    make_two_images(images)
    with ExitStack() as stack:
        builder = stack.enter_context(builder_of(images, libvirtd, folder))
        known = (builder, images, folder)
        closed = stack.enter_context(api_of(*known, auth="token"))
        opened = stack.enter_context(api_of(*known, auth="none"))
        token = token_of(builder, folder)
        clouds = {
            "closed": cloud(f"http://127.0.0.1:{closed.port}", folder / "closed", token),
            "open": cloud(f"http://127.0.0.1:{opened.port}", folder / "open"),
        }
        entered = {name: stack.enter_context(each) for name, each in clouds.items()}
        connection = stack.enter_context(entered["open"].sdk())
        yield Site(builder=builder, images=images, compute=connection.compute, **entered)


@pytest.fixture(scope="module")
def server(site: Site) -> str:
    """A server made by `openstack`; its guest runs."""
    (flavor, *_) = sorted(site.closed.asked("flavor", "list"), key=lambda each: each["RAM"])
    words = ("--flavor", flavor["Name"], "--image", "root", "--nic", "none", "patient")
    made: Json = site.closed.asked("server", "create", *words, compute=NEWER)
    until(lambda: site.status(made["id"]), "ACTIVE")
    assert set(site.serials(made["id"], OWN, 1)) == {"vda"}
    return str(made["id"])


GROWN = [(2, "in-use")]


def new_volume(clients: Cloud, name: str) -> str:
    made = clients.asked("volume", "create", "--size", "1", name)
    until(lambda: clients.asked("volume", "show", name)["status"], "available")
    return str(made["id"])


def test_a_volume_comes_and_goes_by_the_openstack_command(site: Site, server: str) -> None:
    openstack = site.closed
    volume = new_volume(openstack, "data")
    added = openstack.asked("server", "add", "volume", "patient", "data", compute=NEWER)
    assert (added["Volume ID"], added["Device"]) == (volume, "/dev/vdb")
    assert site.serials(server, OWN, 2)["vdb"] == volume[:SEEN]

    (listed,) = openstack.asked("server", "volume", "list", "patient", compute=NEWER)
    assert (listed["Volume ID"], listed["Device"]) == (volume, "/dev/vdb")
    assert listed["Attachment ID"]
    assert [each["id"] for each in shown_volumes(openstack, server)] == [volume]
    (seen,) = named(openstack, "data")
    assert (seen["ID"], seen["Status"]) == (volume, "in-use")
    assert [each["server_id"] for each in seen["Attached to"]] == [server]

    openstack.openstack("volume", "set", "--size", "2", "data")
    until(lambda: site.guest(server).sees(OWN, 2)["vdb"][2], 2 * GIB)
    until(lambda: [(one["Size"], one["Status"]) for one in named(openstack, "data")], GROWN)

    openstack.openstack("server", "remove", "volume", "patient", "data")
    until(lambda: site.volumes(server), [])
    assert set(site.serials(server, OWN, 1)) == {"vda"}
    openstack.openstack("volume", "delete", "data")
    until(lambda: named(openstack, "data"), [])


def named(clients: Cloud, name: str) -> list[Json]:
    return [each for each in clients.asked("volume", "list") if each["Name"] == name]


def shown_volumes(clients: Cloud, server: str) -> list[Json]:
    found: list[Json] = clients.asked("server", "show", server)["volumes_attached"]
    return found


def test_the_sdk_attaches_lists_changes_and_detaches(site: Site, server: str) -> None:
    with site.open.sdk() as connection:
        compute, storage = connection.compute, connection.block_storage
        volume = storage.create_volume(name="by-sdk", size=1)
        storage.wait_for_status(volume, "available", interval=0.2, wait=30)
        made = compute.create_volume_attachment(server, volume, delete_on_termination=False)
        assert (made.volume_id, made.device) == (volume.id, "/dev/vdb")
        assert site.serials(server, OWN, 2)["vdb"] == volume.id[:SEEN]
        (listed,) = compute.volume_attachments(server)
        assert (listed.volume_id, listed.device) == (volume.id, made.device)
        compute.update_volume_attachment(server, volume.id, delete_on_termination=True)
        until(
            lambda: compute.get_volume_attachment(server, volume.id).delete_on_termination,
            wanted=True,
        )
        compute.update_volume_attachment(server, volume.id, delete_on_termination=False)
        compute.delete_volume_attachment(server, volume, ignore_missing=False)
        until(lambda: list(compute.volume_attachments(server)), [])
        assert set(site.serials(server, OWN, 1)) == {"vda"}
        storage.wait_for_status(storage.get_volume(volume.id), "available", interval=0.2, wait=30)
        storage.delete_volume(volume)


@pytest.mark.parametrize("closed", [True, False], ids=["token", "none"])
def test_novaclient_attaches_lists_and_detaches(site: Site, server: str, *, closed: bool) -> None:
    clients = site.closed if closed else site.open
    nova = clients.novaclient(NEWER)
    volume = site.builder.rig.volume()
    made = nova.volumes.create_server_volume(server, volume)
    assert (made.volumeId, made.device) == (volume, "/dev/vdb")
    assert site.serials(server, OWN, 2)["vdb"] == volume[:SEEN]
    assert [each.volumeId for each in nova.volumes.get_server_volumes(server)] == [volume]
    assert volume in clients.nova("volume-attachments", server)
    clients.nova("volume-detach", server, volume)
    until(lambda: nova.volumes.get_server_volumes(server), [])
    assert set(site.serials(server, OWN, 1)) == {"vda"}
    assert "detach_volume" in clients.nova("instance-action-list", server)


def test_a_rescue_boots_the_image_and_its_end_brings_the_same_disks(
    site: Site, server: str
) -> None:
    openstack, guest = site.closed, site.guest(server)
    volume = new_volume(openstack, "kept")
    openstack.asked("server", "add", "volume", server, volume)
    site.serials(server, OWN, 2)
    before = guest.disks()

    guest.forget_what_was_said()
    openstack.openstack("server", "rescue", "--image", "virtio-disk", "patient")
    seen = site.serials(server, RESCUE, 3)
    assert (site.status(server), seen["vdb"]) == ("RESCUE", volume[:SEEN])

    guest.forget_what_was_said()
    openstack.openstack("server", "unrescue", "patient")
    assert site.serials(server, OWN, 2)["vdb"] == volume[:SEEN]
    until(lambda: site.status(server), "ACTIVE")
    assert guest.disks() == before

    openstack.openstack("server", "remove", "volume", server, volume)
    until(lambda: site.volumes(server), [])
    actions = openstack.asked("server", "event", "list", server)
    told = [each["Action"] for each in actions][:4]
    assert told == ["detach_volume", "unrescue", "rescue", "attach_volume"]
    shown = openstack.asked("server", "event", "show", server, actions[2]["Request ID"])
    assert [event["result"] for event in shown["events"]] == ["Success"] * len(shown["events"])


def test_a_server_stops_starts_reboots_and_goes(site: Site) -> None:
    openstack = site.open
    flavor = min(openstack.asked("flavor", "list"), key=lambda each: int(each["RAM"]))
    words = ("--flavor", flavor["ID"], "--image", "root", "--nic", "none", "brief")
    server = str(openstack.asked("server", "create", *words, compute=NEWER)["id"])
    until(lambda: site.status(server), "ACTIVE")
    openstack.openstack("server", "stop", "brief")
    until(lambda: site.status(server), "SHUTOFF")
    assert processes_of(server) == []
    openstack.openstack("server", "start", "brief")
    until(lambda: site.status(server), "ACTIVE")
    openstack.openstack("server", "reboot", "--hard", "brief")
    until(lambda: site.status(server), "ACTIVE")
    openstack.openstack("server", "delete", "--wait", "brief")
    assert [each["Name"] for each in openstack.asked("server", "list")].count("brief") == 0
    assert processes_of(server) == []
