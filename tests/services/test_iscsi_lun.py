"""A LUN of a real target, through QEMU's own initiator, in a real guest: passed through, or a disk.

Over the bus, whole: what the guest tells of the device, what libvirt shows, who is logged in at the
target, and what is left of it afterwards.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import libvirt
import pytest
from lxml import etree

from tests.fakes.volume_service import FakeVolumes
from tests.fakes.world import World
from tests.guests import Guest, GuestMaker
from tests.rig import MIB, Rig, running
from tests.targets import (
    MODEL,
    NOBODY,
    VENDOR,
    Target,
    TargetAttachments,
    iqn_of,
    iscsi_target,
    user_of,
)
from worker.errors import WorkerError
from worker.model.ids import VolumeId, new_uuid
from worker.wiring.core import Core

BUS = "kombu+memory://localhost/"
SIZE = 48 * MIB
INITIATOR = "iqn.2026-11.org.example.test:guests"
LAYOUTS = (0, libvirt.VIR_DOMAIN_XML_INACTIVE)


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    with iscsi_target() as found:
        yield found


@pytest.fixture
def service(target: Target) -> TargetAttachments:
    return TargetAttachments(World(), target)


@contextmanager
def running_on(
    service: TargetAttachments,
    uri: str,
    folder: Path,
    **options: Any,  # noqa: ANN401 - of the configuration
) -> Iterator[Rig]:
    """A whole worker whose volumes are the target's."""

    class TargetCore(Core):
        def __init__(self, *given: Any, **named: Any) -> None:  # noqa: ANN401 - as a core is made
            super().__init__(*given, **named)
            volumes = FakeVolumes(service.world)
            self.outside = replace(self.outside, volumes=volumes, attachments=service)

    host = f"host-{new_uuid()[:8]}"
    with running(folder / host, uri, bus=BUS, host=host, core=TargetCore, **options) as rig:
        yield rig


@pytest.fixture
def rig(service: TargetAttachments, libvirtd: str, tmp_path: Path) -> Iterator[Rig]:
    options = {
        "volume__iscsi_initiator": "qemu",
        "volume__iscsi_initiator_name": INITIATOR,
        "hypervisor__detach_retry_interval": 1.0,
    }
    with running_on(service, libvirtd, tmp_path, **options) as found:
        yield found


def shown(guest: Guest, alias: str, flags: int = 0) -> etree._Element | None:
    for disk in etree.fromstring(guest.domain.XMLDesc(flags)).iter("disk"):
        if disk.xpath("string(alias/@name)") == alias:
            return disk
    return None


def adopted(rig: Rig, guest: Guest) -> str:
    assert rig.call("adopt_instance", domain=guest.name)["uuid"] == guest.uuid
    return guest.uuid


def attachments(service: TargetAttachments) -> list[VolumeId]:
    return [held.volume for held in service.world.attachments.values()]


def test_luns_are_passed_through_beside_a_disk_that_comes_by_the_same_way(
    rig: Rig, make_guest: GuestMaker, service: TargetAttachments, target: Target
) -> None:
    guest = make_guest()
    one, other, plain = (service.add(number * SIZE) for number in (1, 2, 3))
    instance = adopted(rig, guest)
    first, second = (rig.attach(instance, each, device_type="lun") for each in (one, other))
    third = rig.attach(instance, plain)

    seen = guest.console.wait_for(lambda disks: {"sda", "sdb", "vda"} <= disks.keys(), 30)
    for name, volume, size in (("sda", one, SIZE), ("sdb", other, 2 * SIZE)):
        lun = seen[name]
        assert (lun.vendor, lun.model, lun.size) == (VENDOR, MODEL, size)
        assert lun.serial.strip() == volume[:8], "the storage's own, not the volume's id"
    assert (seen["vda"].serial, seen["vda"].size) == (plain[:20], 3 * SIZE)
    assert (first["device_type"], first["disk_bus"], first["serial"]) == ("lun", "scsi", None)
    assert [target.sessions(each) for each in (one, other, plain)] == [{INITIATOR}] * 3
    check_layouts(guest, first)
    assert rig.call("find_drift", instance_uuid=instance, qemu=True)["differences"] == []
    extend(rig, service, second, 5 * SIZE)
    guest.console.wait_for(lambda disks: disks["sdb"].size == 5 * SIZE, 30)

    assert rig.detach(first)["state"] == "succeeded"
    left = guest.console.wait_for(lambda disks: "sda" not in disks, 20)
    assert (left["sdb"].size, left["vda"].size) == (5 * SIZE, 3 * SIZE)
    assert [shown(guest, first["alias"], flags) for flags in LAYOUTS] == [None, None]
    target.wait_for_no_session(one)
    assert [rig.detach(row)["state"] for row in (second, third)] == ["succeeded"] * 2
    guest.console.wait_for(lambda disks: not disks, 20)
    assert attachments(service) == rig.call("list_block_devices", instance_uuid=instance) == []


def extend(rig: Rig, service: TargetAttachments, row: dict[str, Any], size: int) -> None:
    service.grow(VolumeId(row["volume_id"]), size)
    place = {"instance_uuid": row["instance_uuid"], "bdm_uuid": row["uuid"]}
    ended = rig.run("extend_volume", **place, new_size=size)
    assert ended["state"] == "succeeded", ended


def check_layouts(guest: Guest, row: dict[str, Any]) -> None:
    for flags in LAYOUTS:
        disk = shown(guest, row["alias"], flags)
        assert disk is not None
        assert (disk.get("type"), disk.get("device")) == ("network", "lun")
        assert (disk.find("serial"), disk.find("blockio")) == (None, None)


def test_a_stopped_guest_starts_with_its_lun_and_is_found_by_alias(
    rig: Rig, make_guest: GuestMaker, service: TargetAttachments
) -> None:
    guest, volume = make_guest(booted=False), service.add(SIZE)
    instance = adopted(rig, guest)
    row = rig.attach(instance, volume, device_type="lun")

    assert rig.run("start_instance", instance_uuid=instance)["state"] == "succeeded"
    seen = guest.console.wait_for(lambda disks: "sda" in disks, 60)["sda"]
    assert (seen.vendor, seen.model) == (VENDOR, MODEL)
    assert rig.detach(row)["state"] == "succeeded"
    guest.wait_for_no_disk("sda")


def test_what_cannot_work_is_refused_at_the_reservation(
    rig: Rig, make_guest: GuestMaker, service: TargetAttachments
) -> None:
    instance, volume = adopted(rig, make_guest(booted=False)), service.add(SIZE)
    encrypted = service.add(SIZE, encrypted=True)
    for wanted, said in (
        ({"volume_id": volume, "disk_bus": "virtio"}, "'lun' goes on bus scsi, not on virtio"),
        ({"volume_id": volume, "disk_bus": "sata"}, "'lun' goes on bus scsi, not on sata"),
        ({"volume_id": encrypted}, "an encrypted volume cannot be passed through"),
    ):
        with pytest.raises(WorkerError, match=said) as refused:
            rig.call(
                "reserve_block_device_name", instance_uuid=instance, device_type="lun", **wanted
            )
        assert refused.value.code == "block_device.type_unsupported"
    assert rig.call("list_block_devices", instance_uuid=instance) == []


def test_a_target_that_lets_us_not_in_is_found_out_before_the_guest_is_touched(
    rig: Rig, make_guest: GuestMaker, service: TargetAttachments
) -> None:
    guest, volume = make_guest(booted=False), service.add(SIZE)
    service.only = NOBODY
    row = rig.reserve(adopted(rig, guest), volume, device_type="lun")
    ended = rig.run("attach_volume", instance_uuid=guest.uuid, bdm_uuid=row["uuid"])

    assert ended["fault"]["code"] == "connector.failed"
    assert iqn_of(volume) in ended["fault"]["message"]
    assert attachments(service) == []
    assert rig.call("list_block_devices", instance_uuid=guest.uuid) == []
    assert "disks.attach" not in [step["name"] for step in ended["steps"]]


def test_with_a_password_it_is_opened_at_every_start_and_nobody_keeps_it(
    *,
    rig: Rig,
    make_guest: GuestMaker,
    service: TargetAttachments,
    target: Target,
    libvirtd: str,
    tmp_path: Path,
) -> None:
    service.password = "sesame,open-7391"
    guest, volume = make_guest(), service.add(SIZE)
    instance = adopted(rig, guest)
    row = rig.attach(instance, volume)
    guest.wait_for_disk("vda")
    assert target.sessions(volume) == {INITIATOR}
    assert secrets_of(libvirtd, instance) == []

    assert rig.run("reboot_instance", instance_uuid=instance, hard=True)["state"] == "succeeded"
    guest.wait_for_disk("vda", 60)
    assert target.sessions(volume) == {INITIATOR}
    assert secrets_of(libvirtd, instance) == []
    assert rig.call("find_drift", instance_uuid=instance, qemu=True)["differences"] == []

    texts = [guest.domain.XMLDesc(flags | libvirt.VIR_DOMAIN_XML_SECURE) for flags in LAYOUTS]
    texts += [path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
    assert [text for text in texts if service.password in text] == []
    assert rig.detach(row)["state"] == "succeeded"
    target.wait_for_no_session(volume)


def test_who_has_another_password_leaves_all_as_it_was(
    rig: Rig, make_guest: GuestMaker, service: TargetAttachments, target: Target, libvirtd: str
) -> None:
    service.password = "sesame,open-7391"
    guest, volume = make_guest(booted=False), service.add(SIZE)
    row = rig.reserve(adopted(rig, guest), volume)
    target.ask_password(volume, user_of(volume), "something-else")
    ended = rig.run("attach_volume", instance_uuid=guest.uuid, bdm_uuid=row["uuid"])
    assert ended["fault"]["code"] == "connector.failed"
    assert service.password not in str(ended)
    assert (attachments(service), secrets_of(libvirtd, guest.uuid)) == ([], [])


def secrets_of(uri: str, instance: str) -> list[str]:
    with closing(libvirt.open(uri)) as connection:
        usages = [secret.usageID() for secret in connection.listAllSecrets()]
    return [usage for usage in usages if instance in usage]
