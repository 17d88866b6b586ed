"""Release: a reservation goes, anything more than one stays."""

from dataclasses import replace

import pytest

from tests import fakes
from tests.fakes.database import FakeBlockDevices
from tests.fakes.world import World
from tests.unit import scenes
from tests.unit.scenes import DEVICE, VOLUME
from worker.errors import BlockDeviceNotFound, DeviceWrongState, InstanceNotFound
from worker.handlers.release_block_device import ReleaseBlockDevice, release_block_device
from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.ids import BlockDeviceId
from worker.ports import Ports

REQUEST = ReleaseBlockDevice(bdm_uuid=DEVICE)


@pytest.fixture
def world() -> World:
    world = scenes.world()
    scenes.reserve(world)
    return world


def test_a_released_row_is_gone_and_told(world: World) -> None:
    answer = release_block_device(REQUEST, fakes.ports(world))

    assert answer["uuid"] == DEVICE
    assert world == scenes.world()
    assert world.events() == ["block_device.reserved", "block_device.released"]


def test_its_name_is_free_again(world: World) -> None:
    release_block_device(REQUEST, fakes.ports(world))

    again = scenes.reserve(world, uuid=scenes.OTHER_DEVICE)

    assert again["device_name"] == "/dev/vda"


def test_a_second_release_is_fine_and_not_told(world: World) -> None:
    release_block_device(REQUEST, fakes.ports(world))
    release_block_device(REQUEST, fakes.ports(world))

    assert world.events().count("block_device.released") == 1


@pytest.mark.parametrize("status", sorted(set(DeviceStatus) - {DeviceStatus.RESERVED}))
def test_what_is_more_than_reserved_is_not_released(world: World, status: DeviceStatus) -> None:
    world.rows[DEVICE] = replace(world.rows[DEVICE], status=status)

    with pytest.raises(DeviceWrongState, match=f"is {status}; detach volume {VOLUME} instead"):
        release_block_device(REQUEST, fakes.ports(world))
    assert DEVICE in world.rows


def test_a_reservation_at_another_host_stays(world: World) -> None:
    scenes.taken_over(world)
    with pytest.raises(InstanceNotFound):
        release_block_device(REQUEST, fakes.ports(world))
    assert DEVICE in world.rows


def test_an_unknown_row_is_not_found(world: World) -> None:
    with pytest.raises(BlockDeviceNotFound):
        release_block_device(
            ReleaseBlockDevice(bdm_uuid=BlockDeviceId("nothing")), fakes.ports(world)
        )


class AttachedSince(FakeBlockDevices):
    """Rows whose attach begins just after they were read."""

    def get(self, uuid: BlockDeviceId) -> BlockDevice:
        found = super().get(uuid)
        self.world.rows[uuid] = replace(found, status=DeviceStatus.ATTACHING)
        return found


def racing(world: World) -> Ports:
    return replace(fakes.ports(world), devices=AttachedSince(world))


def test_an_attach_that_begins_at_the_same_moment_wins(world: World) -> None:
    with pytest.raises(DeviceWrongState):
        release_block_device(REQUEST, racing(world))

    assert world.rows[DEVICE].status is DeviceStatus.ATTACHING
    assert world.events() == ["block_device.reserved"]
