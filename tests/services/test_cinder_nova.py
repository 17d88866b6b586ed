"""A real Cinder whose ``[nova]`` is the API: what it asks there, and what comes of it.

Cinder's own code asks, by its own novaclient, with its account and with its users' tokens, which
the API checks by keystonemiddleware as Cinder does. Nothing of Cinder is configured for it but
where the catalogue says that compute is.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from keystoneauth1.exceptions import Conflict, NotFound

from tests import guests
from tests.ceph import Ceph
from tests.cinder.backends import CEPH, NFS, add_ceph, add_nfs
from tests.cinder.caller import GIB, Caller
from tests.cinder.identity import PASSWORD, Identity
from tests.cinder.service import Cinder
from tests.cinder.service import running as running_cinder
from tests.cinder.share import Share, nfs_share
from tests.guests import Guest
from tests.rig import SOON, Json, Rig, running
from worker import conf as options
from worker.cmd.demo.guest_image import GuestImage
from worker.wiring.api import Api

pytestmark = pytest.mark.timeout(400)

BUS = "kombu+memory://localhost/"
HOST = "host-of-nova"

CONFIGURATION = """\
[DEFAULT]
state_path = {state}
host = {host}
transport_url = {bus}

[volume]
service = cinder
mount_path = {mounts}
rbd_keyring = {keyring}

[cinder]
auth_url = {identity}
username = worker
password = {password}

[api]
listen = 127.0.0.1:0
auth = keystone

[keystone_authtoken]
auth_type = password
auth_url = {identity}
username = worker
password = {password}
user_domain_id = default
project_name = service
project_domain_id = default
token_cache_time = -1
"""


@pytest.fixture(scope="module")
def share() -> Iterator[Share]:
    with nfs_share() as found, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", found.path)
        yield found


@pytest.fixture(scope="module")
def cinder(share: Share, ceph: Ceph) -> Iterator[Cinder]:
    with running_cinder() as found:
        add_nfs(found, share)
        add_ceph(found, ceph)
        yield found


@pytest.fixture(scope="module")
def libvirtd(share: Share) -> Iterator[str]:
    with guests.own_libvirtd() as found:
        yield found.start()


@pytest.fixture(scope="module")
def state(cinder: Cinder, share: Share, ceph: Ceph, tmp_path_factory: Any) -> Path:  # noqa: ANN401
    """The folder of the worker, with a configuration for the API beside it."""
    folder: Path = tmp_path_factory.mktemp("nova")
    (folder / "blockworker.conf").write_text(
        CONFIGURATION.format(
            state=folder,
            host=HOST,
            bus=BUS,
            mounts=share.mounts("worker"),
            keyring=ceph.keyring,
            identity=cinder.identity.auth_url,
            password=PASSWORD,
        )
    )
    return folder


@pytest.fixture(scope="module")
def rig(state: Path, libvirtd: str, share: Share, cinder: Cinder, ceph: Ceph) -> Iterator[Rig]:
    given: dict[str, Any] = {
        "volume__service": "cinder",
        "volume__mount_path": str(share.mounts("worker")),
        "volume__rbd_keyring": str(ceph.keyring),
        "cinder__auth_url": cinder.identity.auth_url,
        "cinder__username": "worker",
        "cinder__password": PASSWORD,
    }
    with running(state, libvirtd, bus=BUS, host=HOST, **given) as found:
        yield found


@pytest.fixture(scope="module")
def nova(rig: Rig, state: Path, cinder: Cinder) -> Iterator[Identity]:
    """Whoever asks the catalogue for compute finds the API, Cinder among them."""
    api = Api(options.load([state / "blockworker.conf"]), beside_worker=True)
    api.start()
    cinder.identity.compute = f"http://127.0.0.1:{api.port}/v2.1"
    cinder.identity.sessions.clear()
    yield cinder.identity
    api.stop()


@pytest.fixture(scope="module")
def machine(
    libvirtd: str, guest_image: GuestImage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guest]:
    with guests.guest_maker(libvirtd, guest_image, tmp_path_factory.mktemp("guest")) as make:
        yield make()


@pytest.fixture(scope="module")
def guest(rig: Rig, machine: Guest, state: Path, cinder: Cinder) -> Guest:
    """A server of alice's that runs and has no volume but in a test."""
    assert rig.call("adopt_instance", domain=machine.name)["uuid"] == machine.uuid
    with sqlite3.connect(state / "blockworker.sqlite") as database:
        project = cinder.identity.project_id("alice")
        database.execute("UPDATE instances SET project_id = ?", (project,))
    database.close()
    return machine


class Compute:
    """The API as one user of the cloud asks it."""

    def __init__(self, identity: Identity, user: str) -> None:
        self._session = identity.session(user)

    def ask(self, verb: str, path: str, asked: Json | None = None) -> Json:
        """Ask at the newest microversion; raises keystoneauth's errors for what is refused."""
        said: Any = self._session.request(
            path,
            verb,
            json=asked,
            endpoint_filter={"service_type": "compute", "interface": "public"},
            headers={"OpenStack-API-Version": "compute 2.101"},
        )
        found: Json = said.json() if said.content else {}
        return found

    def attach(self, server: str, volume: str) -> None:
        wanted = {"volumeAttachment": {"volumeId": volume}}
        self.ask("POST", f"/servers/{server}/os-volume_attachments", wanted)


@pytest.fixture
def alice(nova: Identity, cinder: Cinder) -> Caller:
    """Whose server and volumes they are, at Cinder."""
    return cinder.caller("alice")


@pytest.fixture
def alice_at_nova(nova: Identity) -> Compute:
    return Compute(nova, "alice")


def test_a_guest_sees_that_its_volume_was_extended_in_cinder(
    rig: Rig, guest: Guest, alice: Caller, alice_at_nova: Compute
) -> None:
    volume = alice.create_volume(kind=CEPH)
    alice_at_nova.attach(guest.uuid, volume)
    seen = guest.console.wait_for(lambda disks: "vda" in disks, 30)["vda"]
    assert (seen.serial, seen.size) == (volume[:20], GIB)
    alice.wait_for(volume, "in-use")

    alice.act(volume, "os-extend", new_size=2)
    guest.console.wait_for(lambda disks: disks["vda"].size == 2 * GIB, 60)
    rig.wait_for_event("instance.volume_extend.end")

    alice_at_nova.ask("DELETE", f"/servers/{guest.uuid}/os-volume_attachments/{volume}")
    guest.wait_for_no_disk("vda")
    alice.wait_for(volume, "available")


def test_a_user_may_delete_no_attachment_that_a_server_has(
    guest: Guest, alice: Caller, alice_at_nova: Compute, cinder: Cinder
) -> None:
    """Cinder asks its Nova whether there is such a thing (CVE-2023-2088)."""
    volume = alice.create_volume(kind=NFS)
    alice_at_nova.attach(guest.uuid, volume)
    guest.wait_for_disk("vda")
    alice.wait_for(volume, "in-use")
    (held,) = cinder.caller("root").volume(volume)["attachments"]
    with pytest.raises(Conflict):
        alice.ask("DELETE", f"/attachments/{held['attachment_id']}")

    alice_at_nova.ask("DELETE", f"/servers/{guest.uuid}/os-volume_attachments/{volume}")
    guest.wait_for_no_disk("vda")
    alice.wait_for(volume, "available")


def test_a_user_may_delete_an_attachment_that_no_server_has(
    guest: Guest, alice: Caller, alice_at_nova: Compute
) -> None:
    volume = alice.create_volume(kind=NFS)
    # Cinder asks of those alone that somebody has connected.
    connector = {"host": "elsewhere", "ip": "192.0.2.1", "initiator": "iqn.2026-01.example:e"}
    asked = {"volume_uuid": volume, "instance_uuid": guest.uuid, "connector": connector}
    made = alice.post("/attachments", {"attachment": asked})["attachment"]["id"]
    with pytest.raises(NotFound):
        alice_at_nova.ask("GET", f"/servers/{guest.uuid}/os-volume_attachments/{volume}")
    alice.ask("DELETE", f"/attachments/{made}")
    alice.wait_for(volume, "available")


def test_a_volume_that_is_attached_is_not_migrated_and_stays_what_it_was(
    guest: Guest, alice: Caller, alice_at_nova: Compute, cinder: Cinder
) -> None:
    """Cinder asks to swap it, is refused, and takes away what it had made."""
    volume, root = alice.create_volume(kind=NFS), cinder.caller("root")
    alice_at_nova.attach(guest.uuid, volume)
    guest.wait_for_disk("vda")
    alice.wait_for(volume, "in-use")
    before = all_volumes(root)

    root.act(volume, "os-retype", new_type=CEPH, migration_policy="on-demand")
    wait_until(lambda: root.volume(volume)["migration_status"] == "error")
    now = root.wait_for(volume, "in-use")
    assert now["volume_type"] == NFS
    wait_until(lambda: all_volumes(root) == before)

    alice_at_nova.ask("DELETE", f"/servers/{guest.uuid}/os-volume_attachments/{volume}")
    guest.wait_for_no_disk("vda")
    alice.wait_for(volume, "available")


def all_volumes(root: Caller) -> set[str]:
    return {volume["id"] for volume in root.get("/volumes?all_tenants=1")["volumes"]}


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + SOON
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)
