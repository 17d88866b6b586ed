"""Start, stop and reboot of a guest that tells what it sees; and the host booted under it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import libvirt
import pytest
from lxml import etree

from tests.chaos.stage import soon
from tests.functional.rigs import MakeRig
from tests.guests import BOOT_TIMEOUT, Guest, GuestMaker
from tests.processes import SOON, Served, configure
from tests.rig import Rig
from worker.model.ids import new_uuid

INACTIVE = libvirt.VIR_DOMAIN_XML_INACTIVE
ASKED_FOR = 30.0


def disks(guest: Guest, flags: int = 0) -> dict[str, str]:
    """Return each disk with an alias of ours, whole, as text that compares."""
    found = {}
    for disk in etree.fromstring(guest.domain.XMLDesc(flags)).iter("disk"):
        alias = disk.find("alias")
        # libvirt numbers what runs anew at each start.
        for part in (*disk.iter("backingStore"), *disk.iter("source")):
            part.attrib.pop("index", "")
        if alias is not None and str(alias.get("name")).startswith("ua-"):
            found[str(alias.get("name"))] = etree.tostring(disk, encoding="unicode").strip()
    return found


def with_volumes(rig: Rig, guest: Guest, count: int) -> list[dict[str, Any]]:
    rig.call("adopt_instance", domain=guest.name)
    return [rig.attach(guest.uuid, rig.volume()) for _ in range(count)]


def sees(guest: Guest, rows: list[dict[str, Any]]) -> bool:
    serials = sorted(row["serial"][:20] for row in rows)
    told = guest.console.wait_for(
        lambda found: sorted(disk.serial for disk in found.values()) == serials, BOOT_TIMEOUT
    )
    return len(told) == len(rows)


def run(rig: Rig, guest: Guest, method: str, **arguments: Any) -> None:  # noqa: ANN401
    ended = rig.run(method, instance_uuid=guest.uuid, **arguments)
    assert ended["state"] == "succeeded", ended


def tasks_told(rig: Rig) -> list[tuple[str, str | None]]:
    """Return the states that the updates about the guest's power told, in their order."""
    kinds = ("instance.stop.", "instance.start.", "instance.reboot.")
    rig.wait_for_event("instance.reboot.end")
    with rig.heard:
        heard = [one for one in rig.updates if one["event_type"].startswith(kinds)]
    return [(one["event_type"], one["payload"]["task_state"]) for one in heard]


def made(rig: Rig, method: str, guest: Guest) -> list[str]:
    """Return the steps of the last operation of that method."""
    last = rig.call("list_operations", instance_uuid=guest.uuid)
    which = next(one["operation_id"] for one in last if one["method"] == method)
    return [step["name"] for step in rig.call("get_operation", operation_id=which)["steps"]]


def test_every_disk_is_the_same_after_a_stop_a_start_and_both_reboots(
    make_rig: MakeRig, make_guest: GuestMaker
) -> None:
    rig, guest = make_rig(hypervisor__shutdown_timeout=ASKED_FOR), make_guest()
    rows = with_volumes(rig, guest, 2)
    assert sees(guest, rows)
    before, kept = disks(guest), disks(guest, INACTIVE)

    run(rig, guest, "stop_instance")
    assert not guest.runs
    assert rig.call("get_instance", instance_uuid=guest.uuid)["task_state"] is None
    assert "power.cut" not in made(rig, "stop_instance", guest)
    assert rig.call("get_instance", instance_uuid=guest.uuid)["vm_state"] == "stopped"

    for method, arguments in [
        ("start_instance", {}),
        ("reboot_instance", {}),
        ("reboot_instance", {"hard": True}),
    ]:
        run(rig, guest, method, **arguments)
        assert sees(guest, rows)
        assert disks(guest) == before
        assert disks(guest, INACTIVE) == kept
    assert tasks_told(rig)[:5] == [
        ("instance.stop.start", "powering-off"),
        ("instance.stop.end", None),
        ("instance.start.start", "powering-on"),
        ("instance.start.end", None),
        ("instance.reboot.start", "rebooting"),
    ]
    assert rig.call("get_instance", instance_uuid=guest.uuid)["vm_state"] == "active"
    assert rig.call("find_drift", instance_uuid=guest.uuid)["differences"] == []


def test_a_volume_that_cannot_be_reached_is_left_out_and_comes_back_where_it_was(
    make_rig: MakeRig, make_guest: GuestMaker, tmp_path: Path
) -> None:
    rig, guest = make_rig(hypervisor__missing_volume_interval=1.0), make_guest(booted=False)
    rows = with_volumes(rig, guest, 2)
    lost, other = rows
    (file,) = tmp_path.glob(f"*/volumes/*{lost['volume_id']}*")
    away = file.rename(file.with_suffix(".away"))
    before = disks(guest, INACTIVE)

    run(rig, guest, "start_instance")
    assert sees(guest, [other])
    assert set(disks(guest, INACTIVE)) == {other["alias"]}
    told = rig.wait_for_event("block_device.missing")["payload"]
    assert told["block_device"]["uuid"] == lost["uuid"]
    assert told["block_device"]["status"] == "missing"
    assert told["fault"]["code"] == "connector.failed"
    (found,) = rig.call("find_drift", instance_uuid=guest.uuid)["differences"]
    assert found["kind"] == "missing"

    away.rename(file)
    told = rig.wait_for_event("block_device.returned")["payload"]
    assert told["block_device"]["status"] == "attached"
    assert sees(guest, rows)
    assert disks(guest, INACTIVE) == before
    assert rig.call("find_drift", instance_uuid=guest.uuid)["differences"] == []


@pytest.fixture
def served(libvirtd: str, tmp_path: Path) -> Iterator[Served]:
    """A worker's process, killed at the end if it still runs."""
    found = configure(tmp_path / "state", libvirtd)
    found.start()
    yield found
    if found.process is not None and found.process.poll() is None:
        found.kill()


def boot_under(served: Served, guest: Guest) -> None:
    """Have the host go down under worker and guest, as far as either can tell."""
    served.kill()
    guest.domain.destroy()
    (served.state / "boot-id").write_text(new_uuid())
    served.start()


def state_of(served: Served, guest: Guest) -> str:
    return str(served.client.call("get_instance", instance_uuid=guest.uuid)["vm_state"])


def is_off(guest: Guest) -> bool:
    return not guest.runs


def test_what_nobody_followed_is_seen_at_the_end_of_an_operation(
    served: Served, make_guest: GuestMaker
) -> None:
    guest = make_guest(booted=False)
    served.client.call("adopt_instance", domain=guest.uuid)
    with closing(sqlite3.connect(served.state / "blockworker.sqlite", timeout=10)) as database:
        database.execute("update instances set vm_state='active'")
        database.commit()
    assert state_of(served, guest) == "active"
    ended = served.run("unrescue_instance", instance_uuid=guest.uuid)
    assert ended["fault"]["code"] == "instance.wrong_state"
    assert soon(lambda: state_of(served, guest) == "stopped", SOON)


def test_a_guest_that_ran_is_brought_back_after_a_boot_of_the_host_and_no_other(
    served: Served, make_guest: GuestMaker
) -> None:
    ran, stopped = make_guest(), make_guest(booted=False)
    for guest in (ran, stopped):
        served.client.call("adopt_instance", domain=guest.uuid)
    volume = new_uuid()
    assert served.run("create_volume", volume_id=volume, size=1 << 20)["fault"] is None
    row = served.client.call("reserve_block_device_name", instance_uuid=ran.uuid, volume_id=volume)
    ended = served.run("attach_volume", instance_uuid=ran.uuid, bdm_uuid=row["uuid"])
    assert ended["fault"] is None

    boot_under(served, ran)
    assert soon(lambda: ran.runs, SOON)
    assert sees(ran, [row])
    assert is_off(stopped)
    assert state_of(served, ran) == "active"

    # In the same boot, it was other hands.
    served.kill()
    ran.domain.destroy()
    served.start()
    assert soon(lambda: state_of(served, ran) == "stopped", SOON)
    assert is_off(ran)

    assert served.told("instance", "start", ran.uuid)["state"] == "succeeded"
    assert served.command("instance", "reboot", ran.uuid, "--hard").returncode == 0
    assert not is_off(ran)
    assert served.told("instance", "stop", ran.uuid, "--timeout", "0")["state"] == "succeeded"
    assert is_off(ran)
    refused = served.command("instance", "reboot", ran.uuid)
    assert (refused.returncode, "instance.wrong_state" in refused.stderr) == (1, True)
