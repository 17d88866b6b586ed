"""Who a volume's device says that it is: written down, and held against what is known."""

from dataclasses import replace

import pytest

from tests.fakes.volume_service import FakeConnector, connection_of
from tests.fakes.world import World
from tests.unit import power_scenes, scenes
from tests.unit.power_scenes import ALIAS, DATA, DATA_VOLUME
from tests.unit.scenes import (
    DEVICE,
    INSTANCE,
    OTHER_DEVICE,
    OTHER_VOLUME,
    VOLUME,
    attach,
    attach_arguments,
    operation,
    reserve,
    run,
)
from worker.errors import ConnectFailed, WrongDevice
from worker.model.block_device import DeviceStatus
from worker.model.ids import AttachmentId, BlockDeviceId
from worker.model.operation import Operation
from worker.model.volume import Attachment, AttachmentStatus

WWID, OTHER_WWID = "naa.60014050000000000000000000000001", "naa.60014050000000000000000000000002"


@pytest.fixture
def world() -> World:
    found = scenes.world()
    found.wwids = {VOLUME: WWID, OTHER_VOLUME: OTHER_WWID}
    return found


def attaching(world: World, uuid: BlockDeviceId = OTHER_DEVICE) -> Operation:
    return run(world, operation("attach_volume", number=77, **attach_arguments(uuid)))


def refused(ended: Operation) -> str:
    assert ended.fault is not None
    assert ended.fault.code == WrongDevice.code
    return ended.fault.message


def test_the_row_has_who_its_device_says_it_is(world: World) -> None:
    attach(world)
    attach(world, OTHER_VOLUME, OTHER_DEVICE)
    assert [world.rows[row].wwid for row in (DEVICE, OTHER_DEVICE)] == [WWID, OTHER_WWID]


def test_a_device_that_says_nothing_of_its_own_is_no_ones(world: World) -> None:
    world.wwids = {}
    attach(world)
    attach(world, OTHER_VOLUME, OTHER_DEVICE)
    assert [world.rows[row].wwid for row in (DEVICE, OTHER_DEVICE)] == [None, None]


def test_a_device_that_is_another_volume_of_this_host_is_not_given_to_a_guest(world: World) -> None:
    attach(world)
    world.wwids[OTHER_VOLUME] = WWID
    reserve(world, OTHER_VOLUME, OTHER_DEVICE)
    message = refused(attaching(world))
    assert WWID in message
    assert VOLUME in message
    assert OTHER_VOLUME not in world.connected
    assert len(world.guests[INSTANCE].live) == 1
    assert OTHER_DEVICE not in world.rows
    assert world.rows[DEVICE].status is DeviceStatus.ATTACHED


def led_astray(world: World) -> None:
    """The volume service answers for one volume with the address of another."""
    held = Attachment(
        id=AttachmentId("astray"),
        volume=OTHER_VOLUME,
        instance=INSTANCE,
        status=AttachmentStatus.ATTACHING,
        connection=connection_of(VOLUME),
    )
    world.attachments = {**world.attachments, held.id: held}
    reserve(world, OTHER_VOLUME, OTHER_DEVICE)


def test_the_device_of_another_guest_is_not_pulled_from_under_it(world: World) -> None:
    attach(world)
    led_astray(world)
    refused(attaching(world))
    assert world.harm == []
    assert VOLUME in world.connected
    assert world.connections.keys() == {DEVICE}
    assert world.rows.keys() == {DEVICE}


def test_nor_while_nobody_can_tell_whose_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ConnectFailed("no answer")

    attach(world)
    led_astray(world)
    monkeypatch.setattr(FakeConnector, "find", fail)
    refused(attaching(world))
    assert world.harm == []
    assert VOLUME in world.connected


def test_one_of_which_no_connection_is_known_does_not_keep_it(world: World) -> None:
    attach(world)
    world.rows[DEVICE] = replace(world.rows[DEVICE], connection=None)
    world.wwids[OTHER_VOLUME] = WWID
    reserve(world, OTHER_VOLUME, OTHER_DEVICE)
    refused(attaching(world))
    assert world.connected == {VOLUME}


def test_two_guests_that_share_a_volume_have_one_device() -> None:
    world = scenes.shared()
    world.wwids[VOLUME] = WWID
    world.rows[OTHER_DEVICE] = replace(world.rows[OTHER_DEVICE], wwid=WWID)
    attach(world)
    assert world.rows[DEVICE].wwid == world.rows[OTHER_DEVICE].wwid == WWID


def started(world: World) -> Operation:
    return run(world, operation("start_instance", number=78, instance_uuid=INSTANCE))


def test_a_guest_is_not_started_with_another_device_than_it_had() -> None:
    world = power_scenes.host_booted()
    world.rows[DATA] = replace(world.rows[DATA], wwid=WWID)
    world.wwids[DATA_VOLUME] = OTHER_WWID
    assert started(world).fault is None
    assert (world.rows[DATA].status, world.rows[DATA].wwid) == (DeviceStatus.MISSING, WWID)
    assert ALIAS not in world.guests[INSTANCE].live
    assert DATA_VOLUME not in world.connected


@pytest.mark.parametrize("now", [None, WWID])
def test_a_device_that_says_the_same_or_nothing_any_more_is_not_forgotten(now: str | None) -> None:
    world = power_scenes.host_booted()
    world.rows[DATA] = replace(world.rows[DATA], wwid=WWID)
    world.wwids = {} if now is None else {DATA_VOLUME: now}
    assert started(world).fault is None
    assert (world.rows[DATA].status, world.rows[DATA].wwid) == (DeviceStatus.ATTACHED, WWID)
    assert ALIAS in world.guests[INSTANCE].live
