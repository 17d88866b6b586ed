"""What only a volume can be asked for is refused of a local disk, and changes nothing."""

import copy
from dataclasses import replace
from typing import Any

import pytest

from tests import fakes
from tests.fakes.world import World
from tests.unit import build_scenes
from tests.unit.scenes import INSTANCE, OPERATION, VOLUME, operation, run
from worker.errors import BlockDeviceNotFound, IdTaken, NoVolume
from worker.handlers.get_block_device import GetBlockDevice, get_block_device
from worker.handlers.list_block_devices import ListBlockDevices, list_block_devices
from worker.handlers.release_block_device import ReleaseBlockDevice, release_block_device
from worker.handlers.reserve_block_device_name import (
    ReserveBlockDeviceName,
    reserve_block_device_name,
)
from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.ids import VolumeId
from worker.model.operation import OperationState
from worker.rpc.methods import CALLS

STATUSES = sorted(DeviceStatus)
NOT_RESERVED = sorted(set(DeviceStatus) - {DeviceStatus.RESERVED})


def local_row(world: World) -> BlockDevice:
    return next(row for row in world.rows.values() if row.device_name == "/dev/vdb")


def with_status(status: DeviceStatus) -> World:
    world = build_scenes.built()
    row = local_row(world)
    world.rows[row.uuid] = replace(row, status=status)
    return world


@pytest.mark.parametrize("status", NOT_RESERVED)
def test_it_is_not_released(status: DeviceStatus) -> None:
    world = with_status(status)
    before = copy.deepcopy(world)
    with pytest.raises(NoVolume, match="goes with its instance"):
        release_block_device(ReleaseBlockDevice(bdm_uuid=local_row(world).uuid), fakes.ports(world))
    assert world == before


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("method", ["attach_volume", "detach_volume"])
def test_it_is_neither_attached_nor_detached(method: str, status: DeviceStatus) -> None:
    world = with_status(status)
    before = copy.deepcopy(world)
    arguments: dict[str, Any] = {"instance_uuid": INSTANCE, "bdm_uuid": local_row(world).uuid}
    if method == "detach_volume":
        arguments["volume_id"] = VOLUME
    ended = run(world, operation(method, **arguments))
    assert ended.state is OperationState.FAILED
    assert ended.fault is not None
    assert ended.fault.code == NoVolume.code
    assert world == before


def test_a_reservation_does_not_take_its_id() -> None:
    world = build_scenes.built()
    request = ReserveBlockDeviceName(
        instance_uuid=INSTANCE,
        volume_id=build_scenes.DATA_VOLUME,
        bdm_uuid=local_row(world).uuid,
    )
    with pytest.raises(IdTaken):
        reserve_block_device_name(request, fakes.ports(world))


def test_it_is_listed_and_is_no_volume_that_could_be_asked_for() -> None:
    world = build_scenes.built()
    row = local_row(world)
    listed = list_block_devices(ListBlockDevices(instance_uuid=INSTANCE), fakes.ports(world))
    (found,) = [each for each in listed if each["uuid"] == row.uuid]
    assert (found["volume_id"], found["destination_type"]) == (None, "local")
    request = GetBlockDevice(instance_uuid=INSTANCE, volume_id=VolumeId(row.uuid))
    with pytest.raises(BlockDeviceNotFound):
        get_block_device(request, fakes.ports(world))


def abandon(world: World) -> str:
    request = CALLS["abandon_operation"].request(operation_id=OPERATION)
    return str(CALLS["abandon_operation"].handler(request, fakes.ports(world))["message"])


def stuck(world: World, **arguments: Any) -> None:  # noqa: ANN401 - as a caller of the bus would
    asked = operation("detach_volume", volume_id=VOLUME, **arguments)
    world.operations[asked.id] = replace(asked, state=OperationState.STUCK)


def test_an_operation_that_names_it_can_be_abandoned_and_it_stays_while_the_guest_has_it() -> None:
    world = with_status(DeviceStatus.ERROR)
    row = local_row(world)
    stuck(world, bdm_uuid=row.uuid)
    assert "is attached: the guest has" in abandon(world)
    assert world.rows[row.uuid].status is DeviceStatus.ATTACHED


def test_one_that_the_guest_has_not_is_removed_and_its_file_is_named() -> None:
    world = with_status(DeviceStatus.ERROR)
    row = local_row(world)
    guest = world.guests[INSTANCE]
    del guest.live[row.alias], guest.persistent[row.alias]
    stuck(world, bdm_uuid=row.uuid)
    assert "left as it is: its file, which goes with the instance" in abandon(world)
    assert row.uuid not in world.rows
    ended = run(world, operation("destroy_instance", 70, instance_uuid=INSTANCE))
    assert ended.state is OperationState.SUCCEEDED, ended.fault
    assert world.files == {}


def test_a_build_that_is_stuck_can_be_abandoned_and_what_it_left_destroyed() -> None:
    world = build_scenes.half_built()
    (build,) = world.operations
    request = CALLS["abandon_operation"].request(operation_id=build)
    answer = CALLS["abandon_operation"].handler(request, fakes.ports(world))
    assert answer["message"] == "no block device was held"
    ended = run(world, operation("destroy_instance", 70, instance_uuid=INSTANCE))
    assert ended.state is OperationState.SUCCEEDED, ended.fault
    assert (world.files, world.rows, world.config_drives) == ({}, {}, {})
