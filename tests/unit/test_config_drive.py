"""The config drive follows the tagged disks, and never keeps a disk or a guest waiting."""

import json
from dataclasses import replace

import pytest

from tests import fakes
from tests.fakes.images import FakeConfigDrives
from tests.fakes.world import FakeGuest, World
from worker.errors import DatabaseUnavailable, NoRoom, WorkerError
from worker.handlers.get_device_metadata import GetDeviceMetadata, get_device_metadata
from worker.handlers.parts.config_drive import renew_after, renew_config_drive, write_config_drive
from worker.model.block_device import BlockDevice, Bus, DeviceStatus
from worker.model.ids import BlockDeviceId, InstanceId, new_uuid
from worker.model.instance import Instance, VmState
from worker.model.places.address import PciAddress
from worker.model.specification import Specification
from worker.ports import Ports

INSTANCE = InstanceId(new_uuid())
META_DATA = "openstack/latest/meta_data.json"


def a_world(*, config_drive: bool = True) -> World:
    world = World()
    world.instances[INSTANCE] = Instance(
        uuid=INSTANCE,
        host="host-1",
        name="one",
        vm_state=VmState.ACTIVE,
        specification=Specification(vcpus=1, memory=64, config_drive=config_drive),
    )
    world.guests[INSTANCE] = FakeGuest(name="one")
    uuid = BlockDeviceId(new_uuid())
    world.rows[uuid] = BlockDevice(
        uuid=uuid,
        instance=INSTANCE,
        volume=None,
        device_name="/dev/vdb",
        bus=Bus.VIRTIO,
        alias=f"ua-{uuid}",
        serial=uuid,
        address=PciAddress(bus=4, slot=0),
        status=DeviceStatus.ATTACHED,
        tag="data",
    )
    return world


def devices_on(world: World) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(world.config_drives[INSTANCE][META_DATA])["devices"]
    return found


class Refusing(FakeConfigDrives):
    refusal: WorkerError = NoRoom("full")

    def write(self, instance: InstanceId, files: object) -> None:  # type: ignore[override]
        raise self.refusal


def refusing(world: World, error: WorkerError) -> Ports:
    drives = Refusing(world)
    drives.refusal = error
    return replace(fakes.ports(world), config_drives=drives)


def test_the_drive_tells_of_each_tagged_disk() -> None:
    world = a_world()
    ports = fakes.ports(world)
    write_config_drive(ports.instances.get(INSTANCE), ports)
    (row,) = world.rows.values()
    assert [(disk["serial"], disk["tags"]) for disk in devices_on(world)] == [(row.uuid, ["data"])]


@pytest.mark.parametrize("specification", [None, Specification(vcpus=1, memory=64)])
def test_an_instance_without_a_drive_gets_none(specification: Specification | None) -> None:
    world = a_world()
    ports = fakes.ports(world)
    instance = replace(world.instances[INSTANCE], specification=specification)
    assert write_config_drive(instance, ports) is None
    assert world.config_drives == {}


def test_a_disk_that_went_is_told_no_more() -> None:
    world = a_world()
    (row,) = world.rows.values()
    world.rows.clear()
    renew_after(row, fakes.ports(world))
    assert devices_on(world) == []


def test_a_disk_without_a_tag_changes_nothing() -> None:
    world = a_world()
    (row,) = world.rows.values()
    renew_after(replace(row, tag=None), fakes.ports(world))
    assert world.config_drives == {}


def test_a_drive_that_cannot_be_written_keeps_nothing_waiting() -> None:
    world = a_world()
    renew_config_drive(INSTANCE, refusing(world, NoRoom("full")))
    assert world.config_drives == {}


def test_without_the_database_nothing_goes_on() -> None:
    with pytest.raises(DatabaseUnavailable):
        renew_config_drive(INSTANCE, refusing(a_world(), DatabaseUnavailable("away")))


@pytest.mark.parametrize("there", [True, False])
def test_the_metadata_is_told_with_a_domain_and_without(*, there: bool) -> None:
    world = a_world()
    if not there:
        world.guests.clear()
    request = GetDeviceMetadata(instance_uuid=INSTANCE)
    (disk,) = get_device_metadata(request, fakes.ports(world))
    assert (disk["tags"], disk["address"]) == (["data"], "0000:04:00.0")
