"""Rows of interfaces and host devices where instances are built, adopted, let go and carried."""

import json
from dataclasses import replace
from typing import Any

import pytest

from tests import fakes
from tests.fakes.world import World
from tests.unit import adopt_scenes, build_scenes, peripheral_scenes, scenes
from tests.unit.adopt_scenes import adopt, adopted, export, import_asked, marking, to_import
from tests.unit.scenes import INSTANCE, OTHER_INSTANCE, Refusing, operation, run
from worker.errors import DeviceWrongState, RequestMalformed, StateKept
from worker.handlers.check_import import CheckImport, check_import
from worker.handlers.parts.lacking_peripherals import lacking_of
from worker.model.block_device import DeviceStatus
from worker.model.guest import GuestInterface
from worker.model.identity.alias import alias_of
from worker.model.ids import PortId
from worker.model.instance import VmState
from worker.model.moving.carried import read
from worker.model.peripheral import Peripheral
from worker.model.specification import Interface, InterfaceKind


def aliases(world: World) -> list[str | None]:
    return [one.alias for one in world.guests[INSTANCE].persistent_peripherals.values()]


def test_what_is_built_has_a_row_for_each_interface_where_the_guest_has_it() -> None:
    world = build_scenes.built()
    (row,) = world.peripherals.values()
    (shown,) = world.guests[INSTANCE].live_peripherals.values()
    assert row.status is DeviceStatus.ATTACHED
    assert (row.alias, row.address) == (shown.alias, shown.address)
    assert row.alias == alias_of(build_scenes.PORT)


def test_of_what_is_built_a_migration_makes_no_row_more() -> None:
    world = build_scenes.built()
    ports = fakes.ports(world)
    instance, guest = ports.instances.get(INSTANCE), ports.guests.describe(INSTANCE)
    assert lacking_of(instance, guest.persistent, ports).rows == ()


def test_an_interface_of_what_was_built_is_detached() -> None:
    world = build_scenes.built()
    (row,) = world.peripherals.values()
    asked = peripheral_scenes.detach_asked(PortId(build_scenes.PORT), row.uuid)
    assert run(world, asked).fault is None
    assert (aliases(world), world.peripherals) == ([], {})


def test_what_was_detached_and_purged_gets_no_row_again() -> None:
    world = build_scenes.built()
    (row,) = world.peripherals.values()
    asked = peripheral_scenes.detach_asked(PortId(build_scenes.PORT), row.uuid)
    assert run(world, asked).fault is None
    world.unplugged.clear()
    ports = fakes.ports(world)
    instance, guest = ports.instances.get(INSTANCE), ports.guests.describe(INSTANCE)
    assert lacking_of(instance, guest.persistent, ports).rows == ()


def test_a_build_that_is_stuck_says_so_of_its_interfaces() -> None:
    world = build_scenes.half_built()
    assert [row.status for row in world.peripherals.values()] == [DeviceStatus.ERROR]


@pytest.mark.parametrize("vm_state", [VmState.STOPPED, VmState.ACTIVE])
def test_what_is_adopted_has_a_row_for_each_interface_marked_for_the_next_start(
    vm_state: VmState,
) -> None:
    world = adopted(vm_state)
    first, second = world.peripherals.values()
    assert aliases(world) == [first.alias, second.alias]
    assert [row.former for row in (first, second)] == [None, "ua-their-net"]
    kinds = [row.what.kind for row in (first, second) if isinstance(row.what, Interface)]
    assert kinds == [InterfaceKind.USER, InterfaceKind.OTHER]


def test_an_adoption_names_them() -> None:
    answer = adopt(adopt_scenes.guest_of_others())
    assert [one["network"] for one in answer["peripherals"]] == ["user", "other"]


def test_an_interface_that_changed_meanwhile_is_no_adoption() -> None:
    world = adopt_scenes.adopting()
    guest = world.guests[INSTANCE]
    guest.persistent_peripherals = {
        key: replace(one, mac="x")
        for key, one in guest.persistent_peripherals.items()
        if isinstance(one, GuestInterface)
    }
    ended = run(world, marking())
    assert ended.fault is not None
    assert ended.fault.code == "block_device.ambiguous"
    assert world.peripherals == {}


@pytest.mark.parametrize("number", [0, 1])
def test_either_of_adopted_twins_is_detached_live_by_what_it_bears(number: int) -> None:
    world = adopted(VmState.ACTIVE)
    rows = list(world.peripherals.values())
    asked = replace(
        operation("detach_interface", instance_uuid=INSTANCE), block_device=rows[number].uuid
    )
    assert run(world, asked).fault is None
    guest, left = world.guests[INSTANCE], rows[1 - number]
    for place in (guest.live_peripherals, guest.persistent_peripherals):
        assert [one.address for one in place.values()] == [left.address]


def test_a_forget_takes_rows_and_aliases_out() -> None:
    world = adopted()
    assert run(world, operation("forget_instance", instance_uuid=INSTANCE)).fault is None
    assert (aliases(world), world.peripherals) == ([None, "ua-their-net"], {})


def test_an_import_has_them_as_they_were() -> None:
    world, document = to_import()
    before = read(document, "host-1").peripherals
    assert run(world, import_asked()).fault is None
    assert tuple(world.peripherals.values()) == before
    assert aliases(world) == [row.alias for row in before]


def test_a_check_names_them() -> None:
    world, document = to_import()
    answer = check_import(CheckImport(document=document), fakes.ports(world))
    assert len(answer["peripherals"]) == 2


def test_an_older_document_has_none() -> None:
    _, document = to_import()
    older = json.loads(document)
    del older["peripherals"]
    assert read(json.dumps(older), "host-1").peripherals == ()


@pytest.mark.parametrize(
    "wrong",
    [{"alias": "net0"}, {"instance_uuid": OTHER_INSTANCE}, {"network": "x"}, {"uuid": "x"}],
)
def test_what_is_no_row_is_no_document(wrong: dict[str, Any]) -> None:
    _, document = to_import()
    edited = json.loads(document)
    edited["peripherals"][0] |= wrong
    with pytest.raises(RequestMalformed):
        read(json.dumps(edited), "host-1")


def test_an_id_of_another_instance_is_refused() -> None:
    world, document = to_import()
    first, _ = read(document, "host-1").peripherals
    world.peripherals[first.uuid] = replace(first, instance=OTHER_INSTANCE)
    ended = run(world, import_asked())
    assert ended.fault is not None
    assert ended.fault.code == "block_device.id_taken"


def released(world: World) -> Peripheral:
    """Stop the guest; return the row of the first that it has."""
    guest = world.guests[INSTANCE]
    guest.vm_state, guest.live, guest.live_peripherals = VmState.STOPPED, {}, {}
    return next(iter(world.peripherals.values()))


def test_a_device_of_the_host_is_not_carried() -> None:
    world = peripheral_scenes.given()
    released(world)
    with pytest.raises(StateKept, match="usb:046d:c52b is a device of this host"):
        export(world)


def test_an_interface_on_its_way_is_not_carried() -> None:
    world = peripheral_scenes.attached()
    row = released(world)
    world.peripherals[row.uuid] = replace(row, status=DeviceStatus.DETACHING)
    with pytest.raises(DeviceWrongState, match="is detaching"):
        export(world)


def test_one_with_a_port_keeps_it() -> None:
    world = peripheral_scenes.attached()
    row = released(world)
    (carried,) = read(export(world), "host-1").peripherals
    assert carried == row


def test_a_build_that_fails_leaves_no_rows() -> None:
    world = build_scenes.empty()
    asked = operation("build_instance", **build_scenes.arguments())
    assert run(world, asked, Refusing("power.start")).fault is not None
    assert world.peripherals == {}
    assert scenes.INSTANCE not in world.guests
