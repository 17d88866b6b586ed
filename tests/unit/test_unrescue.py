"""Unrescue: the guest is as it was before, or still in rescue."""

from collections.abc import Callable
from typing import Any

import pytest

from tests import fakes
from tests.fakes.world import World
from tests.unit import power_scenes, rescue_scenes
from tests.unit.rescue_runs import (
    ALIAS,
    carry_out,
    changed,
    image_gone,
    images_away,
    instance,
    refused,
    steps,
)
from tests.unit.rescue_scenes import USB_IMAGE, back
from tests.unit.runs import fault_of
from tests.unit.scenes import INSTANCE, Refusing, run
from worker.errors import (
    AttachmentNotFound,
    InstanceWrongState,
    LocalDiskUnavailable,
)
from worker.model.block_device import DeviceStatus
from worker.model.instance import VmState
from worker.model.operation import OperationState


@pytest.mark.parametrize(
    ("rescued", "before"),
    [
        (rescue_scenes.rescued, rescue_scenes.on),
        (rescue_scenes.rescued_while_off, rescue_scenes.off),
        (rescue_scenes.rescued_from_volume, rescue_scenes.boots_from_volume),
        (rescue_scenes.rescued_with_a_password, rescue_scenes.built),
        (rescue_scenes.rescued_and_off, rescue_scenes.on),
        (rescue_scenes.rescued_before_the_boot, rescue_scenes.boots_from_volume),
        (rescue_scenes.started_by_others, rescue_scenes.on),
    ],
)
def test_an_unrescue_leaves_the_world_as_it_was_before_the_rescue(
    rescued: Callable[[], World], before: Callable[[], World]
) -> None:
    world = rescued()
    carry_out(world, back())
    assert world == before()
    assert world.events()[-1] == "instance.unrescue.end"


def test_the_files_are_deleted_when_the_guest_is_as_it_was() -> None:
    world = rescue_scenes.rescued()
    made = steps(world, carry_out(world, back()))
    assert made.index("power.start") < made.index("local_disks.delete")


def test_one_that_other_hands_have_started_is_not_touched() -> None:
    world = rescue_scenes.started_by_others()
    made = steps(world, carry_out(world, back()))
    assert not [name for name in made if name.startswith("power.")]


def test_nor_is_one_that_was_off_before() -> None:
    world = rescue_scenes.rescued_while_off()
    guest = world.guests[INSTANCE]
    guest.live = dict(guest.persistent)
    carry_out(world, back())
    assert guest.running
    assert instance(world).vm_state is VmState.ACTIVE


def no_files(world: World) -> None:
    world.files.clear()


@pytest.mark.parametrize("spoil", [no_files, images_away, image_gone])
def test_what_only_the_rescue_needs_may_be_gone(spoil: Callable[[World], None]) -> None:
    world = rescue_scenes.rescued_from_volume()
    spoil_images(world)
    spoil(world)
    carry_out(world, back())
    assert instance(world).vm_state is VmState.ACTIVE
    assert ALIAS not in world.guests[INSTANCE].live


def spoil_images(world: World) -> None:
    for image in (rescue_scenes.KERNEL_IMAGE, rescue_scenes.KERNEL, USB_IMAGE):
        world.cached.discard(image)


def test_an_unrescue_that_fails_then_is_stuck_and_says_what_it_could_not_go_back_to() -> None:
    world = rescue_scenes.rescued_from_volume()
    world.files.clear()
    ended = run(world, back(), Refusing("power.start"))
    assert ended.state is OperationState.STUCK
    assert "run in rescue again" in fault_of(ended, OperationState.STUCK).message
    fakes.ports(world).stuck.reopen(ended.id)
    carry_out(world, back())
    assert world == rescue_scenes.boots_from_volume()


def test_an_unrescue_whose_guest_does_not_start_leaves_it_in_rescue() -> None:
    world, before = rescue_scenes.rescued(), rescue_scenes.rescued()
    ended = run(world, back(), Refusing("power.start"))
    assert ended.state is OperationState.FAILED
    assert world == before
    assert world.events()[-1] == "instance.unrescue.error"


def test_what_a_start_would_fail_at_for_certain_is_said_while_it_is_in_rescue() -> None:
    world = rescue_scenes.rescued_from_volume()
    world.attachments.clear()
    refused(world, back(), AttachmentNotFound)
    local = rescue_scenes.rescued()
    del local.files[f"/local/{INSTANCE}/{power_scenes.LOCAL}"]
    refused(local, back(), LocalDiskUnavailable)


def test_of_one_that_was_off_and_stays_so_no_start_is_to_be_feared() -> None:
    world = rescue_scenes.rescued_while_off()
    del world.files[f"/local/{INSTANCE}/{power_scenes.LOCAL}"]
    carry_out(world, back())
    assert instance(world).vm_state is VmState.STOPPED


def test_a_domain_that_would_end_with_its_guest_is_left_in_rescue() -> None:
    world = rescue_scenes.rescued()
    world.guests[INSTANCE].transient = True
    refused(world, back(), InstanceWrongState)


def test_a_domain_that_vanishes_at_the_end_is_stopped() -> None:
    world = rescue_scenes.rescued_while_off()

    class Vanishing(Refusing):
        def __call__(self, name: str) -> Any:  # noqa: ANN401 - a context
            if name == "local_disks.tidy":
                world.guests.clear()
            return super().__call__(name)

    carry_out(world, back(), Vanishing("none"))
    assert instance(world).vm_state is VmState.STOPPED
    assert instance(world).rescue is None


def test_a_volume_that_is_away_is_left_out_and_told() -> None:
    world = rescue_scenes.rescued_with_a_password()
    (row,) = [row for row in world.rows.values() if row.volume is not None]
    world.connected.clear()
    world.unreachable.add(row.its_volume)
    carry_out(world, back())
    assert world.rows[row.uuid].status is DeviceStatus.MISSING
    assert "block_device.missing" in world.events()
    assert row.alias not in world.guests[INSTANCE].live


def test_one_of_whose_rescue_nothing_is_known_is_not_touched() -> None:
    world = rescue_scenes.rescued()
    changed(world, rescue=None)
    refused(world, back(), InstanceWrongState)
