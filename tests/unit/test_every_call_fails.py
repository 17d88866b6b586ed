"""Fail and crash at each outside call: the world is as before, as after, or stuck and named.

One test for every handler of the table: a scene is a world, an operation, and what the world
may be afterwards.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from tests import fakes
from tests.fakes.world import World
from tests.unit import scenes
from tests.unit.scenes import (
    DEVICE,
    INSTANCE,
    VOLUME,
    Crash,
    Refusing,
    Trouble,
    operation,
    run,
)
from worker.execution import Kind
from worker.model.block_device import DeviceStatus
from worker.model.ids import AttachmentId
from worker.model.instance import VmState
from worker.model.operation import Operation, OperationState
from worker.model.volume import Attachment, AttachmentStatus, VolumeStatus
from worker.rpc.methods import OPERATIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """``before`` is the world an operation that failed must leave: the caller's way back."""

    start: Callable[[], World]
    before: Callable[[], World]
    asked: Operation


def reserved() -> World:
    world = scenes.world()
    scenes.reserve(world)
    return world


def reserved_on_a_stopped_guest() -> World:
    world = scenes.world(VmState.STOPPED)
    scenes.reserve(world)
    return world


GIVEN = AttachmentId("a77ac4ed-0000-4000-8000-000000000001")


def reserved_with_an_attachment() -> World:
    world = reserved()
    world.attachments[GIVEN] = Attachment(
        id=GIVEN, volume=VOLUME, instance=INSTANCE, status=AttachmentStatus.RESERVED
    )
    world.volumes[VOLUME] = replace(world.volumes[VOLUME], status=VolumeStatus.RESERVED)
    return world


def attached() -> World:
    world = scenes.world()
    scenes.attach(world)
    return world


def paused_by_other_hands() -> World:
    world = scenes.world()
    world.guests[INSTANCE].vm_state = VmState.PAUSED
    return world


SCENES = {
    "attach": Scene(
        start=reserved,
        before=scenes.world,
        asked=operation("attach_volume", **scenes.attach_arguments()),
    ),
    "attach to a stopped guest": Scene(
        start=reserved_on_a_stopped_guest,
        before=lambda: scenes.world(VmState.STOPPED),
        asked=operation("attach_volume", **scenes.attach_arguments()),
    ),
    "attach with the caller's attachment": Scene(
        start=reserved_with_an_attachment,
        before=scenes.world,
        asked=operation("attach_volume", **scenes.attach_arguments(), attachment_id=GIVEN),
    ),
    "detach": Scene(
        start=attached,
        before=attached,
        asked=operation("detach_volume", **scenes.detach_arguments()),
    ),
    "create a pool volume": Scene(
        start=World,
        before=World,
        asked=operation("create_volume", volume_id=VOLUME, size=1 << 20),
    ),
    "delete a pool volume": Scene(
        start=scenes.world,
        before=scenes.world,
        asked=operation("delete_volume", volume_id=VOLUME),
    ),
    "read what a guest is doing": Scene(
        start=paused_by_other_hands,
        before=paused_by_other_hands,
        asked=operation("sync_power_state", instance_uuid=INSTANCE),
    ),
}


def without_ids(world: World) -> World:
    """Return a copy in which attachments drawn at random compare equal."""
    plain = copy.deepcopy(world)
    plain.attachments = {
        AttachmentId(f"of {held.volume}"): replace(held, id=AttachmentId("x"))
        for held in plain.attachments.values()
    }
    for uuid, row in plain.rows.items():
        plain.rows[uuid] = replace(row, attachment=AttachmentId("x") if row.attachment else None)
    return plain


def calls(scene: Scene, kind: Kind) -> int:
    """Return how many outside calls the operation makes when all goes well."""
    trouble = Trouble()
    world = scene.start()
    ended = run(world, scene.asked, trouble, kind=kind)
    assert ended.state is OperationState.SUCCEEDED, ended.fault
    return trouble.count


def after(scene: Scene, kind: Kind) -> World:
    world = scene.start()
    run(world, scene.asked, kind=kind)
    return world


def check(scene: Scene, world: World, ended: Operation, kind: Kind) -> None:
    """The promise: one end, and a world that agrees with it."""
    assert not world.pending
    if ended.state is OperationState.SUCCEEDED:
        assert without_ids(world) == without_ids(after(scene, kind))
    else:
        assert ended.state is OperationState.FAILED, ended
        assert without_ids(world) == without_ids(scene.before())
    if kind.phases is not None:
        check_told(world, ended, kind)


def check_told(world: World, ended: Operation, kind: Kind) -> None:
    assert kind.phases is not None
    told = [update.event for update in world.told if update.operation == ended.id]
    end = kind.phases.end if ended.state is OperationState.SUCCEEDED else kind.phases.error
    assert told == [kind.phases.start, end]


def fails_everywhere(scene: Scene, kind: Kind) -> None:
    for at in range(calls(scene, kind)):
        for late in (False, True):
            world = scene.start()
            ended = run(world, scene.asked, Trouble(at=at, after=late), kind=kind)
            check(scene, world, ended, kind)


def crashes_everywhere(scene: Scene, kind: Kind) -> None:
    for at in range(calls(scene, kind)):
        for late in (False, True):
            world = scene.start()
            crash_at(world, scene.asked, Trouble(at=at, after=late, error=Crash), kind)
            ended = run(world, scene.asked, kind=kind)
            assert ended.attempts == 1
            check(scene, world, ended, kind)


def crashes_on_the_way_back(scene: Scene, kind: Kind) -> None:
    """An error at one call, and a crash in each call of the way back from it."""
    for at in range(calls(scene, kind)):
        for crash in range(at + 1, at + 8):
            for late in (False, True):
                world = scene.start()
                error = Trouble(at=at)
                killed = Trouble(at=crash, after=late, error=Crash)
                crash_at(world, scene.asked, error, kind, killed)
                ended = run(world, scene.asked, kind=kind)
                check(scene, world, ended, kind)


def fails_while_nothing_can_be_seen(scene: Scene, kind: Kind) -> None:
    """An error at one call while the hypervisor cannot say what became of it."""
    for at in range(calls(scene, kind)):
        for late in (False, True):
            world = scene.start()
            blind = Refusing("guests.describe")
            ended = run(world, scene.asked, Trouble(at=at, after=late), blind, kind=kind)
            if ended.state is OperationState.STUCK:
                assert {row.status for row in world.rows.values()} == {DeviceStatus.ERROR}
                assert world.connected or world.attachments
            else:
                check(scene, world, ended, kind)


def crash_at(world: World, asked: Operation, trouble: Trouble, kind: Kind, *more: Trouble) -> None:
    """Run until the crash, if it comes; what was not durable is lost."""
    try:
        run(world, asked, *more, trouble, kind=kind)
    except Crash:
        world.crash()


@pytest.mark.parametrize("name", SCENES)
def test_an_error_at_any_call_leaves_the_world_as_before_or_after(name: str) -> None:
    fails_everywhere(SCENES[name], OPERATIONS[SCENES[name].asked.method])


@pytest.mark.parametrize("name", SCENES)
def test_a_crash_at_any_call_is_recovered_from(name: str) -> None:
    crashes_everywhere(SCENES[name], OPERATIONS[SCENES[name].asked.method])


@pytest.mark.parametrize("name", SCENES)
def test_a_crash_on_the_way_back_is_recovered_from(name: str) -> None:
    crashes_on_the_way_back(SCENES[name], OPERATIONS[SCENES[name].asked.method])


@pytest.mark.parametrize("name", ["attach", "detach"])
def test_an_error_whose_effect_cannot_be_seen_is_never_called_a_failure(name: str) -> None:
    fails_while_nothing_can_be_seen(SCENES[name], OPERATIONS[SCENES[name].asked.method])


def test_every_operation_of_the_table_has_a_scene() -> None:
    assert {scene.asked.method for scene in SCENES.values()} == set(OPERATIONS)


def test_what_cannot_be_taken_back_is_stuck_and_named_and_stays_connected() -> None:
    """The guest keeps the disk, so nothing under it is taken away."""
    world = reserved()
    trouble = Trouble(at=calls(SCENES["attach"], OPERATIONS["attach_volume"]) - 1)
    ended = run(world, SCENES["attach"].asked, trouble, Refusing("disks.unplug"))
    assert ended.state is OperationState.STUCK
    assert ended.fault is not None
    assert "disks.unplug" in ended.fault.message
    assert world.rows[DEVICE].status is DeviceStatus.ERROR
    assert world.connected == {VOLUME}
    assert len(world.attachments) == 1
    assert world.events()[-1] == "operation.stuck"
    assert fakes.ports(world).connections.get(DEVICE) is not None
