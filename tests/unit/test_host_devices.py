"""Devices of the host given to instances and taken back."""

from dataclasses import replace
from typing import Any

import pytest

from tests import fakes
from tests.fakes.peripherals import shown_peripheral
from tests.fakes.world import World
from tests.unit import peripheral_scenes, scenes
from tests.unit.fake_worker import FakeWorker
from tests.unit.peripheral_scenes import EARLIER, STICK, give_asked, row, row_of, take_asked
from tests.unit.scenes import INSTANCE, OTHER_INSTANCE, run
from tests.unit.test_interfaces import finish, refused
from worker.model.block_device import DeviceStatus
from worker.model.identity.alias import alias_of
from worker.model.identity.lookup import DeviceKind
from worker.model.ids import OperationId
from worker.model.places.address import PciAddress, UsbAddress

CARD = "pci:0000:03:00.0"


def test_the_guest_has_it_under_the_rows_alias_on_a_port_of_its_own() -> None:
    world = peripheral_scenes.given()
    found, alias = row(world), alias_of(row_of(EARLIER))
    assert (found.status, found.alias) == (DeviceStatus.ATTACHED, alias)
    assert isinstance(found.address, UsbAddress)
    for place in (
        world.guests[INSTANCE].live_peripherals,
        world.guests[INSTANCE].persistent_peripherals,
    ):
        assert place == {alias: shown_peripheral(found)}


def test_a_pci_card_and_a_mediated_device_sit_where_disks_might() -> None:
    world = scenes.world()
    for number, device in enumerate((CARD, f"mdev:{scenes.VOLUME}"), start=1):
        assert run(world, give_asked(device, number)).fault is None
        assert isinstance(row(world, number).address, PciAddress)


def test_it_is_told() -> None:
    world = peripheral_scenes.given()
    assert world.events() == [
        "instance.host_device_attach.start",
        "instance.host_device_attach.end",
    ]
    assert world.told[-1].peripheral is not None
    assert world.told[-1].peripheral.public() == {
        "uuid": row_of(EARLIER),
        "instance_uuid": INSTANCE,
        "kind": "host_device",
        "host_device": STICK,
        "alias": alias_of(row_of(EARLIER)),
        "address": str(row(world).address),
        "status": "attached",
    }
    assert run(world, take_asked()).fault is None
    assert world.events()[2:] == [
        "instance.host_device_detach.start",
        "instance.host_device_detach.end",
    ]


@pytest.mark.parametrize("device", ["usb:1", "scsi:0", "", "pci:03:00.0", "usb:046D:C52B"])
def test_what_names_no_device_is_malformed(device: str) -> None:
    assert refused(scenes.world(), give_asked(device)) == "request.malformed"


def test_what_another_instance_has_is_refused() -> None:
    world = peripheral_scenes.given()
    held = row(world)
    world.peripherals[held.uuid] = replace(held, instance=OTHER_INSTANCE)
    guest = world.guests[INSTANCE]
    guest.live_peripherals, guest.persistent_peripherals = {}, {}
    assert refused(world, give_asked()) == "peripheral.taken"


def test_what_other_hands_have_given_to_the_guest_is_refused() -> None:
    world = given_by_other_hands()
    assert refused(world, give_asked()) == "block_device.ambiguous"


def given_by_other_hands() -> World:
    world = peripheral_scenes.given()
    for place in (
        world.guests[INSTANCE].live_peripherals,
        world.guests[INSTANCE].persistent_peripherals,
    ):
        (shown,) = place.values()
        place.clear()
        place["hostdev0"] = replace(shown, alias="hostdev0")
    world.peripherals.clear()
    return world


def test_two_ways_to_name_a_stick_are_two_names() -> None:
    world = peripheral_scenes.given()
    assert run(world, give_asked("usb:1.4", 1)).fault is None


def test_a_guest_without_a_usb_controller_is_refused() -> None:
    world = scenes.world()
    empty = fakes.ports(world).guests.describe(INSTANCE).live
    assert empty is not None
    places = {bus: found for bus, found in empty.places.items() if bus != "usb"}
    world.guests[INSTANCE].empty = replace(empty, places=places)
    assert refused(world, give_asked()) == "block_device.bus_unsupported"


def ask(world: World, **arguments: Any) -> None:  # noqa: ANN401 - as a caller would
    """Ask as a message does, and wait for the end."""
    worker = FakeWorker(world, guard=lambda: None)
    uuid = OperationId(f"{scenes.OPERATION[:-4]}0001")
    worker.call("detach_host_device", operation_id=uuid, instance_uuid=INSTANCE, **arguments)
    finish(worker)
    assert fakes.ports(world).operations.get(uuid).fault is None


@pytest.mark.parametrize(
    "named", [{"host_device": STICK}, {"peripheral_uuid": row_of(EARLIER)}], ids=["name", "row"]
)
def test_it_is_taken_back_by_its_name_or_its_row(named: dict[str, object]) -> None:
    world = peripheral_scenes.given()
    ask(world, **named)
    guest = world.guests[INSTANCE]
    assert (guest.live_peripherals, guest.persistent_peripherals) == ({}, {})
    assert world.peripherals == {}


def test_one_without_our_alias_is_found_by_its_name_and_its_place_and_counted() -> None:
    world = peripheral_scenes.given_before_our_alias()
    ask(world, host_device=STICK)
    guest = world.guests[INSTANCE]
    assert (guest.live_peripherals, guest.persistent_peripherals) == ({}, {})
    assert set(world.found_by_facts) == {DeviceKind.HOST_DEVICE}


def test_an_interface_is_no_host_device() -> None:
    asked = replace(take_asked(), block_device=row_of(EARLIER))
    assert refused(peripheral_scenes.attached(), asked) == "block_device.wrong_state"


def test_a_host_device_is_no_interface() -> None:
    asked = peripheral_scenes.detach_asked(None, row_of(EARLIER))
    assert refused(peripheral_scenes.given(), asked) == "block_device.wrong_state"
