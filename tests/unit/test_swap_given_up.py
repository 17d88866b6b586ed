"""A swap that an operator gave up: nobody gets the wrong volume, and none stays behind."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from tests import fakes
from tests.fakes.world import World
from tests.unit import scenes
from tests.unit.runs import fault_of
from tests.unit.scenes import (
    DEVICE,
    INSTANCE,
    OTHER_INSTANCE,
    OTHER_VOLUME,
    VOLUME,
    Refusing,
    operation,
    run,
)
from tests.unit.swap_scenes import GIVEN, asked, attached
from worker.errors import HypervisorRefused
from worker.handlers.abandon_operation import AbandonOperation
from worker.model.block_device import DeviceStatus
from worker.model.ids import OperationId, VolumeId
from worker.model.operation import Operation, OperationState
from worker.model.volume import Attachment, AttachmentStatus, VolumeStatus
from worker.rpc.methods import CALLS

ALIAS = f"ua-{VOLUME}"
OFF = operation("stop_instance", number=8, instance_uuid=INSTANCE, clean_shutdown=False)
ON = operation("start_instance", number=9, instance_uuid=INSTANCE)


class DiesInThePivot:
    """The guest goes over; then nobody can be asked about it any more."""

    def __init__(self) -> None:
        self.dead = False

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        if self.dead and name.startswith("block_copies"):
            raise HypervisorRefused(name)
        yield
        if name == "block_copies.pivot":
            self.dead = True
            raise HypervisorRefused(name)


def abandon(world: World, stuck: OperationId) -> None:
    request = AbandonOperation(operation_id=stuck)
    CALLS["abandon_operation"].handler(request, fakes.ports(world))
    world.commit()


def given_up(world: World) -> None:
    ended = run(world, asked(), Refusing("block_copies.pivot"), Refusing("block_copies.abort"))
    world.guests[INSTANCE].copies.clear()
    abandon(world, ended.id)


def gone_over() -> World:
    world = attached()
    ended = run(world, asked(), DiesInThePivot())
    assert ended.state is OperationState.STUCK
    abandon(world, ended.id)
    return world


def test_a_guest_that_went_over_starts_with_the_volume_that_it_wrote_to() -> None:
    world = gone_over()
    row = world.rows[DEVICE]
    assert (row.volume, row.volume_size) == (OTHER_VOLUME, 2)
    assert row.swap is not None
    assert row.swap.volume == VOLUME
    assert run(world, OFF).fault is None
    assert run(world, ON).fault is None
    source = world.guests[INSTANCE].live[ALIAS].source
    assert source.name == f"/dev/{OTHER_VOLUME}"
    assert not world.harm


def test_a_disk_that_other_hands_had_connected_has_no_record_of_that() -> None:
    world = attached()
    ended = run(world, asked(), DiesInThePivot())
    world.rows[DEVICE] = replace(world.rows[DEVICE], connection=None)
    world.connections.pop(DEVICE)
    abandon(world, ended.id)
    assert world.rows[DEVICE].volume == OTHER_VOLUME
    assert DEVICE in world.connections


def test_a_swap_asked_again_of_a_guest_that_went_over_ends_it() -> None:
    world = gone_over()
    again = run(world, asked(number=6))
    assert again.state is OperationState.SUCCEEDED, again.fault
    assert world.connected == {OTHER_VOLUME}
    assert list(world.connections) == [DEVICE]
    assert {one.volume for one in world.attachments.values()} == {OTHER_VOLUME}


def test_a_volume_that_was_not_connected_any_more_is_nobodys() -> None:
    world = attached()
    ended = run(world, asked(), Refusing("block_copies.pivot"), Refusing("block_copies.abort"))
    row = world.rows[DEVICE]
    assert row.swap is not None
    world.rows[DEVICE] = replace(row, swap=replace(row.swap, connection=None))
    abandon(world, ended.id)
    assert world.rows[DEVICE].volume == VOLUME


def test_one_whose_guest_has_lost_the_disk_names_both_sides() -> None:
    world = attached()
    ended = run(world, asked(), Refusing("block_copies.pivot"), Refusing("block_copies.abort"))
    guest = world.guests[INSTANCE]
    guest.copies.clear()
    guest.live.pop(ALIAS)
    guest.persistent.pop(ALIAS)
    request = AbandonOperation(operation_id=ended.id)
    said = CALLS["abandon_operation"].handler(request, fakes.ports(world))["message"]
    assert f"volume {OTHER_VOLUME}, the other side of its swap" in said


def test_a_destroy_lets_go_of_both_sides() -> None:
    world = attached()
    given_up(world)
    gone = run(world, operation("destroy_instance", number=7, instance_uuid=INSTANCE))
    assert gone.fault is None
    assert (world.attachments, world.connections, world.connected) == ({}, {}, set())
    assert {one.status for one in world.volumes.values()} == {VolumeStatus.AVAILABLE}


def test_an_instance_between_two_volumes_is_not_carried_away() -> None:
    world = attached()
    given_up(world)
    assert run(world, OFF).fault is None
    wanted = operation("release_instance", number=7, instance_uuid=INSTANCE)
    assert fault_of(run(world, wanted)).code == "block_device.wrong_state"
    assert world.connected == {VOLUME, OTHER_VOLUME}


def test_a_refusal_leaves_an_attachment_of_another_instance_alone() -> None:
    world = attached()
    world.attachments[GIVEN] = Attachment(
        id=GIVEN, volume=OTHER_VOLUME, instance=OTHER_INSTANCE, status=AttachmentStatus.ATTACHED
    )
    world.volumes[OTHER_VOLUME] = replace(world.volumes[OTHER_VOLUME], status=VolumeStatus.IN_USE)
    assert fault_of(run(world, asked(new_attachment_id=GIVEN))).code == "volume.in_use"
    assert GIVEN in world.attachments


def stuck() -> World:
    world = attached()
    ended = run(world, asked(), Refusing("block_copies.pivot"), Refusing("block_copies.abort"))
    assert ended.state is OperationState.STUCK
    world.guests[INSTANCE].copies.clear()
    assert run(world, OFF).fault is None
    return world


def test_a_guest_starts_beside_what_is_stuck_while_its_disk_is_where_it_was() -> None:
    world = stuck()
    assert run(world, ON).fault is None
    assert world.rows[DEVICE].status is DeviceStatus.ERROR


def test_a_path_of_before_the_hosts_boot_is_no_disk() -> None:
    world = stuck()
    world.connected.clear()
    assert fault_of(run(world, ON)).code == "instance.wrong_state"
    assert world.guests[INSTANCE].live == {}
    row = world.rows[DEVICE]
    assert row.swap is not None
    world.rows[DEVICE] = replace(row, connection=None, swap=replace(row.swap, connection=None))
    again = replace(ON, id=OperationId(f"{ON.id[:-1]}0"))
    assert fault_of(run(world, again)).code == "instance.wrong_state"


@pytest.mark.parametrize(
    ("wanted", "left"),
    [
        (asked(number=5, new_volume_id=VOLUME), {VOLUME}),
        (operation("detach_volume", number=7, **scenes.detach_arguments()), set()),
    ],
    ids=["swap back", "detach"],
)
def test_a_copy_that_goes_on_ends_before_its_volume_goes(
    wanted: Operation, left: set[VolumeId]
) -> None:
    world = attached()
    ended = run(world, asked(), Refusing("block_copies.pivot"), Refusing("block_copies.abort"))
    abandon(world, ended.id)
    assert world.guests[INSTANCE].copies
    assert run(world, wanted).fault is None
    assert world.guests[INSTANCE].copies == {}
    assert world.connected == left
    assert {one.volume for one in world.attachments.values()} == left
    assert not world.harm
