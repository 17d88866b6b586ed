"""Forget: an adopted guest is as it was before, and nobody's again."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.fakes.world import World
from tests.unit import adopt_scenes, peripheral_scenes, scenes
from tests.unit.adopt_scenes import adopted, adopting, guest_of_others
from tests.unit.alias_scenes import CARD
from tests.unit.scenes import (
    INSTANCE,
    OTHER_DEVICE,
    OTHER_VOLUME,
    Refusing,
    Trouble,
    operation,
    run,
)
from worker.errors import HypervisorUnavailable
from worker.model.guest import GuestHostDevice
from worker.model.host_device import HostDevice
from worker.model.instance import TaskState, VmState
from worker.model.operation import Fault, Operation, OperationState
from worker.model.specification import Specification


def forget(world: World, number: int = 1) -> Operation:
    return run(world, operation("forget_instance", number, instance_uuid=INSTANCE))


def code_of(fault: Fault | None) -> str | None:
    return None if fault is None else fault.code


@pytest.mark.parametrize("state", [VmState.STOPPED, VmState.ACTIVE])
def test_the_layout_is_as_it_was_and_no_row_is_left(state: VmState) -> None:
    world = adopted(state)
    assert forget(world).fault is None
    assert world == guest_of_others(state)
    assert world.events()[-2:] == ["instance.forget.start", "instance.forget.end"]


def test_one_that_was_on_no_autostart_does_not_come_on_it() -> None:
    world = guest_of_others()
    world.guests[INSTANCE].autostart = False
    adopt_scenes.adopt(world)
    adopt_scenes.settle(world)
    assert forget(world).fault is None
    assert not world.guests[INSTANCE].autostart


def test_what_an_attach_or_a_start_took_off_the_autostart_comes_on_it_again() -> None:
    world = adopted()
    world.guests[INSTANCE].persistent = {
        alias: disk
        for alias, disk in world.guests[INSTANCE].persistent.items()
        if disk.target != "vdb"
    }
    run(world, operation("start_instance", 2, instance_uuid=INSTANCE))
    assert not world.guests[INSTANCE].autostart
    assert forget(world).fault is None
    assert world.guests[INSTANCE].autostart


def test_marks_that_other_hands_changed_stay() -> None:
    world = adopted()
    guest = world.guests[INSTANCE]
    (root,) = [disk for disk in guest.persistent.values() if disk.target == "vda"]
    guest.persistent[root.alias] = replace(root, serial="THEIRS")
    assert forget(world).fault is None
    (left,) = [disk for disk in guest.persistent.values() if disk.target == "vda"]
    assert (left.alias, left.serial) == ("", "THEIRS")


def test_a_disk_that_other_hands_took_away_is_no_hindrance() -> None:
    world = adopted()
    guest = world.guests[INSTANCE]
    guest.persistent = {
        alias: disk for alias, disk in guest.persistent.items() if disk.target != "vda"
    }
    assert forget(world).fault is None
    assert not world.rows


def test_a_domain_that_is_gone_is_forgotten_all_the_same() -> None:
    world = adopted()
    del world.guests[INSTANCE]
    assert forget(world).fault is None
    assert (world.rows, world.instances) == ({}, {})


def test_a_guest_that_cannot_be_looked_at_at_all_is_left_to_an_operator() -> None:
    ended = run(
        adopted(),
        operation("forget_instance", instance_uuid=INSTANCE),
        Refusing("guests.describe"),
    )
    assert ended.state is OperationState.STUCK


def test_a_domain_that_went_meanwhile_needs_no_marks_again() -> None:
    world = adopted()

    def lose(step: str) -> Exception:
        world.guests.clear()
        return HypervisorUnavailable(step)

    asked = operation("forget_instance", instance_uuid=INSTANCE)
    ended = run(world, asked, Trouble(at=1, error=lose))
    assert ended.state is OperationState.FAILED
    assert len(world.rows) == 3


def build_it(world: World) -> None:
    instance = world.instances[INSTANCE]
    built = replace(instance, specification=Specification(vcpus=1, memory=64), adoption=None)
    world.instances[INSTANCE] = built


def attach_to_it(world: World) -> None:
    scenes.attach(world, OTHER_VOLUME, OTHER_DEVICE)


def give_it_an_interface(world: World) -> None:
    assert run(world, peripheral_scenes.attach_asked(number=300)).fault is None


def give_it_a_stick(world: World) -> None:
    assert run(world, peripheral_scenes.give_asked(number=300)).fault is None


def attach_to_one_of_an_older_release(world: World) -> None:
    world.instances[INSTANCE] = replace(world.instances[INSTANCE], adoption=None)


@pytest.mark.parametrize(
    "become",
    [
        build_it,
        attach_to_it,
        attach_to_one_of_an_older_release,
        give_it_an_interface,
        give_it_a_stick,
    ],
)
def test_what_we_made_is_not_forgotten(become: Callable[[World], None]) -> None:
    world = adopted()
    become(world)
    before = world.copy()
    assert code_of(forget(world).fault) == "instance.wrong_state"
    assert world == before


def test_an_operation_that_has_not_ended_is_waited_for() -> None:
    world = adopting()
    asked = replace(adopt_scenes.marking(), id=operation("x", 77).id)
    world.operations[asked.id] = asked
    before = world.copy()
    assert code_of(forget(world).fault) == "operation.blocked"
    assert world == before


def test_one_that_moved_is_forgotten_whoever_made_it() -> None:
    world = adopted()
    build_it(world)
    adopt_scenes.release(world)
    assert world.instances[INSTANCE].task_state == TaskState.RELEASED
    assert forget(world).fault is None
    assert (world.rows, world.instances) == ({}, {})


def with_a_card() -> World:
    world = guest_of_others()
    assert isinstance(CARD.what, HostDevice)
    card = GuestHostDevice(source=CARD.what, alias=None, address=CARD.address)
    world.guests[INSTANCE].persistent_peripherals["?card"] = card
    return world


def test_a_host_device_that_it_had_before_stays_with_it() -> None:
    world, before = with_a_card(), with_a_card().guests
    adopt_scenes.adopt(world)
    adopt_scenes.settle(world)
    assert len(world.peripherals) == 3
    assert forget(world).fault is None
    assert dict(world.guests[INSTANCE].persistent_peripherals) == {
        one.alias or f"?{one.address}": one
        for one in before[INSTANCE].persistent_peripherals.values()
    }


def test_one_that_a_migration_took_in_stays_with_it() -> None:
    world = with_a_card()
    adopt_scenes.adopt(world)
    adopt_scenes.settle(world)
    older(world)
    assert run(world, operation("migrate_aliases", 71, instance_uuid=INSTANCE)).fault is None
    assert len(world.peripherals) == 3
    assert forget(world).fault is None
    assert world.peripherals == {}


def older(world: World) -> None:
    """Make it one that a release adopted which kept no rows but of disks."""
    instance, guest = world.instances[INSTANCE], world.guests[INSTANCE]
    assert instance.adoption is not None
    adoption = replace(instance.adoption, peripherals=False)
    world.instances[INSTANCE] = replace(instance, adoption=adoption)
    world.peripherals.clear()
    guest.persistent_peripherals = with_a_card().guests[INSTANCE].persistent_peripherals
