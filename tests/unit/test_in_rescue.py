"""The devices of an instance in rescue: nothing changes, unless its host allows it; then all does.

The persistent layout is that of the normal guest: what is attached in rescue is there afterwards,
under the same name, at the same address.
"""

from dataclasses import replace
from typing import Any

import pytest

from tests import fakes
from tests.fakes.world import World
from tests.unit import peripheral_scenes, scenes
from tests.unit.in_rescue_scenes import (
    IMAGES,
    LEGACY,
    attach,
    code_of,
    detach_of,
    off,
    rescue_of,
    rescued,
    reserve,
    reserved_just_before,
    row_of_volume,
    shown,
    unrescue,
)
from tests.unit.rescue_scenes import KERNEL_IMAGE, PASSWORD, USB_IMAGE
from tests.unit.scenes import DEVICE, INSTANCE, VOLUME, Crash, Trouble, operation, run
from worker.errors import AddressTaken, InstanceRescued
from worker.handlers.attach_volume import AttachVolume, attach_volume
from worker.handlers.release_block_device import ReleaseBlockDevice, release_block_device
from worker.model.block_device import Bus, DeviceStatus
from worker.model.ids import BlockDeviceId, ImageId
from worker.model.instance import TaskState
from worker.model.operation import Operation, OperationState
from worker.model.rescue.words import RescueSettings, rescue_alias
from worker.model.volume import VolumeStatus

OWN = BlockDeviceId("c0ffee00-0000-4000-8000-0000000000ff")

REFUSED: dict[str, dict[str, Any]] = {
    "attach_volume": scenes.attach_arguments(),
    "detach_volume": {"instance_uuid": INSTANCE, "volume_id": VOLUME, "bdm_uuid": OWN},
    "repair_drift": {"instance_uuid": INSTANCE},
    "heal_ghost": {"instance_uuid": INSTANCE, "alias": f"ua-{VOLUME}"},
}


@pytest.mark.parametrize("method", REFUSED)
@pytest.mark.parametrize("task_state", [None, TaskState.UNRESCUING])
def test_in_rescue_no_device_changes(method: str, task_state: TaskState | None) -> None:
    world = rescued(allowed=task_state is not None)
    world.instances[INSTANCE] = replace(world.instances[INSTANCE], task_state=task_state)
    reserved_just_before(world)
    arguments = dict(REFUSED[method])
    if "bdm_uuid" in arguments and method == "detach_volume":
        arguments["bdm_uuid"] = row_of_volume(world).uuid
    before = world.copy()

    ended = run(world, operation(method, 9, **arguments))

    assert code_of(ended) == "instance.rescued"
    if method == "attach_volume":
        del before.rows[DEVICE]
    assert (world, ended.steps) == (before, ())
    assert not world.guests[INSTANCE].doubted


PERIPHERALS = {
    "attach_interface": peripheral_scenes.attach_asked(peripheral_scenes.OTHER_PORT, number=9),
    "attach_host_device": peripheral_scenes.give_asked("usb:0000:0001", number=9),
    "detach_host_device": peripheral_scenes.take_asked(number=9),
}


@pytest.mark.parametrize("asked", PERIPHERALS.values(), ids=list(PERIPHERALS))
def test_nor_does_an_interface_or_host_device(asked: Operation) -> None:
    world = rescued()
    before = world.copy()

    ended = run(world, asked)

    assert code_of(ended) == "instance.rescued"
    assert (world, ended.steps) == (before, ())


def test_nor_does_the_interface_that_it_was_built_with() -> None:
    world = rescued()
    (row,) = [row for row in world.peripherals.values() if row.kind == "interface"]
    before = world.copy()

    asked = peripheral_scenes.detach_asked(port=None, row=row.uuid, number=9)
    asked = replace(asked, arguments={**asked.arguments, "peripheral_uuid": row.uuid})
    ended = run(world, asked)

    assert code_of(ended) == "instance.rescued"
    assert world == before


def test_nothing_is_reserved_in_rescue() -> None:
    world = rescued()
    with pytest.raises(InstanceRescued):
        reserve(world)
    assert DEVICE not in world.rows


def test_a_reservation_of_the_moment_before_can_be_given_back() -> None:
    world = rescued()
    reserved_just_before(world)
    release_block_device(ReleaseBlockDevice(bdm_uuid=DEVICE), fakes.ports(world))
    world.commit()
    assert DEVICE not in world.rows


def test_what_began_before_the_operator_forbade_it_is_brought_to_its_end() -> None:
    world = rescued(allowed=True)
    row = reserve(world)
    with pytest.raises(Crash):
        attach(world, Trouble(at=4, error=Crash))
    world.crash()
    world.settings = RescueSettings()

    ended = attach(world)

    assert ended.state is OperationState.SUCCEEDED, ended.fault
    assert all(shown(world, row.alias))


@pytest.mark.parametrize("gone_off", [False, True])
@pytest.mark.parametrize("image", IMAGES)
def test_what_is_attached_in_rescue_is_there_afterwards_in_the_same_place(
    image: ImageId, *, gone_off: bool
) -> None:
    world = rescued(image, allowed=True, gone_off=gone_off)
    row = reserve(world)

    assert attach(world).fault is None

    live, persistent = shown(world, row.alias)
    assert (live is None) is gone_off
    assert persistent is not None
    assert world.rows[DEVICE].status is DeviceStatus.ATTACHED
    unrescue(world)
    live, persistent = shown(world, row.alias)
    assert live is not None
    assert (live.target, live.address) == (row.target, row.address)
    assert live == persistent


@pytest.mark.parametrize("gone_off", [False, True])
@pytest.mark.parametrize("image", IMAGES)
def test_nothing_is_given_a_place_that_the_rescue_has(image: ImageId, *, gone_off: bool) -> None:
    world = rescued(image, allowed=True, gone_off=gone_off)
    rescue = rescue_of(world)
    spots = (rescue.spot, *(rescue.moved or {}).values())
    bus = rescue.bus if rescue.bus in (Bus.USB, Bus.VIRTIO) else Bus.VIRTIO

    row = reserve(world, disk_bus=bus)

    assert row.target not in {spot.target for spot in spots}
    assert row.address not in {spot.address for spot in spots}
    given = run(world, peripheral_scenes.attach_asked(peripheral_scenes.OTHER_PORT, number=9))
    assert given.fault is None
    addresses = {one.address for one in world.peripherals.values()}
    assert not addresses & {spot.address for spot in spots}


@pytest.mark.parametrize("image", [KERNEL_IMAGE, LEGACY])
@pytest.mark.parametrize("by", ["target", "address"])
def test_a_row_that_got_the_place_of_the_rescue_all_the_same_goes(image: ImageId, by: str) -> None:
    world = rescued(image, allowed=True, gone_off=True)
    rescue = rescue_of(world)
    spot = next(iter((rescue.moved or {}).values()), rescue.spot)
    row = replace(reserved_just_before(world), device_name="/dev/vdy", address=None)
    place = {"device_name": f"/dev/{spot.target}"} if by == "target" else {"address": spot.address}
    world.rows[DEVICE] = replace(row, **place)
    before = world.copy()

    with pytest.raises(AddressTaken):
        attach_volume(AttachVolume(**scenes.attach_arguments()), fakes.ports(world))

    del before.rows[DEVICE]
    assert world == before


@pytest.mark.parametrize("gone_off", [False, True])
@pytest.mark.parametrize("image", IMAGES)
def test_what_is_detached_in_rescue_is_gone_afterwards_too(
    image: ImageId, *, gone_off: bool
) -> None:
    world = rescued(image, allowed=True, gone_off=gone_off)
    row = row_of_volume(world)

    ended = run(world, detach_of(row))

    assert ended.fault is None
    assert not world.guests[INSTANCE].doubted
    assert shown(world, row.alias) == (None, None)
    assert (row.uuid in world.rows, world.volumes[VOLUME].status) == (
        False,
        VolumeStatus.AVAILABLE,
    )
    unrescue(world)
    assert shown(world, row.alias) == (None, None)


def test_a_disk_that_rescue_is_to_have_and_that_is_not_there_is_doubted() -> None:
    world = rescued(allowed=True)
    row = row_of_volume(world)
    del world.guests[INSTANCE].live[row.alias]
    assert run(world, detach_of(row)).fault is None
    assert world.guests[INSTANCE].doubted


def test_a_root_that_had_to_make_room_is_found_and_detached() -> None:
    world = rescued(LEGACY, allowed=True, from_volume=True)
    row = row_of_volume(world)
    live, persistent = shown(world, row.alias)
    assert live is not None
    assert persistent is not None
    assert live.target != persistent.target

    ended = run(world, detach_of(row))

    assert ended.fault is None, ended.fault
    assert shown(world, row.alias) == (None, None)
    assert rescue_alias(INSTANCE) in world.guests[INSTANCE].live


def test_what_was_attached_in_a_legacy_rescue_is_there_when_its_host_is_back() -> None:
    world = rescued(LEGACY, allowed=True)
    row = reserve(world)
    assert attach(world).fault is None
    guest = off(world).guests[INSTANCE]

    ended = run(world, operation("resume_instance", 9, instance_uuid=INSTANCE))

    assert ended.fault is None, ended.fault
    assert rescue_alias(INSTANCE) in guest.live
    assert row.alias in guest.live
    assert row_of_volume(world).alias not in guest.live


@pytest.mark.parametrize("image", [USB_IMAGE, LEGACY])
def test_an_attach_that_fails_in_rescue_leaves_no_trace(image: ImageId) -> None:
    clean = rescued(image, allowed=True)
    count = Trouble()
    probe = clean.copy()
    reserve(probe)
    assert attach(probe, count).fault is None
    for at in range(count.count - 1):
        for after in (False, True):
            world = clean.copy()
            reserve(world)
            ended = attach(world, Trouble(at=at, after=after))
            expected = probe if ended.fault is None else clean
            assert _comparable(world) == _comparable(expected), (at, after)


def _comparable(world: World) -> World:
    """An attachment made once more has another id."""
    found = world.copy()
    found.attachments.clear()
    found.rows = {uuid: replace(row, attachment=None) for uuid, row in found.rows.items()}
    return found


def test_the_config_drive_of_the_normal_guest_is_written_and_that_of_the_rescue_is_left() -> None:
    world = rescued(allowed=True, password=PASSWORD)
    before = world.copy()
    reserve(world, tag="more")

    assert attach(world).fault is None

    assert b'"more"' in b"".join(world.config_drives[INSTANCE].values())
    assert world.rescue_drives == before.rescue_drives
    assert PASSWORD.encode() in b"".join(world.rescue_drives[INSTANCE].values())


def test_aliases_are_given_in_rescue_for_the_next_start() -> None:
    world = rescued()
    row = row_of_volume(world)
    guest = world.guests[INSTANCE]
    guest.persistent["theirs"] = replace(guest.persistent.pop(row.alias), alias="")
    live = dict(guest.live)

    ended = run(world, operation("migrate_aliases", 9, instance_uuid=INSTANCE))

    assert ended.fault is None
    assert guest.persistent[row.alias].target == row.target
    assert guest.live == live
