"""Reserve: one row for a request however often it is asked, and a clear refusal else."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests import fakes
from tests.fakes.database import FakeBlockDevices
from tests.fakes.world import PLACES, World
from tests.unit import scenes
from tests.unit.scenes import DEVICE, INSTANCE, OTHER_DEVICE, OTHER_VOLUME, VOLUME, reserve
from worker.errors import (
    AddressTaken,
    BusUnsupported,
    Conflict,
    DeviceNameMalformed,
    DeviceNameTaken,
    DeviceTypeUnsupported,
    DomainNotFound,
    IdTaken,
    InstanceNotFound,
    InstanceWrongState,
    RequestMalformed,
    TagTaken,
    TooManyDevices,
    VolumeAlreadyAttached,
    VolumeInUse,
    VolumeNotFound,
    WorkerError,
)
from worker.handlers.release_block_device import ReleaseBlockDevice, release_block_device
from worker.handlers.reserve_block_device_name import (
    RACES,
    ReserveBlockDeviceName,
    reserve_block_device_name,
)
from worker.model.block_device import BlockDevice, Bus, DeviceStatus, DeviceType
from worker.model.disk import Disk
from worker.model.ids import BlockDeviceId, InstanceId, PeripheralId, VolumeId, is_uuid
from worker.model.instance import VmState
from worker.model.peripheral import Peripheral
from worker.model.source import BlockSource, DiskOptions
from worker.model.specification import Interface, InterfaceKind
from worker.model.update import Update
from worker.model.volume import GIB, VolumeStatus
from worker.ports import Ports

NOWHERE = InstanceId("6f9a5bd0-5d50-4f3c-9c35-1a7c61d2e0ff")
NOTHING = VolumeId("2b1c8a52-0a52-4c8c-8f5b-3d3e6d9e00ff")


@pytest.fixture
def world() -> World:
    return scenes.world()


def request(**arguments: Any) -> ReserveBlockDeviceName:  # noqa: ANN401 - as a caller would
    given: dict[str, Any] = {"instance_uuid": INSTANCE, "volume_id": VOLUME, "bdm_uuid": DEVICE}
    return ReserveBlockDeviceName(**(given | arguments))


def refused(world: World, error: type[WorkerError], **arguments: Any) -> str:  # noqa: ANN401
    """Reserve, be refused with that error, and find the world as it was; return the message."""
    before = dict(world.rows)
    told = list(world.told)
    with pytest.raises(error) as caught:
        reserve_block_device_name(request(**arguments), fakes.ports(world))
    assert (world.rows, world.told, world.pending) == (before, told, [])
    return str(caught.value)


def test_a_reservation_keeps_all_that_the_attach_will_need(world: World) -> None:
    answer = reserve(world, tag="data", delete_on_termination=True)

    row = world.rows[DEVICE]
    assert answer == row.public()
    assert (row.device_name, row.bus, row.device_type) == ("/dev/vda", Bus.VIRTIO, DeviceType.DISK)
    assert (row.alias, row.serial) == (f"ua-{VOLUME}", VOLUME)
    assert (row.status, row.address) == (DeviceStatus.RESERVED, PLACES[Bus.VIRTIO][0])
    assert (row.tag, row.delete_on_termination, row.volume_size) == ("data", True, 1)


def test_it_is_told_once_and_touches_nothing_else(world: World) -> None:
    reserve(world)
    reserve(world)

    assert world.events() == ["block_device.reserved"]
    assert world.told[0].block_device == world.rows[DEVICE]
    assert world.guests == scenes.world().guests
    assert world.volumes == scenes.world().volumes


def test_what_the_volume_is_goes_into_the_row(world: World) -> None:
    world.volumes[VOLUME] = replace(
        world.volumes[VOLUME], size=GIB + 1, encrypted=True, volume_type="fast", multiattach=True
    )

    reserve(world, multiattach=True)

    row = world.rows[DEVICE]
    assert (row.volume_size, row.encrypted, row.volume_type) == (2, True, "fast")
    assert row.multiattach


def test_without_an_id_one_is_drawn(world: World) -> None:
    answer = reserve_block_device_name(request(bdm_uuid=None), fakes.ports(world))

    assert is_uuid(answer["uuid"])


def test_the_same_id_again_is_the_same_row(world: World) -> None:
    first = reserve(world)

    assert reserve(world) == first
    assert len(world.rows) == 1


def test_the_same_id_again_is_the_same_row_when_it_is_attached_by_now(world: World) -> None:
    scenes.attach(world)

    assert reserve(world)["status"] == "attached"


def test_the_same_id_again_asks_nothing_of_the_outside(world: World) -> None:
    reserve(world)
    world.volumes.clear()
    world.guests.clear()

    assert reserve(world)["uuid"] == DEVICE


def test_an_id_of_another_volume_is_taken(world: World) -> None:
    reserve(world)

    assert "draw another" in refused(world, IdTaken, volume_id=OTHER_VOLUME)


def test_an_id_that_was_released_is_never_used_again(world: World) -> None:
    reserve(world)
    release_block_device(ReleaseBlockDevice(bdm_uuid=DEVICE), fakes.ports(world))

    refused(world, IdTaken)


def test_a_volume_comes_to_an_instance_once(world: World) -> None:
    reserve(world)

    message = refused(world, VolumeAlreadyAttached, bdm_uuid=OTHER_DEVICE)

    assert "/dev/vda" in message


def test_an_instance_that_is_being_built_takes_no_reservation(world: World) -> None:
    world.instances[INSTANCE] = replace(world.instances[INSTANCE], vm_state=VmState.BUILDING)

    assert "being built" in refused(world, InstanceWrongState)


@pytest.mark.parametrize("change", [scenes.released, scenes.importing])
def test_an_instance_on_its_way_between_hosts_is_refused(
    world: World, change: Callable[[World], None]
) -> None:
    change(world)
    refused(world, InstanceWrongState)


def test_a_tag_is_one_disks_alone_on_its_instance(world: World) -> None:
    reserve(world, tag="data")

    another = {"bdm_uuid": OTHER_DEVICE, "volume_id": OTHER_VOLUME}

    assert "/dev/vda" in refused(world, TagTaken, tag="data", **another)
    other = request(tag="logs", **another)
    assert reserve_block_device_name(other, fakes.ports(world))["tag"] == "logs"


def test_a_volume_attached_here_is_said_to_be_here_not_merely_in_use(world: World) -> None:
    scenes.attach(world)

    refused(world, VolumeAlreadyAttached, bdm_uuid=OTHER_DEVICE)


@pytest.mark.parametrize(
    "status", [VolumeStatus.IN_USE, VolumeStatus.DETACHING, VolumeStatus.ERROR]
)
def test_a_volume_that_cannot_be_attached_is_refused(world: World, status: VolumeStatus) -> None:
    world.volumes[VOLUME] = replace(world.volumes[VOLUME], status=status)

    assert status in refused(world, VolumeInUse)


@pytest.mark.parametrize(("volume", "asked"), [(True, False), (False, True)])
def test_a_shared_volume_is_shared_only_if_both_sides_say_so(
    world: World, *, volume: bool, asked: bool
) -> None:
    world.volumes[VOLUME] = replace(
        world.volumes[VOLUME], status=VolumeStatus.IN_USE, multiattach=volume
    )

    refused(world, VolumeInUse, multiattach=asked)


def test_a_shared_volume_in_use_is_reserved(world: World) -> None:
    world.volumes[VOLUME] = replace(
        world.volumes[VOLUME], status=VolumeStatus.IN_USE, multiattach=True
    )

    assert reserve(world, multiattach=True)["multiattach"] is True


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"instance_uuid": NOWHERE}, InstanceNotFound),
        ({"volume_id": NOTHING}, VolumeNotFound),
        ({"disk_bus": "nvme"}, BusUnsupported),
        ({"disk_bus": "ide"}, BusUnsupported),
        ({"device_type": "lun", "disk_bus": "virtio"}, DeviceTypeUnsupported),
        ({"device_type": "lun", "disk_bus": "usb"}, DeviceTypeUnsupported),
        ({"device_type": "cdrom"}, DeviceTypeUnsupported),
        ({"device_type": "tape"}, DeviceTypeUnsupported),
        ({"device": "/dev/disk"}, DeviceNameMalformed),
        ({"device": ""}, DeviceNameMalformed),
        ({"tag": "a/b"}, RequestMalformed),
        ({"device": "sdb"}, DeviceNameMalformed),
    ],
)
def test_a_bad_request_is_refused_and_changes_nothing(
    world: World, arguments: dict[str, Any], error: type[WorkerError]
) -> None:
    refused(world, error, **arguments)


def test_an_instance_whose_domain_is_gone_is_refused(world: World) -> None:
    world.guests.clear()

    refused(world, DomainNotFound)


def test_a_name_asked_for_is_honoured(world: World) -> None:
    assert reserve(world, device="vdq")["device_name"] == "/dev/vdq"


def test_a_name_that_is_taken_is_refused(world: World) -> None:
    reserve(world, OTHER_VOLUME, OTHER_DEVICE, device="/dev/vdb")

    refused(world, DeviceNameTaken, device="/dev/vdb")


def test_max_disk_devices_is_the_workers(world: World) -> None:
    ports = replace(fakes.ports(world), max_disk_devices=0)

    with pytest.raises(TooManyDevices):
        reserve_block_device_name(request(), ports)


def plug_in(world: World, *, alias: str, serial: str) -> None:
    """Let the guest have a disk of an earlier volume under that alias and serial."""
    world.guests[INSTANCE].persistent[alias] = Disk(
        alias=alias,
        target="vdz",
        bus=Bus.VIRTIO,
        device_type=DeviceType.DISK,
        serial=serial,
        address=None,
        source=BlockSource(path="/dev/x"),
        options=DiskOptions(),
    )


def test_an_alias_that_is_taken_gives_way_to_the_rows_id(world: World) -> None:
    plug_in(world, alias=f"ua-{VOLUME}", serial="x")

    row = reserve(world)

    assert (row["alias"], row["serial"]) == (f"ua-{DEVICE}", VOLUME)


def test_a_serial_that_is_taken_gives_way_to_the_rows_id(world: World) -> None:
    plug_in(world, alias="ua-x", serial=VOLUME)

    row = reserve(world)

    assert (row["alias"], row["serial"]) == (f"ua-{VOLUME}", DEVICE)


def test_a_row_takes_alias_and_serial_as_a_disk_does(world: World) -> None:
    reserve(world, OTHER_VOLUME, OTHER_DEVICE)
    swapped = replace(world.rows[OTHER_DEVICE], alias=f"ua-{VOLUME}", serial=VOLUME)
    world.rows[OTHER_DEVICE] = swapped

    row = reserve(world)

    assert (row["alias"], row["serial"]) == (f"ua-{DEVICE}", DEVICE)


class Raced(FakeBlockDevices):
    """Rows into which another request gets first, so many times."""

    def __init__(self, world: World, rival: Callable[[BlockDevice], None], times: int = 1) -> None:
        super().__init__(world)
        self.rival = rival
        self.times = times

    def insert(self, device: BlockDevice, tell: Update) -> None:
        if self.times > 0:
            self.times -= 1
            self.rival(device)
        super().insert(device, tell)


def raced(world: World, rival: Callable[[BlockDevice], None], times: int = 1) -> Ports:
    return replace(fakes.ports(world), devices=Raced(world, rival, times))


def other_row(device: BlockDevice, number: int) -> BlockDevice:
    return replace(
        device,
        uuid=BlockDeviceId(f"{OTHER_DEVICE[:-4]}{number:04d}"),
        volume=VolumeId(f"{OTHER_VOLUME[:-4]}{number:04d}"),
    )


def test_a_lost_race_for_a_name_is_tried_again_with_the_next(world: World) -> None:
    def takes_the_name(device: BlockDevice) -> None:
        rival = replace(other_row(device, 7), address=None)
        world.rows[rival.uuid] = rival

    answer = reserve_block_device_name(request(), raced(world, takes_the_name))

    assert answer["device_name"] == "/dev/vdb"


def test_a_lost_race_for_an_address_is_tried_again_with_the_next(world: World) -> None:
    def takes_the_address(device: BlockDevice) -> None:
        rival = replace(other_row(device, 7), device_name="/dev/vdz")
        world.rows[rival.uuid] = rival

    answer = reserve_block_device_name(request(), raced(world, takes_the_address))

    assert answer["device_name"] == "/dev/vda"
    assert answer["address"] == str(PLACES[Bus.VIRTIO][1])


def test_a_lost_race_for_the_name_asked_for_is_lost(world: World) -> None:
    def takes_the_name(device: BlockDevice) -> None:
        rival = replace(other_row(device, 7), address=None)
        world.rows[rival.uuid] = rival

    with pytest.raises(DeviceNameTaken, match="taken on this instance"):
        reserve_block_device_name(request(device="vdb"), raced(world, takes_the_name))


@pytest.mark.parametrize("error", [DeviceNameTaken, AddressTaken])
def test_races_are_lost_only_so_often(world: World, error: type[WorkerError]) -> None:
    def wins(_device: BlockDevice) -> None:
        raise error

    with pytest.raises(error):
        reserve_block_device_name(request(), raced(world, wins, RACES + 1))
    assert reserve_block_device_name(request(), raced(world, wins, RACES))["uuid"] == DEVICE


def same_again(world: World, **arguments: Any) -> Callable[[BlockDevice], None]:  # noqa: ANN401
    """Return the same request, come at the same moment by another way, as a rival."""

    def rival(_device: BlockDevice) -> None:
        reserve_block_device_name(request(**arguments), fakes.ports(world))

    return rival


def test_the_same_request_at_the_same_moment_is_answered_with_its_row(world: World) -> None:
    answer = reserve_block_device_name(request(), raced(world, same_again(world)))

    assert answer == world.rows[DEVICE].public()
    assert world.events() == ["block_device.reserved"]


def test_the_id_for_another_volume_at_the_same_moment_is_taken(world: World) -> None:
    rival = same_again(world, volume_id=OTHER_VOLUME)

    with pytest.raises(IdTaken):
        reserve_block_device_name(request(), raced(world, rival))


def test_the_volume_with_another_id_at_the_same_moment_is_attached(world: World) -> None:
    rival = same_again(world, bdm_uuid=OTHER_DEVICE)

    with pytest.raises(VolumeAlreadyAttached):
        reserve_block_device_name(request(), raced(world, rival))


class SeenLate(FakeBlockDevices):
    """Rows that another copy of the request makes just after this one has looked for them."""

    def __init__(self, world: World, rival: Callable[[], object]) -> None:
        super().__init__(world)
        self.rival: Callable[[], object] | None = rival

    def of_instance(self, instance: InstanceId) -> tuple[BlockDevice, ...]:
        rival, self.rival = self.rival, None
        if rival is not None:
            rival()
        return super().of_instance(instance)


@pytest.mark.parametrize("device", [None, "/dev/vdb"])
def test_whatever_the_copy_stumbles_over_it_is_answered_with_the_row(
    world: World, device: str | None
) -> None:
    devices = SeenLate(world, lambda: reserve(world, device=device))
    ports = replace(fakes.ports(world), devices=devices)

    assert reserve_block_device_name(request(device=device), ports)["uuid"] == DEVICE


@pytest.mark.parametrize("given", [None, DEVICE])
def test_a_conflict_with_a_row_that_is_gone_again_is_a_conflict(
    world: World, given: BlockDeviceId | None
) -> None:
    def gone_again(_device: BlockDevice) -> None:
        raise IdTaken

    with pytest.raises(Conflict):
        reserve_block_device_name(request(bdm_uuid=given), raced(world, gone_again))


def test_the_place_of_an_interface_that_is_being_attached_is_taken(world: World) -> None:
    """No layout shows it yet: its row alone says that it will be there."""
    first = PLACES[Bus.VIRTIO][0]
    nic = Peripheral(
        uuid=PeripheralId(DEVICE),
        instance=INSTANCE,
        what=Interface(port=None, kind=InterfaceKind.USER, mac="52:54:00:00:00:01"),
        alias="ua-nic",
        address=first,
    )
    world.peripherals[nic.uuid] = nic

    row = reserve_block_device_name(request(), fakes.ports(world))

    assert row["address"] == str(PLACES[Bus.VIRTIO][1])
