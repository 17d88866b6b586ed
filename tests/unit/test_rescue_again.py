"""A rescue that is gone on with: what an earlier run has left it, and what it lacks by now."""

from dataclasses import replace

import pytest

from tests import fakes
from tests.fakes.world import World
from tests.unit import rescue_scenes
from tests.unit.rescue_runs import ALIAS, call, carry_out, changed, instance, refused, steps
from tests.unit.rescue_scenes import KERNEL, KERNEL_IMAGE, PASSWORD, RAMDISK, asked, back
from tests.unit.runs import fault_of
from tests.unit.scenes import AT_ONCE, INSTANCE, Crash, Refusing, Trouble, operation, run
from worker.errors import InstanceWrongState, Invalid, LeftBehind
from worker.execution import carry_out as carried_out
from worker.handlers.plan_rescue import PlanRescue, plan_rescue
from worker.model.ids import OperationId
from worker.model.instance import VmState
from worker.model.operation import Operation, OperationState
from worker.model.secret import Secret
from worker.rpc.methods import OPERATIONS

RESUME = operation("resume_instance", instance_uuid=INSTANCE)
NO_IMAGES = "images.fetch"
"""What fails of an image that is gone at its service, or has another content there."""


def cut_off(world: World, wanted: Operation, step: str) -> World:
    """Let the worker die as soon as the step is done."""
    at = call(world.copy(), wanted, step)
    with pytest.raises(Crash):
        run(world, wanted, Trouble(at=at, after=True, error=Crash))
    world.crash()
    return world


def is_like(world: World, other: World) -> bool:
    """Tell whether both are the same, but for when the guest was seen in rescue."""
    began = instance(other).rescue
    assert began is not None
    now = instance(world).rescue
    assert now is not None
    changed(world, rescue=replace(now, since=began.since))
    return rescue_scenes.slow(world) == other


# The images.


def test_after_a_boot_of_the_host_the_kernel_is_the_one_that_is_here() -> None:
    world = rescue_scenes.rescued_before_the_boot()
    carry_out(world, RESUME, Refusing(NO_IMAGES))
    assert world == rescue_scenes.rescued_from_volume()


def test_a_kernel_whose_copy_is_gone_is_fetched_again() -> None:
    world = rescue_scenes.rescued_before_the_boot()
    world.cached -= {KERNEL, RAMDISK}
    made = steps(world, carry_out(world, RESUME))
    assert made.count(NO_IMAGES) == 2
    assert world == rescue_scenes.rescued_from_volume()


def test_a_second_run_asks_for_no_image_that_the_first_had() -> None:
    wanted = asked(KERNEL_IMAGE)
    world = cut_off(rescue_scenes.boots_from_volume(), wanted, "local_disks.create")
    carry_out(world, wanted, Refusing(NO_IMAGES))
    assert is_like(world, rescue_scenes.rescued_from_volume())


def test_a_disk_that_the_first_run_did_not_make_is_made() -> None:
    world = cut_off(rescue_scenes.on(), asked(), "images.fetch")
    carry_out(world, asked())
    assert is_like(world, rescue_scenes.rescued())


def test_an_unrescue_goes_back_into_rescue_without_an_image() -> None:
    world = rescue_scenes.rescued_from_volume()
    before = world.copy()
    ended = run(world, back(), Refusing("power.start"), Refusing(NO_IMAGES))
    assert ended.state is OperationState.FAILED
    assert is_like(world, before)


# The key of its password.


class Loosened(fakes.FakeSeals):
    """The key file may be read by others."""

    def open(self, operation: OperationId, name: str, sealed: str) -> Secret:
        del operation, name, sealed
        message = "the key file may be read by others"
        raise Invalid(message)


def run_loosened(world: World, wanted: Operation) -> Operation:
    fakes.ports(world).operations.accept(wanted)
    kept = fakes.ports(world).operations.get(wanted.id)
    page = fakes.page(world, kept)
    page = replace(page, ports=replace(page.ports, seals=Loosened()))
    carried_out(kept, OPERATIONS, page, AT_ONCE)
    return fakes.ports(world).operations.get(wanted.id)


def test_one_that_had_begun_and_gets_no_request_is_stuck_and_gone_on_with_later() -> None:
    wanted = asked(password=PASSWORD)
    world = cut_off(rescue_scenes.built(), wanted, "power.ask_off")
    fault = fault_of(run_loosened(world, wanted), OperationState.STUCK)
    assert fault.code == LeftBehind.code
    assert "may be read by others; it had begun before" in fault.message
    assert "power.ask_off" in fault.message

    fakes.ports(world).stuck.reopen(wanted.id)
    carry_out(world, wanted)
    assert is_like(world, rescue_scenes.rescued_with_a_password())


def test_one_that_had_not_begun_has_failed() -> None:
    world = rescue_scenes.built()
    fault = fault_of(run_loosened(world, asked(password=PASSWORD)))
    assert fault.code == Invalid.code
    assert world == rescue_scenes.built()


# What an earlier rescue has left.


def half_in_rescue() -> World:
    world = rescue_scenes.rescued()
    changed(world, vm_state=VmState.ACTIVE)
    return world


def test_what_is_half_in_rescue_is_not_rescued_and_the_operation_is_named() -> None:
    message = refused(half_in_rescue(), asked(number=61), InstanceWrongState)
    assert str(asked().id) in message
    assert "retry or abandon it" in message


def test_neither_is_it_planned() -> None:
    with pytest.raises(InstanceWrongState, match="retry or abandon it"):
        plan_rescue(PlanRescue(instance_uuid=INSTANCE), fakes.ports(half_in_rescue()))


def test_a_boot_of_the_host_makes_no_rescue_of_half_a_one() -> None:
    world = half_in_rescue()
    guest = world.guests[INSTANCE]
    guest.vm_state, guest.live = VmState.STOPPED, {}
    carry_out(world, RESUME)
    assert guest.running
    assert ALIAS not in guest.live
    assert instance(world).vm_state is VmState.ACTIVE
