"""Interfaces and host devices over the bus, on a guest that says what it sees."""

from collections.abc import Callable
from typing import Any

import libvirt
import pytest
from lxml import etree

from tests.guests import BOOT_TIMEOUT, Guest, GuestMaker
from tests.rig import MIB, Json, Rig
from worker.model.guest import Layout
from worker.model.ids import new_uuid
from worker.virt.xml.layout import read_layout

INACTIVE = libvirt.VIR_DOMAIN_XML_INACTIVE
MAC = "52:54:00:12:34:56"
CARD = "pci:00fe:03:1f.7"
"""No host has a PCI device there: one that it had would be taken from its driver."""


def adopted(rig: Rig, guest: Guest) -> Guest:
    answer: Json = rig.call("adopt_instance", domain=guest.name)
    # One without disks or interfaces has nothing to be marked.
    operation = answer["operation_id"]
    assert operation is None or rig.end_of(operation)["state"] == "succeeded"
    return guest


@pytest.fixture
def guest(rig: Rig, make_guest: GuestMaker) -> Guest:
    """A guest that runs, and is the worker's."""
    return adopted(rig, make_guest(ports=6))


def attach(rig: Rig, guest: Guest, **more: Any) -> Json:  # noqa: ANN401
    arguments = {"port_id": new_uuid(), "network": "user", "mac_address": MAC} | more
    operation = rig.cast("attach_interface", instance_uuid=guest.uuid, **arguments)
    ended = rig.end_of(operation)
    assert ended["state"] == "succeeded", ended
    end = rig.wait_for_event("instance.interface_attach.end", operation)
    row: Json = end["payload"]["peripheral"]
    return row


def detach(rig: Rig, guest: Guest, **meant: Any) -> Json:  # noqa: ANN401
    return rig.run("detach_interface", instance_uuid=guest.uuid, **meant)


def rows(rig: Rig, guest: Guest) -> list[Json]:
    found: list[Json] = rig.call("list_peripherals", instance_uuid=guest.uuid)
    return found


def layouts(guest: Guest) -> list[Layout]:
    flags = [0, INACTIVE] if guest.runs else [INACTIVE]
    return [read_layout(guest.domain.XMLDesc(flag)) for flag in flags]


def interfaces(guest: Guest) -> list[dict[str | None, str]]:
    """Return, live and persistent, which alias is where."""
    return [{one.alias: str(one.address) for one in each.interfaces} for each in layouts(guest)]


def wait_for(guest: Guest, *names: str) -> dict[str, str]:
    """Return the MACs that the guest sees, once it sees interfaces of these names alone."""
    return guest.console.wait_for_interfaces(lambda seen: set(seen) == set(names), BOOT_TIMEOUT)


def test_of_two_interfaces_with_one_mac_each_comes_and_goes_by_itself(
    rig: Rig, guest: Guest
) -> None:
    first = attach(rig, guest)
    assert wait_for(guest, "eth0") == {"eth0": MAC}
    second = attach(rig, guest)
    assert wait_for(guest, "eth0", "eth1") == {"eth0": MAC, "eth1": MAC}

    assert first["alias"] == f"ua-{first['port_id']}"
    assert first["address"] != second["address"]
    assert interfaces(guest) == [{row["alias"]: row["address"] for row in (first, second)}] * 2
    assert rows(rig, guest) == [first, second]

    ended = detach(rig, guest, port_id=first["port_id"])

    assert ended["state"] == "succeeded"
    assert wait_for(guest, "eth1") == {"eth1": MAC}
    assert interfaces(guest) == [{second["alias"]: second["address"]}] * 2
    assert rows(rig, guest) == [second]
    rig.wait_for_event("instance.interface_detach.end", ended["operation_id"])
    told = rig.events(ended["operation_id"])
    assert told == ["instance.interface_detach.start", "instance.interface_detach.end"]


def test_an_interface_is_where_it_was_after_a_cold_start_and_goes_then(
    rig: Rig, guest: Guest
) -> None:
    first, second = attach(rig, guest), attach(rig, guest, mac_address=None)
    detach(rig, guest, port_id=first["port_id"])
    before = interfaces(guest)
    # What it was given while the first was there would be another place without it.
    assert rig.run("stop_instance", instance_uuid=guest.uuid)["state"] == "succeeded"
    assert rig.run("start_instance", instance_uuid=guest.uuid)["state"] == "succeeded"
    assert wait_for(guest, "eth0") == {"eth0": second["mac_address"]}
    assert interfaces(guest) == before

    assert detach(rig, guest, port_id=second["port_id"])["state"] == "succeeded"
    assert wait_for(guest) == {}
    assert (interfaces(guest), rows(rig, guest)) == ([{}, {}], [])


def test_a_disk_and_an_interface_are_never_given_one_place(rig: Rig, guest: Guest) -> None:
    nic = attach(rig, guest)
    disk = rig.reserve(guest.uuid, rig.volume(2 * MIB))
    other = attach(rig, guest)
    assert (
        rig.run("attach_volume", instance_uuid=guest.uuid, bdm_uuid=disk["uuid"])["fault"] is None
    )
    (alone,) = {str(device.address) for device in layouts(guest)[0].disks}
    assert len({nic["address"], other["address"], alone}) == 3
    assert wait_for(guest, "eth0", "eth1").keys() == {"eth0", "eth1"}
    guest.wait_for_disk("vda")


def test_an_interface_for_which_the_host_has_no_bridge_leaves_nothing(
    rig: Rig, guest: Guest
) -> None:
    ended = rig.run(
        "attach_interface",
        instance_uuid=guest.uuid,
        port_id=new_uuid(),
        network="bridge",
        target="br-nobody",
    )
    assert (ended["state"], ended["fault"]["code"]) == ("failed", "hypervisor.refused")
    assert (interfaces(guest), rows(rig, guest)) == ([{}, {}], [])
    rig.wait_for_event("instance.interface_attach.error", ended["operation_id"])
    told = rig.events(ended["operation_id"])
    assert told == ["instance.interface_attach.start", "instance.interface_attach.error"]


def test_a_guest_that_keeps_its_interface_keeps_its_row(rig: Rig, guest: Guest) -> None:
    nic = attach(rig, guest)
    wait_for(guest, "eth0")
    before = interfaces(guest)
    guest.domain.suspend()
    ended = detach(rig, guest, port_id=nic["port_id"])
    assert (ended["state"], ended["fault"]["code"]) == ("failed", "block_device.guest_busy")
    assert (interfaces(guest), rows(rig, guest)) == (before, [nic])


@pytest.fixture
def foreign(make_guest: GuestMaker) -> Callable[[], Guest]:
    """Makes a guest with two interfaces of one MAC that nothing of ours has made."""

    def make() -> Guest:
        guest = make_guest(ports=6, booted=False)
        tree = etree.fromstring(guest.domain.XMLDesc(INACTIVE))
        devices = tree.find("devices")
        assert devices is not None
        for _ in range(2):
            nic = f"<interface type='user'><mac address='{MAC}'/><model type='virtio'/></interface>"
            devices.append(etree.fromstring(nic))
        guest.domain.connect().defineXML(etree.tostring(tree, encoding="unicode"))
        guest.domain.create()
        guest.console.fresh(BOOT_TIMEOUT)
        return guest

    return make


@pytest.mark.parametrize("which", [0, 1])
def test_of_two_twins_of_other_hands_the_one_that_is_meant_goes_live(
    rig: Rig, foreign: Callable[[], Guest], which: int
) -> None:
    guest = adopted(rig, foreign())
    wait_for(guest, "eth0", "eth1")
    (meant, other) = [rows(rig, guest)[index] for index in (which, 1 - which)]
    assert meant["port_id"] is None
    at = {str(each.address): each for each in layouts(guest)[0].interfaces}
    assert all(not (each.alias or "").startswith("ua-") for each in at.values())

    ended = detach(rig, guest, peripheral_uuid=meant["uuid"])

    assert ended["state"] == "succeeded", ended
    live, kept = (layout.interfaces for layout in layouts(guest))
    assert live == (at[other["address"]],)
    assert [(each.alias, str(each.address)) for each in kept] == [
        (other["alias"], other["address"])
    ]
    assert rows(rig, guest) == [other]
    assert len(guest.console.wait_for_interfaces(lambda seen: len(seen) == 1, BOOT_TIMEOUT)) == 1


def test_a_host_device_is_kept_for_the_next_start_and_has_one_holder(
    rig: Rig, make_guest: GuestMaker
) -> None:
    first, second = (adopted(rig, make_guest(ports=6, booted=False)) for _ in range(2))
    given = rig.run("attach_host_device", instance_uuid=first.uuid, host_device=CARD)
    assert given["state"] == "succeeded", given
    (row,) = rows(rig, first)
    (shown,) = layouts(first)[0].host_devices
    assert (str(shown.source), shown.alias, str(shown.address)) == (
        row["host_device"],
        f"ua-{row['uuid']}",
        row["address"],
    )

    taken = rig.run("attach_host_device", instance_uuid=second.uuid, host_device=CARD)
    assert (taken["state"], taken["fault"]["code"]) == ("failed", "peripheral.taken")
    assert (layouts(second)[0].host_devices, rows(rig, second)) == ((), [])

    gone = rig.run("detach_host_device", instance_uuid=first.uuid, host_device=CARD)
    assert gone["state"] == "succeeded"
    assert (layouts(first)[0].host_devices, rows(rig, first)) == ((), [])
    again = rig.run("attach_host_device", instance_uuid=second.uuid, host_device=CARD)
    assert again["state"] == "succeeded", again


def test_a_host_device_that_the_host_lacks_leaves_nothing(rig: Rig, guest: Guest) -> None:
    ended = rig.run("attach_host_device", instance_uuid=guest.uuid, host_device=CARD)
    assert (ended["state"], ended["fault"]["code"]) == ("failed", "hypervisor.refused")
    assert [layout.host_devices for layout in layouts(guest)] == [(), ()]
    assert rows(rig, guest) == []
