"""Power: ``vm_state`` follows the guest, whoever stopped or started it."""

from dataclasses import replace

import pytest

from tests.fakes.world import World
from tests.unit import scenes
from tests.unit.scenes import INSTANCE, operation, run
from worker.errors import InstanceNotFound
from worker.model.instance import VmState
from worker.model.operation import OperationState

ASKED = operation("sync_power_state", instance_uuid=INSTANCE)
FOLLOWED = [VmState.ACTIVE, VmState.PAUSED, VmState.STOPPED]


def world_of(*, kept: VmState, real: VmState) -> World:
    world = scenes.world(real)
    world.instances[INSTANCE] = replace(world.instances[INSTANCE], vm_state=kept)
    return world


@pytest.mark.parametrize("kept", FOLLOWED)
@pytest.mark.parametrize("real", FOLLOWED)
def test_the_row_follows_the_guest_and_a_change_is_told(kept: VmState, real: VmState) -> None:
    world = world_of(kept=kept, real=real)

    assert run(world, ASKED).state is OperationState.SUCCEEDED

    assert world == scenes.world(real)
    assert world.events() == (["instance.power"] if kept is not real else [])


def test_a_guest_that_is_gone_is_stopped() -> None:
    world = world_of(kept=VmState.ACTIVE, real=VmState.ACTIVE)
    del world.guests[INSTANCE]

    run(world, ASKED)

    assert world.instances[INSTANCE].vm_state is VmState.STOPPED


@pytest.mark.parametrize("kept", sorted(set(VmState) - set(FOLLOWED)))
def test_what_only_the_worker_knows_is_not_overwritten(kept: VmState) -> None:
    world = world_of(kept=kept, real=VmState.STOPPED)

    ended = run(world, ASKED)

    assert ended.state is OperationState.SUCCEEDED
    assert world.instances[INSTANCE].vm_state is kept
    assert world.events() == []
    assert world.steps == {}


def test_an_instance_that_is_not_ours_is_not_found() -> None:
    world = scenes.world()
    world.instances.clear()

    fault = run(world, ASKED).fault

    assert fault is not None
    assert fault.code == InstanceNotFound.code
