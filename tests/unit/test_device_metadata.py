"""How a user inside the guest finds the disks that he knows by their tags."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import IdTaken, RequestMalformed
from worker.model.block_device import BlockDevice, Bus, DeviceStatus, DeviceType
from worker.model.device_metadata import device_metadata
from worker.model.identity.serials import SHOWN_BY_VIRTIO, alike, serial_for
from worker.model.ids import BlockDeviceId, InstanceId, new_uuid
from worker.model.places.address import Address, DriveAddress, PciAddress, UsbAddress
from worker.model.tags import check_tag

SERIAL = "8e1d0c5e-9f2a-4a35-b2c4-0d5f3ad0a001"
ROW = BlockDevice(
    uuid=BlockDeviceId(SERIAL),
    instance=InstanceId("i"),
    volume=None,
    device_name="/dev/vdb",
    bus=Bus.VIRTIO,
    alias=f"ua-{SERIAL}",
    serial=SERIAL,
    address=PciAddress(bus=4, slot=0),
    status=DeviceStatus.ATTACHED,
    tag="data",
)


def test_a_tagged_local_disk_is_told_with_its_serial_and_a_path_that_does_not_move() -> None:
    assert device_metadata([ROW], {}) == [
        {
            "type": "disk",
            "bus": "pci",
            "address": "0000:04:00.0",
            "serial": SERIAL,
            "path": f"/dev/disk/by-id/virtio-{SERIAL[:20]}",
            "tags": ["data"],
        }
    ]


def test_a_disk_without_a_tag_is_not_told() -> None:
    assert device_metadata([replace(ROW, tag=None)], {}) == []


@pytest.mark.parametrize("status", [DeviceStatus.RESERVED, DeviceStatus.MISSING])
def test_a_disk_that_the_guest_has_not_is_not_told(status: DeviceStatus) -> None:
    assert device_metadata([replace(ROW, status=status)], {}) == []


def test_the_running_guest_says_where_the_disk_is() -> None:
    assert (
        device_metadata([ROW], {ROW.uuid: PciAddress(bus=4, slot=0)})[0]["address"]
        == "0000:04:00.0"
    )


def test_a_disk_that_the_layout_lacks_is_where_its_row_says() -> None:
    other = replace(ROW, alias="ua-other")
    assert device_metadata([other], {})[0]["bus"] == "pci"


@pytest.mark.parametrize(
    ("bus", "address", "told"),
    [
        (Bus.SCSI, DriveAddress(kind="scsi", unit=3), ("scsi", "0:0:0:3")),
        (Bus.SATA, DriveAddress(kind="sata", unit=1), ("sata", "0:0:0:1")),
        (Bus.IDE, DriveAddress(kind="ide", bus=1, unit=0), ("ide", "0:1:0:0")),
        (Bus.USB, UsbAddress(port=2), ("usb", "0:2")),
        (Bus.VIRTIO, None, ("none", None)),
    ],
)
def test_each_bus_is_told_in_its_own_words(
    bus: Bus, address: Address | None, told: tuple[str, str | None]
) -> None:
    found = device_metadata([replace(ROW, bus=bus, address=address)], {})[0]
    assert (found["bus"], found["address"]) == told


@pytest.mark.parametrize(
    ("bus", "path"),
    [
        (Bus.SCSI, f"/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_{SERIAL}"),
        (Bus.SATA, f"/dev/disk/by-id/ata-QEMU_HARDDISK_{SERIAL[:20]}"),
        (Bus.IDE, f"/dev/disk/by-id/ata-QEMU_HARDDISK_{SERIAL[:20]}"),
        (Bus.USB, None),
    ],
)
def test_the_path_is_the_one_that_udev_makes(bus: Bus, path: str | None) -> None:
    assert device_metadata([replace(ROW, bus=bus)], {})[0]["path"] == path


@pytest.mark.parametrize("kind", [DeviceType.LUN, DeviceType.CDROM])
def test_what_is_no_plain_disk_has_no_path(kind: DeviceType) -> None:
    found = device_metadata([replace(ROW, device_type=kind)], {})[0]
    assert found["path"] is None
    assert found["serial"] == (None if kind is DeviceType.LUN else SERIAL)


@pytest.mark.parametrize("text", ["", "a/b", "a,b", "x" * 61, "a\n"])
def test_what_is_no_tag_is_refused(text: str) -> None:
    with pytest.raises(RequestMalformed):
        check_tag(text)


@pytest.mark.parametrize("text", [None, "data", "x" * 60, "größe 1"])
def test_a_tag_may_be_any_short_name(text: str | None) -> None:
    check_tag(text)


def test_a_volume_that_looks_like_another_disk_gets_the_serial_of_its_row() -> None:
    twin = SERIAL[:SHOWN_BY_VIRTIO] + "ffff-ffffffffffff"
    uuid, serial = serial_for(SERIAL, None, [twin])
    assert serial == uuid
    assert not alike(serial, [twin])


def test_an_id_that_was_given_and_looks_alike_is_refused() -> None:
    given_id = BlockDeviceId(SERIAL[:SHOWN_BY_VIRTIO] + "0000-000000000000")
    with pytest.raises(IdTaken):
        serial_for(SERIAL, given_id, [SERIAL])


def test_an_id_that_was_given_and_is_unlike_is_the_serial() -> None:
    given_id = BlockDeviceId(new_uuid())
    assert serial_for(SERIAL, given_id, [SERIAL]) == (given_id, given_id)


@given(st.lists(st.uuids().map(str), max_size=8))
def test_no_two_disks_of_an_instance_ever_look_alike(volumes: list[str]) -> None:
    taken: list[str] = []
    for volume in volumes * 2:
        serial = serial_for(volume, None, taken)[1]
        assert not alike(serial, taken)
        taken.append(serial)
