"""The main job, whole: bus, journal, pool, os-brick, libvirt, and a guest that tells."""

from functools import partial
from pathlib import Path
from typing import Any

import libvirt
import pytest
from lxml import etree

from tests.functional.rigs import MakeRig
from tests.guests import Guest, GuestMaker
from tests.rig import MIB, Rig
from worker.model.ids import new_uuid

BUSES = ("kombu+memory://localhost/", "fake:/")
INACTIVE = libvirt.VIR_DOMAIN_XML_INACTIVE


def disk(guest: Guest, alias: str, flags: int = 0) -> etree._Element | None:
    """Return a disk of the live XML, or of the persistent one, by its alias."""
    tree = etree.fromstring(guest.domain.XMLDesc(flags))
    for found in tree.iter("disk"):
        name = found.find("alias")
        if name is not None and name.get("name") == alias:
            return found
    return None


def adopted(rig: Rig, guest: Guest) -> str:
    assert rig.call("adopt_instance", domain=guest.name)["uuid"] == guest.uuid
    return guest.uuid


@pytest.mark.parametrize("bus", BUSES)
def test_a_volume_comes_and_goes_and_the_guest_reports_its_serial(
    bus: str, make_rig: MakeRig, make_guest: GuestMaker
) -> None:
    rig, guest = make_rig(bus), make_guest()
    volume = rig.volume(48 * MIB)
    row = rig.attach(adopted(rig, guest), volume)
    seen = guest.console.wait_for(lambda disks: "vda" in disks, 20)["vda"]
    assert (seen.size, seen.serial) == (48 * MIB, volume[:20])
    for flags in (0, INACTIVE):
        found = disk(guest, f"ua-{volume}", flags)
        assert found is not None
        assert found.findtext("serial") == volume
    assert rig.detach(row)["state"] == "succeeded"
    guest.wait_for_no_disk("vda")
    assert disk(guest, row["alias"]) is disk(guest, row["alias"], INACTIVE) is None
    assert rig.call("get_volume", volume_id=volume)["status"] == "available"
    rig.wait_for_event("instance.volume_detach.end")
    told = [update["payload"] for update in rig.updates if update["payload"]["instance_uuid"]]
    assert [payload["sequence"] for payload in told] == [1, 2, 3, 4, 5]
    assert rig.events()[-5:] == [
        "block_device.reserved",
        "instance.volume_attach.start",
        "instance.volume_attach.end",
        "instance.volume_detach.start",
        "instance.volume_detach.end",
    ]


def test_a_disk_on_scsi_shows_its_whole_serial(rig: Rig, make_guest: GuestMaker) -> None:
    guest, volume = make_guest(), rig.volume()
    row = rig.attach(adopted(rig, guest), volume, disk_bus="scsi")
    seen = guest.console.wait_for(lambda disks: "sda" in disks, 20)["sda"]
    assert seen.serial == volume
    assert (row["device_name"], row["unit"], row["address"]) == ("/dev/sda", 0, "scsi:0:0:0:0")


def test_name_and_address_stay_when_another_disk_goes(rig: Rig, make_guest: GuestMaker) -> None:
    guest = make_guest()
    instance = adopted(rig, guest)
    first, second = (rig.attach(instance, rig.volume()) for _ in range(2))
    guest.wait_for_disk("vdb")
    rig.detach(first)
    (left,) = rig.call("list_block_devices", instance_uuid=instance)
    assert left == second | {"status": "attached", "attachment_id": left["attachment_id"]}
    live = disk(guest, second["alias"])
    assert live is not None
    assert live.xpath("string(target/@dev)") == "vdb"
    again = rig.attach(instance, rig.volume())
    assert (again["device_name"], again["address"]) == (first["device_name"], first["address"])


def test_a_stopped_guest_gets_the_disk_for_its_next_start(rig: Rig, make_guest: GuestMaker) -> None:
    guest, volume = make_guest(booted=False), rig.volume()
    row = rig.attach(adopted(rig, guest), volume)
    assert disk(guest, row["alias"], INACTIVE) is not None
    guest.domain.create()
    seen = guest.console.wait_for(lambda disks: "vda" in disks, 60)["vda"]
    assert seen.serial == volume[:20]


def test_a_paused_guest_gets_the_disk_too(rig: Rig, make_guest: GuestMaker) -> None:
    guest, volume = make_guest(), rig.volume()
    instance = adopted(rig, guest)
    guest.domain.suspend()
    row = rig.attach(instance, volume)
    assert disk(guest, row["alias"]) is not None
    guest.domain.resume()
    guest.wait_for_disk("vda")


def test_a_guest_that_refuses_keeps_all_and_may_let_go_later(
    rig: Rig, make_guest: GuestMaker
) -> None:
    guest = make_guest()
    instance = adopted(rig, guest)
    row = rig.attach(instance, rig.volume())
    guest.domain.suspend()
    refused = rig.detach(row)
    assert (refused["state"], refused["fault"]["code"]) == (
        "failed",
        "block_device.guest_busy",
    )
    (kept,) = rig.call("list_block_devices", instance_uuid=instance)
    assert kept["status"] == "attached"
    assert kept["attachment_id"] is not None
    assert disk(guest, row["alias"], INACTIVE) is not None
    assert rig.call("get_volume", volume_id=row["volume_id"])["status"] == "in-use"
    guest.domain.resume()
    rig.wait_for_event("instance.volume_detach.end")
    (own,) = [
        found
        for found in rig.call("list_operations", instance_uuid=instance)
        if found["own"] and found["method"] == "detach_volume"
    ]
    assert own["state"] == "succeeded"
    assert rig.call("list_block_devices", instance_uuid=instance) == []
    assert disk(guest, row["alias"], INACTIVE) is None
    assert rig.call("get_volume", volume_id=row["volume_id"])["status"] == "available"


def test_vm_state_follows_what_other_hands_do(rig: Rig, make_guest: GuestMaker) -> None:
    guest = make_guest()
    instance = adopted(rig, guest)
    for act, state in (
        (guest.domain.suspend, "paused"),
        (guest.domain.resume, "active"),
        (guest.domain.destroy, "stopped"),
    ):
        act()
        rig.wait_for(partial(_powered, state))
        assert rig.call("get_instance", instance_uuid=instance)["vm_state"] == state


def _powered(state: str, update: dict[str, Any]) -> bool:
    told = update["event_type"] == "instance.power"
    return told and bool(update["payload"]["vm_state"] == state)


def test_a_second_delivery_changes_nothing_and_another_request_is_refused(
    rig: Rig, make_guest: GuestMaker
) -> None:
    guest = make_guest()
    instance = adopted(rig, guest)
    row = rig.reserve(instance, rig.volume())
    operation, same = new_uuid(), {"instance_uuid": instance, "bdm_uuid": row["uuid"]}
    for _ in range(3):
        rig.cast("attach_volume", operation_id=operation, **same)
    assert rig.end_of(operation)["state"] == "succeeded"
    rig.cast("attach_volume", operation_id=operation, **same | {"bdm_uuid": new_uuid()})
    refused = rig.wait_for_event("operation.refused", operation)
    assert refused["payload"]["fault"]["code"] == "operation.conflict"
    assert rig.events(operation) == [
        "instance.volume_attach.start",
        "instance.volume_attach.end",
        "operation.refused",
    ]


def test_the_local_socket_serves_the_same_table(
    make_rig: MakeRig, make_guest: GuestMaker, tmp_path: Path
) -> None:
    rig, guest = make_rig(), make_guest(booted=False)
    instance = adopted(rig, guest)
    socket = tmp_path / rig.host / "control.sock"
    assert socket.stat().st_mode & 0o777 == 0o600
    assert rig.call("list_instances")[0]["uuid"] == instance
