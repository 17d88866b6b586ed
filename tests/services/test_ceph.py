"""Images of a real Ceph, opened by QEMU in a real guest, over the whole worker.

What the guest sees, who has the image open in the cluster, which secrets libvirt has, and where
the key can be read afterwards: nowhere.
"""

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import libvirt
import libvirt_qemu
import pytest
from lxml import etree

from tests.ceph import USER, Ceph, one_node_ceph
from tests.ceph_text import new_keys
from tests.ceph_volumes import CephAttachments, connection_to, image_of
from tests.fakes.volume_service import FakeConnector, FakeVolumes
from tests.fakes.world import World
from tests.guests import Guest, GuestMaker
from tests.rig import MIB, Rig, running
from worker.errors import ConnectFailed
from worker.model.ids import new_uuid
from worker.model.volume import VolumeStatus
from worker.volume.rbd import RbdImages
from worker.volume.rbd_keys import RbdLogins
from worker.wiring.core import Core

BUS = "kombu+memory://localhost/"
SIZE = 8 * MIB
NOBODY = "127.0.0.2"
"""Where no monitor listens."""

LAYOUTS = (0, libvirt.VIR_DOMAIN_XML_INACTIVE)
HMP = libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP


@pytest.fixture(scope="module")
def open_ceph() -> Iterator[Ceph]:
    """A cluster that asks nobody for a key."""
    with one_node_ceph(authentication=False) as found:
        yield found


@pytest.fixture
def service() -> CephAttachments:
    return CephAttachments(World())


@contextmanager
def running_on(
    service: CephAttachments,
    uri: str,
    folder: Path,
    **options: Any,  # noqa: ANN401 - of the configuration
) -> Iterator[Rig]:
    """A whole worker whose volumes are images of Ceph."""

    class CephCore(Core):
        def __init__(self, *given: Any, **named: Any) -> None:  # noqa: ANN401 - as a core is made
            super().__init__(*given, **named)
            volumes = FakeVolumes(service.world)
            self.outside = replace(self.outside, volumes=volumes, attachments=service)

    host = f"host-{new_uuid()[:8]}"
    options["hypervisor__detach_retry_interval"] = 1.0
    with running(folder / host, uri, bus=BUS, host=host, core=CephCore, **options) as rig:
        yield rig


@pytest.fixture
def rig(service: CephAttachments, ceph: Ceph, libvirtd: str, tmp_path: Path) -> Iterator[Rig]:
    keyring = tmp_path / "keyrings" / "keyring"
    keyring.parent.mkdir()
    keyring.write_text(f"[client.{USER}]\n\tkey = {ceph.key}\n")
    with running_on(service, libvirtd, tmp_path, volume__rbd_keyring=str(keyring)) as found:
        yield found


def adopted(rig: Rig, guest: Guest) -> str:
    assert rig.call("adopt_instance", domain=guest.name)["uuid"] == guest.uuid
    return guest.uuid


def write_through(guest: Guest, alias: str, byte: int) -> None:
    """Have the guest's QEMU write 64 KiB of that byte to the disk, as it does for the guest."""
    device = f"/machine/peripheral/{alias}/virtio-backend"
    command = f'qemu-io -d {device} "write -P {byte} 0 64k"'
    assert libvirt_qemu.qemuMonitorCommand(guest.domain, command, HMP) == ""


def secrets_of(uri: str, instance: str) -> list[str]:
    with closing(libvirt.open(uri)) as connection:
        usages = [secret.usageID() for secret in connection.listAllSecrets()]
    return [usage for usage in usages if instance in usage]


def shown(guest: Guest, alias: str, flags: int = 0) -> etree._Element:
    disks = etree.fromstring(guest.domain.XMLDesc(flags)).iter("disk")
    return next(disk for disk in disks if disk.xpath("string(alias/@name)") == alias)


def monitors_of(disk: etree._Element) -> list[str | None]:
    return [host.get("name") for host in disk.findall("source/host")]


def written(folder: Path, guest: Guest) -> Iterator[str]:
    """Yield all that the worker and libvirt have written down, the operator's keyring left out."""
    for flags in LAYOUTS:
        yield guest.domain.XMLDesc(flags | libvirt.VIR_DOMAIN_XML_SECURE)
    for path in folder.rglob("*"):
        if path.is_file() and path.parent.name != "keyrings":
            yield path.read_text(errors="replace")


def test_images_are_opened_with_the_key_sent_and_without_one_and_nobody_keeps_it(
    *,
    rig: Rig,
    make_guest: GuestMaker,
    service: CephAttachments,
    ceph: Ceph,
    open_ceph: Ceph,
    libvirtd: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "worker")
    service.said = {"keyring": ceph.key}
    guest = make_guest()
    instance = adopted(rig, guest)
    volume, other = service.add(ceph, SIZE), service.add(open_ceph, 2 * SIZE)
    row, plain = rig.attach(instance, volume), rig.attach(instance, other)
    seen = guest.console.wait_for(lambda disks: {"vda", "vdb"} <= disks.keys(), 30)
    assert (seen["vda"].serial, seen["vda"].size) == (volume[:20], SIZE)
    assert (seen["vdb"].serial, seen["vdb"].size) == (other[:20], 2 * SIZE)
    assert len(ceph.watchers(image_of(volume))) == len(open_ceph.watchers(image_of(other))) == 1
    assert [disk.find("source/auth") is None for disk in disks_of(guest, row, plain)] == [0, 1]
    write_through(guest, row["alias"], 0x5A)
    write_through(guest, plain["alias"], 0xA5)
    service.grow(volume, 3 * SIZE)
    grown = {"instance_uuid": instance, "bdm_uuid": row["uuid"], "new_size": 3 * SIZE}
    assert rig.run("extend_volume", **grown)["fault"] is None
    guest.console.wait_for(lambda disks: disks["vda"].size == 3 * SIZE, 20)
    assert secrets_of(libvirtd, instance) == []

    assert rig.run("reboot_instance", instance_uuid=instance, hard=True)["state"] == "succeeded"
    seen = guest.console.wait_for(lambda disks: {"vda", "vdb"} <= disks.keys(), 60)
    assert seen["vda"].size == 3 * SIZE
    assert rig.call("find_drift", instance_uuid=instance, qemu=True)["differences"] == []
    assert secrets_of(libvirtd, instance) == []
    told = (caplog.text, str(rig.updates), *written(tmp_path, guest))
    assert [text for text in told if ceph.key in text] == []

    assert [rig.detach(each)["state"] for each in (row, plain)] == ["succeeded"] * 2
    guest.wait_for_no_disk("vda")
    ceph.wait_for_no_watcher(image_of(volume))
    assert ceph.content(image_of(volume)) == b"\x5a" * (1 << 16) + bytes(3 * SIZE - (1 << 16))
    assert open_ceph.content(image_of(other))[: 1 << 16] == b"\xa5" * (1 << 16)
    assert rig.call("list_block_devices", instance_uuid=instance) == []
    assert {one.status for one in service.world.volumes.values()} == {VolumeStatus.AVAILABLE}


def disks_of(guest: Guest, *rows: dict[str, Any]) -> list[etree._Element]:
    return [shown(guest, row["alias"]) for row in rows]


def test_a_start_opens_the_image_by_the_monitors_of_the_day_and_the_key_of_the_host(
    rig: Rig, make_guest: GuestMaker, service: CephAttachments, ceph: Ceph, libvirtd: str
) -> None:
    guest, volume = make_guest(booted=False), service.add(ceph, SIZE)
    instance = adopted(rig, guest)
    row = rig.attach(instance, volume)
    assert monitors_of(shown(guest, row["alias"], LAYOUTS[1])) == [ceph.host]

    monitors = [NOBODY, ceph.host]
    service.move(volume, hosts=monitors, ports=["6789", str(ceph.port)])
    assert rig.run("start_instance", instance_uuid=instance)["fault"] is None
    guest.wait_for_disk("vda", 60)
    for flags in LAYOUTS:
        assert monitors_of(shown(guest, row["alias"], flags)) == monitors
    assert secrets_of(libvirtd, instance) == []
    assert rig.call("find_drift", instance_uuid=instance)["differences"] == []
    assert rig.detach(row)["state"] == "succeeded"


def test_a_wrong_key_leaves_all_as_it_was(
    rig: Rig, make_guest: GuestMaker, service: CephAttachments, ceph: Ceph, libvirtd: str
) -> None:
    guest, volume = make_guest(booted=False), service.add(ceph, SIZE)
    wrong = service.said["keyring"] = new_keys()[f"client.{USER}"]
    row = rig.reserve(adopted(rig, guest), volume)
    ended = rig.run("attach_volume", instance_uuid=guest.uuid, bdm_uuid=row["uuid"])
    assert ended["fault"]["code"] == "connector.failed"
    assert "Permission denied" in ended["fault"]["message"]
    assert wrong not in str(ended)
    assert service.world.volumes[volume].status is VolumeStatus.AVAILABLE
    assert service.world.attachments == {}
    assert rig.call("list_block_devices", instance_uuid=guest.uuid) == []
    assert (secrets_of(libvirtd, guest.uuid), ceph.watchers(image_of(volume))) == ([], [])
    assert "disks.attach" not in [step["name"] for step in ended["steps"]]


def test_the_size_is_the_clusters_word_by_now(ceph: Ceph, service: CephAttachments) -> None:
    volume = service.add(ceph, SIZE)
    connector = RbdImages(FakeConnector(service.world), RbdLogins(keyring=ceph.keyring))
    connection = connection_to(ceph, volume)
    assert connector.examine(connector.connect(connection)).size == SIZE
    service.grow(volume, 3 * SIZE)
    assert connector.extend(connection) == 3 * SIZE


@pytest.mark.parametrize(
    ("otherwise", "said"),
    [
        ({"name": "volumes/gone"}, "No such file or directory"),
        ({"name": "gone/gone"}, "No such file or directory"),
        ({"auth_enabled": False}, "Operation not supported"),
        ({"hosts": [NOBODY]}, "no answer within 1 s"),
    ],
)
def test_what_cannot_be_opened_is_told_apart(
    otherwise: dict[str, object], said: str, ceph: Ceph
) -> None:
    connector = RbdImages(FakeConnector(World()), RbdLogins(keyring=ceph.keyring), timeout=1)
    with pytest.raises(ConnectFailed, match=said):
        connector.examine(connector.connect(connection_to(ceph, new_uuid(), **otherwise)))
