"""A real Cinder: what it says of volumes and attachments while the worker has them in hand.

Its API, scheduler and drivers are Cinder's own, and so is the middleware that asks who somebody is:
of a small Keystone of the tests, which knows of service accounts (tests/cinder/identity.py).
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from keystoneauth1.exceptions import Conflict

from tests import guests
from tests.ceph import Ceph
from tests.cinder.backends import CEPH, LUKS, NFS, SHARED, add_ceph, add_nfs
from tests.cinder.caller import GIB, Caller
from tests.cinder.configuration import KEY, KEY_ID
from tests.cinder.identity import PASSWORD
from tests.cinder.service import API, Cinder
from tests.cinder.service import running as running_cinder
from tests.cinder.share import EXPORT, Share, nfs_share
from tests.guests import Guest, GuestMaker
from tests.processes import Served, configure
from tests.rig import SOON, Json, Rig, running
from worker.cmd.demo.guest_image import GuestImage
from worker.model.ids import new_uuid
from worker.virt.libvirtd.private import PrivateLibvirtd

pytestmark = pytest.mark.timeout(400)

BUS = "kombu+memory://localhost/"

MakeRig = Callable[..., Rig]


@pytest.fixture(scope="module")
def share() -> Iterator[Share]:
    with nfs_share() as found, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", found.path)
        yield found


@pytest.fixture(scope="module")
def cinder(share: Share) -> Iterator[Cinder]:
    with running_cinder() as found:
        add_nfs(found, share)
        yield found


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the worker has the passphrase of encrypted volumes and, with Ceph, its user's key."""
    folder = tmp_path_factory.mktemp("keys")
    (folder / KEY_ID).touch(mode=0o600)
    (folder / KEY_ID).write_text(KEY)
    return folder


@pytest.fixture(scope="module")
def with_ceph(cinder: Cinder, ceph: Ceph, keys: Path) -> None:
    """Have Cinder keep volumes in Ceph too."""
    add_ceph(cinder, ceph)
    (keys / "keyring").symlink_to(ceph.keyring)


@pytest.fixture(scope="module")
def own_libvirtd(share: Share) -> Iterator[PrivateLibvirtd]:
    """One that sees what is mounted on the share's places, which were there before it."""
    with guests.own_libvirtd() as found:
        yield found


@pytest.fixture(scope="module")
def libvirtd(own_libvirtd: PrivateLibvirtd) -> str:
    return own_libvirtd.start()


@pytest.fixture(scope="module")
def make_rig(
    cinder: Cinder, share: Share, libvirtd: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MakeRig]:
    """Makes workers whose volumes are Cinder's."""
    with ExitStack() as stack:

        def make(**options: Any) -> Rig:  # noqa: ANN401 - of the configuration
            host = f"host-{new_uuid()[:8]}"
            given = {**options_of(cinder, share), **options}
            state = tmp_path_factory.mktemp(host)
            return stack.enter_context(running(state, libvirtd, bus=BUS, host=host, **given))

        yield make


@pytest.fixture(scope="module")
def rig(make_rig: MakeRig, keys: Path) -> Rig:
    return make_rig(volume__rbd_keyring=str(keys / "keyring"), volume__keys_path=str(keys))


@pytest.fixture(scope="module")
def guest(
    rig: Rig, libvirtd: str, guest_image: GuestImage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guest]:
    """An instance that runs and has no disk but in a test."""
    with guests.guest_maker(libvirtd, guest_image, tmp_path_factory.mktemp("guest")) as make:
        found = make()
        adopted(rig, found)
        yield found


@pytest.fixture
def served(cinder: Cinder, share: Share, libvirtd: str, tmp_path: Path) -> Iterator[Served]:
    """A worker's process with such volumes, not started yet."""
    found = configure(tmp_path / "state", libvirtd)
    lines = [found.config.read_text()]
    for name, value in options_of(cinder, share).items():
        group, option = name.split("__")
        lines.append(f"[{group}]\n{option} = {value}")
    found.config.write_text("\n".join(lines))
    yield found
    if found.process is not None and found.process.poll() is None:
        found.kill()


@pytest.fixture
def alice(cinder: Cinder) -> Caller:
    """Whose volumes they are."""
    return cinder.caller("alice")


def options_of(cinder: Cinder, share: Share) -> dict[str, str]:
    return {
        "volume__service": "cinder",
        "volume__mount_path": str(share.mounts("worker")),
        "cinder__auth_url": cinder.identity.auth_url,
        "cinder__username": "worker",
        "cinder__password": PASSWORD,
    }


def adopted(rig: Rig, guest: Guest) -> str:
    assert rig.call("adopt_instance", domain=guest.name)["uuid"] == guest.uuid
    return guest.uuid


def named(row: Json) -> dict[str, str]:
    """Return what a detach says of the row."""
    names = {"instance_uuid": "instance_uuid", "volume_id": "volume_id", "bdm_uuid": "uuid"}
    return {argument: row[name] for argument, name in names.items()}


def failed_step(rig: Rig, operation: str, name: str) -> str:
    """Return what a step of an operation that runs has failed with, now or soon."""
    end = time.monotonic() + SOON
    while time.monotonic() < end:
        steps = rig.call("get_operation", operation_id=operation)["steps"]
        for step in steps:
            if step["name"] == name and step["fault"]:
                return str(step["fault"]["message"])
        time.sleep(0.05)
    raise AssertionError(steps)


def views(alice: Caller, cinder: Cinder, volume: str) -> tuple[str, list[tuple[str, str]]]:
    """Return what Cinder says: the volume's status, and of each attachment status and server."""
    held = cinder.caller("worker").attachments(volume)
    return alice.status(volume), [(each["status"], each["instance"]) for each in held]


def test_a_volume_of_cinder_comes_and_goes(
    rig: Rig, guest: Guest, alice: Caller, cinder: Cinder
) -> None:
    volume = alice.create_volume(kind=NFS)
    instance = guest.uuid
    row = rig.reserve(instance, volume)
    assert views(alice, cinder, volume) == ("available", [])

    ended = rig.run("attach_volume", instance_uuid=instance, bdm_uuid=row["uuid"])
    assert ended["state"] == "succeeded", ended
    assert views(alice, cinder, volume) == ("in-use", [("attached", instance)])
    (told,) = cinder.caller("root").volume(volume)["attachments"]
    assert (told["server_id"], told["host_name"]) == (instance, rig.host)
    seen = guest.console.wait_for(lambda disks: "vda" in disks, 30)["vda"]
    assert (seen.serial, seen.size) == (volume[:20], GIB)
    assert rig.call("find_drift", instance_uuid=instance, qemu=True)["differences"] == []

    # Nova knows of it too: whoever is no service is kept from it (CVE-2023-2088).
    cinder.identity.servers[instance, volume] = told["attachment_id"]
    with pytest.raises(Conflict):
        alice.ask("DELETE", f"/attachments/{told['attachment_id']}")
    # And the worker's token is no good any more.
    cinder.identity.forget_tokens()
    assert rig.detach(row)["state"] == "succeeded"
    guest.wait_for_no_disk("vda")
    assert views(alice, cinder, volume) == ("available", [])
    assert rig.call("list_block_devices", instance_uuid=instance) == []


def test_a_detach_goes_on_without_cinder_and_ends_when_it_is_back(
    rig: Rig, guest: Guest, alice: Caller, cinder: Cinder
) -> None:
    volume = alice.create_volume(kind=NFS)
    row = rig.attach(guest.uuid, volume)
    guest.wait_for_disk("vda")

    with cinder.without(API):
        operation = rig.cast("detach_volume", **named(row))
        guest.wait_for_no_disk("vda")
        assert rig.call("get_operation", operation_id=operation)["state"] == "running"
    assert rig.end_of(operation)["state"] == "succeeded"
    assert views(alice, cinder, volume) == ("available", [])


def test_an_attach_that_fails_leaves_the_volume_available(
    make_rig: MakeRig, make_guest: GuestMaker, alice: Caller, cinder: Cinder, tmp_path: Path
) -> None:
    guest, volume = make_guest(booted=False), alice.create_volume(kind=NFS)
    in_the_way = hashlib.md5(EXPORT.encode(), usedforsecurity=False).hexdigest()
    (tmp_path / in_the_way).touch()
    rig = make_rig(volume__mount_path=str(tmp_path), volume__connect_attempts=1)
    row = rig.reserve(adopted(rig, guest), volume)
    ended = rig.run("attach_volume", instance_uuid=guest.uuid, bdm_uuid=row["uuid"])

    assert (ended["state"], ended["fault"]["code"]) == ("failed", "connector.failed")
    names = [step["name"] for step in ended["steps"]]
    assert names.index("attachments.connect") < names.index("attachments.delete")
    assert views(alice, cinder, volume) == ("available", [])
    assert rig.call("list_block_devices", instance_uuid=guest.uuid) == []


def test_a_volume_of_another_server_is_left_alone(
    rig: Rig, make_guest: GuestMaker, alice: Caller, cinder: Cinder
) -> None:
    guest, volume, other = make_guest(booted=False), alice.create_volume(kind=NFS), new_uuid()
    instance = adopted(rig, guest)
    row = rig.reserve(instance, volume)
    asked = {"volume_uuid": volume, "instance_uuid": other}
    alice.post("/attachments", {"attachment": asked})
    ended = rig.run("attach_volume", instance_uuid=instance, bdm_uuid=row["uuid"])

    assert (ended["state"], ended["fault"]["code"]) == ("failed", "volume.in_use")
    assert views(alice, cinder, volume) == ("reserved", [("reserved", other)])
    assert rig.call("list_block_devices", instance_uuid=instance) == []


def test_a_worker_without_a_service_token_says_what_its_detach_waits_for(
    make_rig: MakeRig, make_guest: GuestMaker, alice: Caller, cinder: Cinder
) -> None:
    rig = make_rig(cinder__service_token=False)
    guest, volume = make_guest(booted=False), alice.create_volume(kind=NFS)
    row = rig.attach(adopted(rig, guest), volume)
    (told,) = alice.volume(volume)["attachments"]
    cinder.identity.servers[guest.uuid, volume] = told["attachment_id"]

    operation = new_uuid()
    rig.call("detach_volume", operation_id=operation, **named(row))
    said = failed_step(rig, operation, "attachments.delete")
    assert "CVE-2023-2088" in said
    assert views(alice, cinder, volume) == ("detaching", [("attached", guest.uuid)])
    cinder.identity.servers.clear()
    assert rig.end_of(operation)["state"] == "succeeded"
    assert views(alice, cinder, volume) == ("available", [])


def test_a_volume_of_cinder_in_ceph_grows_under_its_guest(
    rig: Rig, guest: Guest, alice: Caller, cinder: Cinder, with_ceph: None
) -> None:
    volume, instance = alice.create_volume(kind=CEPH), guest.uuid
    row = rig.attach(instance, volume)
    assert views(alice, cinder, volume) == ("in-use", [("attached", instance)])
    seen = guest.console.wait_for(lambda disks: "vda" in disks, 30)["vda"]
    assert (seen.serial, seen.size) == (volume[:20], GIB)

    alice.act(volume, "os-extend", new_size=2)
    assert alice.wait_for(volume, "in-use")["size"] == 2
    asked = {"instance_uuid": instance, "bdm_uuid": row["uuid"], "new_size": 2 * GIB}
    assert rig.run("extend_volume", **asked)["state"] == "succeeded"
    guest.console.wait_for(lambda disks: disks["vda"].size == 2 * GIB, 30)

    assert rig.detach(row)["state"] == "succeeded"
    guest.wait_for_no_disk("vda")
    assert views(alice, cinder, volume) == ("available", [])
    alice.ask("DELETE", f"/volumes/{volume}")


def test_a_guest_goes_on_with_a_volume_of_cinders_other_backend(
    rig: Rig, guest: Guest, alice: Caller, cinder: Cinder, with_ceph: None
) -> None:
    old, new = (alice.create_volume(kind=kind) for kind in (NFS, CEPH))
    row = rig.attach(guest.uuid, old)
    guest.wait_for_disk("vda")
    ended = rig.run(
        "swap_volume", instance_uuid=guest.uuid, bdm_uuid=row["uuid"], new_volume_id=new
    )
    assert ended["state"] == "succeeded", ended
    assert views(alice, cinder, old) == ("available", [])
    assert views(alice, cinder, new) == ("in-use", [("attached", guest.uuid)])

    (now,) = rig.call("list_block_devices", instance_uuid=guest.uuid)
    assert (now["volume_id"], now["serial"], now["alias"]) == (new, row["serial"], row["alias"])
    assert rig.detach(now)["state"] == "succeeded"
    guest.wait_for_no_disk("vda")
    assert views(alice, cinder, new) == ("available", [])


def test_what_cinder_could_not_grow_is_refused_and_comes_off_all_the_same(
    rig: Rig, make_guest: GuestMaker, alice: Caller, cinder: Cinder
) -> None:
    guest, volume = make_guest(booted=False), alice.create_volume(kind=NFS)
    row = rig.attach(adopted(rig, guest), volume)
    # Its NFS driver grows no volume that is attached.
    alice.act(volume, "os-extend", new_size=2)
    alice.wait_for(volume, "error_extending")

    asked = {"instance_uuid": guest.uuid, "bdm_uuid": row["uuid"], "new_size": 2 * GIB}
    assert rig.run("extend_volume", **asked)["fault"]["code"] == "volume.not_grown"
    assert rig.detach(row)["state"] == "succeeded"
    assert views(alice, cinder, volume) == ("available", [])


def test_a_shared_volume_of_cinder_is_in_use_until_the_last_lets_go(
    rig: Rig, make_guest: GuestMaker, alice: Caller, cinder: Cinder, with_ceph: None
) -> None:
    volume = alice.create_volume(kind=SHARED)
    first, second = (adopted(rig, make_guest(booted=False)) for _ in range(2))
    one, other = (rig.attach(each, volume, multiattach=True) for each in (first, second))
    status, held = views(alice, cinder, volume)
    assert (status, sorted(held)) == (
        "in-use",
        sorted([("attached", first), ("attached", second)]),
    )

    assert rig.detach(one)["state"] == "succeeded"
    assert views(alice, cinder, volume) == ("in-use", [("attached", second)])
    assert rig.detach(other)["state"] == "succeeded"
    assert views(alice, cinder, volume) == ("available", [])


@pytest.mark.long
def test_an_encrypted_volume_of_cinder_is_opened_by_its_passphrase(
    rig: Rig, guest: Guest, alice: Caller, cinder: Cinder, with_ceph: None
) -> None:
    volume = alice.create_volume(kind=LUKS)
    row = rig.attach(guest.uuid, volume)
    seen = guest.console.wait_for(lambda disks: "vda" in disks, 30)["vda"]
    assert (seen.serial, seen.size) == (volume[:20], GIB), "what is encrypted, not its header"
    assert views(alice, cinder, volume) == ("in-use", [("attached", guest.uuid)])

    assert rig.detach(row)["state"] == "succeeded"
    guest.wait_for_no_disk("vda")
    assert views(alice, cinder, volume) == ("available", [])


def test_a_volume_comes_and_goes_without_attachments_too(
    make_rig: MakeRig, make_guest: GuestMaker, alice: Caller, cinder: Cinder
) -> None:
    rig = make_rig(cinder__attachments="legacy")
    guest, volume = make_guest(booted=False), alice.create_volume(kind=NFS)
    instance = adopted(rig, guest)
    row = rig.attach(instance, volume)
    assert views(alice, cinder, volume) == ("in-use", [("attached", instance)])
    (told,) = alice.volume(volume)["attachments"]
    cinder.identity.servers[instance, volume] = told["attachment_id"]

    assert rig.detach(row)["state"] == "succeeded"
    assert views(alice, cinder, volume) == ("available", [])
    assert [key for key in alice.volume(volume)["metadata"] if instance in key] == []


def test_an_attach_whose_worker_dies_while_cinder_exports_is_done_once(
    served: Served, make_guest: GuestMaker, alice: Caller, cinder: Cinder
) -> None:
    guest, volume = make_guest(booted=False), alice.create_volume(kind=NFS)
    served.start()
    served.client.call("adopt_instance", domain=guest.name)
    row: Json = served.client.call(
        "reserve_block_device_name", instance_uuid=guest.uuid, volume_id=volume
    )
    asked = {"instance_uuid": guest.uuid, "bdm_uuid": row["uuid"]}
    cinder.forget_requests()
    with cinder.frozen(NFS):
        operation = served.begin("attach_volume", **asked)
        cinder.wait_for_request("PUT", "/attachments/")
        served.kill()
    alice.wait_for(volume, "attaching")
    served.start()
    assert served.end_of(operation)["state"] == "succeeded"
    assert len(cinder.requests("PUT", "/attachments/")) == 1, "it was exported anew"
    assert views(alice, cinder, volume) == ("in-use", [("attached", guest.uuid)])
    assert served.run("detach_volume", **named(row))["state"] == "succeeded"
    assert views(alice, cinder, volume) == ("available", [])
