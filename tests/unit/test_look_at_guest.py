"""A look at a guest: what the worker must ask of itself to follow it."""

from dataclasses import replace

import pytest

from tests import fakes
from tests.fakes.world import World
from tests.unit import scenes
from tests.unit.scenes import DEVICE, INSTANCE, VOLUME, operation, run
from worker.errors import (
    AttachmentMismatch,
    HypervisorRefused,
    HypervisorUnavailable,
    WorkerError,
)
from worker.handlers.detach_volume import DetachVolume
from worker.handlers.heal_ghost import HealGhost
from worker.handlers.look_at_guest import OwnRequest, look_at_guest, look_for_ghosts
from worker.handlers.sync_power_state import SyncPowerState
from worker.model.block_device import DeviceStatus
from worker.model.instance import TaskState, VmState
from worker.model.operation import Fault

SYNC = SyncPowerState(instance_uuid=INSTANCE)
FINISH = DetachVolume(instance_uuid=INSTANCE, volume_id=VOLUME, bdm_uuid=DEVICE)


@pytest.fixture
def refused() -> World:
    """A world in which the guest has refused to let go."""
    world = scenes.world()
    scenes.attach(world)
    world.guests[INSTANCE].busy = True
    run(world, operation("detach_volume", **scenes.detach_arguments()))
    return world


def look(world: World, *, in_doubt: bool = False) -> tuple[OwnRequest, ...]:
    ports = fakes.ports(world)
    ghosts = look_for_ghosts(INSTANCE, ports) if in_doubt else ()
    return look_at_guest(INSTANCE, ports) + ghosts


def test_a_guest_that_is_as_the_rows_say_needs_nothing() -> None:
    world = scenes.world()
    scenes.attach(world)

    assert look(world) == ()


def test_a_guest_that_is_not_in_our_care_is_none_of_our_business() -> None:
    world = scenes.world(VmState.PAUSED)
    world.instances.clear()

    assert look(world) == ()


def test_a_guest_that_is_being_destroyed_is_not_followed() -> None:
    world = scenes.world(VmState.STOPPED)
    world.instances[INSTANCE] = replace(
        world.instances[INSTANCE], vm_state=VmState.ACTIVE, task_state=TaskState.DELETING
    )

    assert look(world) == ()


@pytest.mark.parametrize("state", [VmState.PAUSED, VmState.STOPPED])
def test_a_guest_that_does_something_else_is_followed(state: VmState) -> None:
    world = scenes.world()
    world.guests[INSTANCE].vm_state = state

    assert look(world) == (SYNC,)


def test_a_guest_that_is_gone_is_followed() -> None:
    world = scenes.world()
    world.guests.clear()

    assert look(world) == (SYNC,)


def test_a_state_that_only_the_worker_knows_is_not_followed() -> None:
    world = scenes.world()
    world.instances[INSTANCE] = replace(world.instances[INSTANCE], vm_state=VmState.RESCUED)
    world.guests[INSTANCE].vm_state = VmState.STOPPED

    assert look(world) == ()


def test_a_disk_that_the_guest_still_keeps_is_left_to_it(refused: World) -> None:
    assert look(refused) == ()


def test_a_detach_that_the_guest_allowed_too_late_is_finished(refused: World) -> None:
    refused.guests[INSTANCE].live.clear()

    assert look(refused) == (FINISH,)


@pytest.mark.parametrize("gone", [True, False])
def test_so_is_one_of_a_guest_that_has_stopped_since(refused: World, *, gone: bool) -> None:
    if gone:
        refused.guests.clear()
    else:
        refused.guests[INSTANCE].vm_state = VmState.STOPPED

    assert look(refused) == (SYNC, FINISH)


def test_a_disk_that_nobody_asked_to_detach_is_left_alone() -> None:
    world = scenes.world()
    scenes.attach(world)
    world.guests[INSTANCE].live.clear()

    assert look(world) == ()


def test_a_disk_that_no_operation_named_is_left_alone() -> None:
    world = scenes.world()
    scenes.attach(world)
    world.guests[INSTANCE].live.clear()
    world.operations.clear()

    assert look(world) == ()


def test_a_row_that_is_not_attached_is_left_alone(refused: World) -> None:
    refused.guests[INSTANCE].live.clear()
    refused.rows[DEVICE] = replace(refused.rows[DEVICE], status=DeviceStatus.ERROR)

    assert look(refused) == ()


@pytest.mark.parametrize("error", [HypervisorUnavailable, HypervisorRefused])
def test_a_guest_that_was_asked_before_libvirt_went_away_may_let_go_late(
    refused: World, error: type[WorkerError]
) -> None:
    (last,) = [op for op in refused.operations.values() if op.method == "detach_volume"]
    refused.operations[last.id] = replace(last, fault=Fault(code=error.code, message=""))
    refused.guests[INSTANCE].live.clear()

    assert look(refused) == (FINISH,)


def test_a_detach_that_was_refused_before_the_guest_was_asked_is_not_finished(
    refused: World,
) -> None:
    (last,) = [op for op in refused.operations.values() if op.method == "detach_volume"]
    fault = Fault(code=AttachmentMismatch.code, message="")
    refused.operations[last.id] = replace(last, fault=fault)
    refused.guests[INSTANCE].live.clear()

    assert look(refused) == ()


def with_ghost(alias: str) -> World:
    world = scenes.world()
    scenes.attach(world)
    run(world, operation("detach_volume", **scenes.detach_arguments()))
    world.guests[INSTANCE].ghosts.add(alias)
    return world


def test_a_ghost_of_ours_is_looked_for_only_in_a_guest_that_is_in_doubt() -> None:
    world = with_ghost(f"ua-{VOLUME}")

    assert look(world) == ()
    assert look(world, in_doubt=True) == (HealGhost(instance_uuid=INSTANCE, alias=f"ua-{VOLUME}"),)


def test_an_alias_that_only_looks_like_ours_is_left_alone() -> None:
    assert look(with_ghost("ua-a-stranger"), in_doubt=True) == ()


def test_a_disk_that_the_hypervisor_knows_is_no_ghost() -> None:
    world = scenes.world()
    scenes.attach(world)

    assert look(world, in_doubt=True) == ()


def heal(world: World) -> None:
    asked = operation("heal_ghost", number=9, instance_uuid=INSTANCE, alias=f"ua-{VOLUME}")
    assert run(world, asked).fault is None


def test_a_ghost_is_told_and_removed() -> None:
    world = with_ghost(f"ua-{VOLUME}")
    heal(world)

    assert world.guests[INSTANCE].ghosts == set()
    assert world.events()[-1] == "block_device.ghost"


def test_a_ghost_that_is_gone_by_itself_is_not_told() -> None:
    world = with_ghost(f"ua-{VOLUME}")
    world.guests[INSTANCE].ghosts.clear()
    heal(world)

    assert "block_device.ghost" not in world.events()


def test_a_disk_that_the_guest_is_meant_to_have_is_told_and_stays() -> None:
    world = scenes.world()
    scenes.attach(world)
    guest = world.guests[INSTANCE]
    guest.live.clear()
    guest.ghosts.add(f"ua-{VOLUME}")
    heal(world)

    assert guest.ghosts == {f"ua-{VOLUME}"}
    assert world.events()[-1] == "block_device.ghost"
