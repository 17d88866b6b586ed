"""A LUN that is passed through: where it may go, what it may be, and that it has no serial."""

from dataclasses import replace

import pytest

from tests import fakes
from tests.fakes.volume_service import UNSPOKEN
from tests.fakes.world import World
from tests.unit import power_scenes, scenes
from tests.unit.power_scenes import DATA
from tests.unit.scenes import DEVICE, INSTANCE, OTHER_DEVICE, OTHER_VOLUME, VOLUME
from worker.errors import DeviceTypeUnsupported
from worker.handlers.get_device_metadata import GetDeviceMetadata, get_device_metadata
from worker.model.block_device import Bus, DeviceStatus, DeviceType
from worker.model.connection import Connection
from worker.model.ids import AttachmentId, BlockDeviceId, VolumeId, new_uuid
from worker.model.places.lun import check_bus, check_encryption, check_source
from worker.model.source import BlockSource, DiskFormat, DiskSource, FileSource, IscsiSource
from worker.model.volume import Attachment, AttachmentStatus, VolumeStatus

OVER_ISCSI = IscsiSource(
    host="192.0.2.7", port=3260, iqn="iqn.2026-11.org.example:a", lun=1, initiator="iqn.us:here"
)


@pytest.fixture
def world() -> World:
    return scenes.world()


def in_a_file(world: World, protocol: str = "fake") -> None:
    """Have the volume service answer that the volume is a file, over that protocol."""
    held = Attachment(
        id=AttachmentId(new_uuid()),
        volume=VOLUME,
        instance=INSTANCE,
        status=AttachmentStatus.RESERVED,
        connection=Connection(protocol=protocol, properties={"device_path": f"/files/{VOLUME}"}),
    )
    world.attachments[held.id] = held
    world.volumes[VOLUME] = replace(world.volumes[VOLUME], status=VolumeStatus.RESERVED)


@pytest.mark.parametrize("source", [BlockSource(path="/dev/sdb"), OVER_ISCSI])
def test_a_device_and_a_target_can_be_passed_through(source: DiskSource) -> None:
    check_source(DeviceType.LUN, source)


@pytest.mark.parametrize("format_", DiskFormat)
def test_a_file_cannot_and_its_name_and_format_are_said(format_: DiskFormat) -> None:
    source = FileSource(path="/images/x", format=format_)
    with pytest.raises(DeviceTypeUnsupported, match=rf"/images/x is a file \({format_}\)"):
        check_source(DeviceType.LUN, source)
    check_source(DeviceType.DISK, source)


@pytest.mark.parametrize("bus", Bus)
def test_a_lun_goes_on_scsi_alone(bus: Bus) -> None:
    check_bus(DeviceType.DISK, bus)
    if bus is Bus.SCSI:
        check_bus(DeviceType.LUN, bus)
    else:
        with pytest.raises(DeviceTypeUnsupported, match=f"on bus scsi, not on {bus}"):
            check_bus(DeviceType.LUN, bus)


def test_an_encrypted_volume_is_not_passed_through() -> None:
    check_encryption(DeviceType.LUN, encrypted=False)
    check_encryption(DeviceType.DISK, encrypted=True)
    with pytest.raises(DeviceTypeUnsupported, match="encrypted"):
        check_encryption(DeviceType.LUN, encrypted=True)


def test_a_lun_is_reserved_on_scsi_without_a_serial(world: World) -> None:
    answer = scenes.reserve(world, device_type="lun")
    row = world.rows[DEVICE]
    assert answer == row.public()
    assert (row.device_type, row.bus, row.serial) == (DeviceType.LUN, Bus.SCSI, None)
    assert (row.device_name, row.alias) == ("/dev/sda", f"ua-{VOLUME}")


def test_an_encrypted_volume_is_refused_at_the_reservation(world: World) -> None:
    world.volumes[VOLUME] = replace(world.volumes[VOLUME], encrypted=True)
    with pytest.raises(DeviceTypeUnsupported, match="encrypted"):
        scenes.reserve(world, device_type="lun")
    assert world.rows == {}


def test_how_a_luns_volume_is_called_is_no_twin_of_a_disks_serial(world: World) -> None:
    twin = VolumeId(f"{VOLUME[:-1]}f")
    world.volumes[twin] = replace(world.volumes[OTHER_VOLUME], id=twin)
    scenes.reserve(world, volume=twin, uuid=OTHER_DEVICE, device_type="lun")
    scenes.reserve(world)
    assert world.rows[DEVICE].serial == VOLUME
    assert world.rows[OTHER_DEVICE].serial is None


def attached(world: World, uuid: BlockDeviceId = DEVICE) -> str | None:
    asked = scenes.operation("attach_volume", **scenes.attach_arguments(uuid))
    fault = scenes.run(world, asked).fault
    return None if fault is None else fault.code


def test_a_lun_is_attached_found_and_detached_by_its_alias(world: World) -> None:
    scenes.reserve(world, device_type="lun", tag="tape")
    assert attached(world) is None
    (disk,) = world.guests[INSTANCE].live.values()
    assert (disk.alias, disk.device_type, disk.given_serial) == (
        f"ua-{VOLUME}",
        DeviceType.LUN,
        None,
    )
    asked = GetDeviceMetadata(instance_uuid=INSTANCE)
    (known,) = get_device_metadata(asked, fakes.ports(world))
    assert known["serial"] is None

    detach = scenes.operation("detach_volume", number=2, **scenes.detach_arguments())
    assert scenes.run(world, detach).fault is None
    assert world.guests[INSTANCE].live == {}


def test_a_file_is_refused_at_the_attach_and_no_guest_is_touched(world: World) -> None:
    scenes.reserve(world, device_type="lun")
    in_a_file(world)
    asked = scenes.operation("attach_volume", **scenes.attach_arguments())
    ended = scenes.run(world, asked)
    steps = [step.name for step in ended.steps]
    assert ended.fault is not None
    assert ended.fault.code == "block_device.type_unsupported"
    assert "is a file (raw)" in ended.fault.message
    assert not [name for name in steps if name == "disks.attach"]
    assert (world.guests[INSTANCE].live, world.connected, world.attachments) == ({}, set(), {})
    assert DEVICE not in world.rows or world.rows[DEVICE].deleted


def test_what_the_host_cannot_speak_fails_and_leaves_nothing_to_disconnect(world: World) -> None:
    scenes.reserve(world)
    in_a_file(world, UNSPOKEN)
    assert attached(world) == "volume.protocol_unsupported"
    assert (world.connections, world.attachments) == ({}, {})


def test_what_was_connected_once_is_not_forgotten_for_it(world: World) -> None:
    scenes.reserve(world)
    in_a_file(world, UNSPOKEN)
    ports = fakes.ports(world)
    (held,) = world.attachments.values()
    assert held.connection is not None
    ports.connections.put(ports.devices.get(DEVICE), held.connection)
    scenes.run(world, scenes.operation("attach_volume", **scenes.attach_arguments()))
    assert list(world.connections) == [DEVICE]


def test_a_disk_in_a_file_is_attached_as_ever(world: World) -> None:
    scenes.reserve(world)
    in_a_file(world)
    assert attached(world) is None


def test_a_start_leaves_out_a_lun_whose_volume_has_become_a_file() -> None:
    world = power_scenes.off()
    row = world.rows[DATA]
    world.rows[DATA] = replace(row, device_type=DeviceType.LUN, bus=Bus.SCSI, serial=None)
    for key, held in world.attachments.items():
        if held.volume == row.volume:
            path = {"device_path": f"/files/{held.volume}"}
            moved = Connection(protocol="fake", properties=path)
            world.attachments[key] = replace(held, connection=moved)
    asked = scenes.operation("start_instance", instance_uuid=INSTANCE)
    assert scenes.run(world, asked).fault is None
    assert world.rows[DATA].status is DeviceStatus.MISSING
