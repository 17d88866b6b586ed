"""From what is asked for to specification and rows: decided once, and always alike."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.build_scenes import DATA_VOLUME, IMAGE, ISO, KERNEL, PORT, RAMDISK
from tests.unit.scenes import INSTANCE, VOLUME
from worker.errors import (
    BusUnsupported,
    DeviceTypeUnsupported,
    NoFreePort,
    SpecificationInvalid,
    TagTaken,
    TooManyDevices,
    WorkerError,
)
from worker.handlers.build_instance import BuildInstance
from worker.model.block_device import Bus, DeviceStatus, DeviceType, SourceType
from worker.model.build.checks import check_wanted
from worker.model.build.disks import Facts, draw, is_of, root_row
from worker.model.build.machine import sketch_of, specification_of
from worker.model.build.plan import Plan, planned, sized
from worker.model.build.wanted import Wanted
from worker.model.ids import BlockDeviceId, ImageId, OperationId, VolumeId
from worker.model.image import GIB, Image, ImageFile
from worker.model.instance import Instance, VmState
from worker.model.machine import Machine
from worker.model.places.controllers import empty_layout
from worker.model.source import DiskFormat
from worker.model.specification import Firmware
from worker.model.volume import Volume, VolumeStatus
from worker.rpc.reading import request_from

OPERATION = OperationId("0b5e0000-0000-4000-8000-000000000001")
VOLUMES = [VolumeId(f"{n:08d}-0a52-4c8c-8f5b-3d3e6d9e0000") for n in range(8)]


def wanted(**changed: Any) -> Wanted:  # noqa: ANN401 - as a caller would
    arguments: dict[str, Any] = {
        "instance_uuid": INSTANCE,
        "name": "guest-1",
        "vcpus": 2,
        "memory_mb": 512,
        "image_ref": IMAGE,
    }
    given_ = {name: value for name, value in (arguments | changed).items() if value is not None}
    return request_from(BuildInstance, given_)


def facts(image: Image | None = None, **changed: Any) -> Facts:  # noqa: ANN401
    images = {
        IMAGE: image or Image(id=IMAGE, name="linux", format="qcow2"),
        ISO: Image(id=ISO, name="installer", format="iso", min_disk=5),
    }
    volumes = {
        volume: Volume(id=volume, size=GIB + 1, status=VolumeStatus.AVAILABLE, volume_type="fast")
        for volume in (VOLUME, DATA_VOLUME, *VOLUMES)
    }
    return Facts(operation=OPERATION, images=images, volumes=volumes, **changed)


def plan(image: Image | None = None, size: int = GIB, **changed: Any) -> Plan:  # noqa: ANN401
    """Check and plan, as the handler does, with images of that size."""
    asked, known = wanted(**changed), facts(image)
    check_wanted(asked)
    files = {
        each: ImageFile(id=each, path="/x", format=DiskFormat.QCOW2, virtual_size=size)
        for each in known.images
    }
    return sized(planned(asked, known), files, known.images)


def with_properties(**properties: str) -> Image:
    return Image(id=IMAGE, name="linux", format="qcow2", properties=properties)


def blank(size: int = GIB, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"source_type": "blank", "size": size, **more}


def of_volume(volume: str = VOLUME, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"source_type": "volume", "volume_id": volume, **more}


def of_image(**more: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"source_type": "image", "image_id": IMAGE, **more}


def instance_of(found: Plan) -> Instance:
    return Instance(
        uuid=INSTANCE,
        host="host-1",
        name="guest-1",
        vm_state=VmState.BUILDING,
        specification=found.specification,
    )


def machine(**changed: Any) -> Machine:  # noqa: ANN401
    found = plan(**changed)
    return sketch_of(instance_of(found), found.rows, found.interfaces)


class TestOrder:
    def test_the_root_is_first_then_ephemerals_swap_and_volumes(self) -> None:
        found = plan(
            root_gb=3,
            ephemeral_gb=[1, 2],
            swap_mb=512,
            block_devices=[
                of_volume(),
                of_image(size=4 * GIB),
                blank(guest_format="swap"),
                blank(guest_format="vfat", tag="scratch"),
            ],
        )
        told = [
            (row.device_name, row.source_type.value, row.guest_format, row.volume_size, row.tag)
            for row in found.rows
        ]
        assert told == [
            ("/dev/vda", "image", None, 3, None),
            ("/dev/vdb", "blank", "ext4", 1, None),
            ("/dev/vdc", "blank", "ext4", 2, None),
            ("/dev/vdd", "blank", "vfat", 1, "scratch"),
            ("/dev/vde", "blank", "swap", 1, None),
            ("/dev/vdf", "blank", "swap", 1, None),
            ("/dev/vdg", "image", None, 4, None),
            ("/dev/vdh", "volume", None, 2, None),
        ]
        assert [row.boot_index for row in found.rows] == [0] + [None] * 7
        assert [disk.size for disk in found.specification.disks] == [
            3 * GIB, GIB, 2 * GIB, GIB, 512 << 20, GIB, 4 * GIB,
        ]  # fmt: skip

    def test_a_volume_with_boot_index_0_is_the_root(self) -> None:
        disks = [blank(), of_volume(boot_index=1), of_volume(DATA_VOLUME, boot_index=0)]
        found = plan(image_ref=None, block_devices=disks)
        assert [row.volume for row in found.rows] == [DATA_VOLUME, None, VOLUME]
        assert found.specification.image is None
        assert [disk.boot_order for disk in machine(image_ref=None, block_devices=disks).disks] == [
            1, None, 2,
        ]  # fmt: skip

    def test_a_disk_of_the_image_with_boot_index_0_is_its_root_and_may_say_more(self) -> None:
        found = plan(root_gb=7, block_devices=[of_image(boot_index=0, tag="system")])
        assert [(row.tag, row.volume_size) for row in found.rows] == [("system", 7)]

    def test_a_negative_boot_index_is_none(self) -> None:
        assert plan(block_devices=[blank(boot_index=-1)]).rows[1].boot_index is None


class TestMarks:
    def test_a_local_disk_has_its_rows_uuid_and_a_volume_its_id(self) -> None:
        local, volume = plan(block_devices=[of_volume()]).rows
        assert (local.alias, local.serial) == (f"ua-{local.uuid}", local.uuid)
        assert (volume.alias, volume.serial) == (f"ua-{VOLUME}", VOLUME)
        assert (volume.volume_size, volume.volume_type) == (2, "fast")
        assert (local.delete_on_termination, volume.delete_on_termination) == (True, False)
        assert {local.status, volume.status} == {DeviceStatus.ATTACHING}

    def test_an_id_whose_beginning_is_taken_is_drawn_anew(self) -> None:
        ids = [BlockDeviceId(f"{n:08d}-aaaa-4000-8000-000000000000") for n in range(3)]
        taken = {ids[0][:20], ids[1][:20]}
        assert draw(iter(ids), taken) == ids[2]

    def test_a_row_that_clashes_with_a_volume_has_another_id(self) -> None:
        clashing = VolumeId(f"{root_row(OPERATION)[:20]}aaa-aaaaaaaaaaaa")
        known = facts()
        known = replace(known, volumes={clashing: replace(known.volumes[VOLUME], id=clashing)})
        found = planned(wanted(block_devices=[of_volume(clashing)]), known)
        assert found.rows[0].uuid != root_row(OPERATION)
        assert is_of(OPERATION, found.rows[0])

    def test_another_operation_has_other_rows(self) -> None:
        other = OperationId("0b5e0000-0000-4000-8000-000000000002")
        assert not is_of(other, plan().rows[0])


class TestProperties:
    def test_the_images_bus_is_that_of_every_disk_that_names_none(self) -> None:
        found = plan(
            with_properties(hw_disk_bus="scsi"),
            block_devices=[of_volume(), blank(disk_bus="virtio")],
        )
        assert [(row.target, row.unit) for row in found.rows] == [
            ("sda", 0), ("vda", None), ("sdb", 1),
        ]  # fmt: skip
        assert found.specification.image_properties == {"hw_disk_bus": "scsi"}

    def test_an_iso_is_a_cd_as_large_as_it_is(self) -> None:
        found = plan(image_ref=ISO, root_gb=9, size=3 * GIB)
        (row,), (disk,) = found.rows, found.specification.disks
        assert (row.device_type, row.bus, row.boot_index) == (DeviceType.CDROM, Bus.SATA, 0)
        assert (disk.size, disk.format) == (3 * GIB, DiskFormat.RAW)
        assert machine(image_ref=ISO).disks[0].options.read_only

    @pytest.mark.parametrize(
        ("properties", "bus"),
        [({}, Bus.IDE), ({"hw_cdrom_bus": "scsi"}, Bus.SCSI), ({"hw_cdrom_bus": "usb"}, Bus.USB)],
    )
    def test_a_cd_is_where_the_machine_or_the_image_has_it(
        self, properties: dict[str, str], bus: Bus
    ) -> None:
        found = plan(
            with_properties(hw_machine_type="pc", **properties),
            block_devices=[blank(device_type="cdrom")],
        )
        assert found.rows[1].bus is bus

    def test_a_floppy_has_its_controller_and_others_have_none(self) -> None:
        found = plan(block_devices=[blank(1474560 // 512 * 512, device_type="floppy")])
        assert found.rows[1].bus is Bus.FDC
        assert found.specification.shape.floppy
        assert not plan().specification.shape.floppy

    def test_the_request_comes_before_the_image(self) -> None:
        image = with_properties(
            hw_machine_type="pc", hw_firmware_type="uefi", hw_vif_model="e1000", kernel_id=KERNEL,
            ramdisk_id=RAMDISK, os_command_line="quiet", hw_scsi_model="lsilogic",
            hw_disk_discard="unmap", img_config_drive="mandatory", os_distro="debian",
        )  # fmt: skip
        network = {"port_id": PORT, "kind": "user"}
        by_image = plan(image, networks=[network]).specification
        assert (by_image.shape.machine_type, by_image.shape.scsi_model) == ("pc", "lsilogic")
        assert by_image.firmware is Firmware.UEFI
        assert by_image.interfaces[0].model == "e1000"
        assert (by_image.kernel, by_image.ramdisk, by_image.command_line) == (
            KERNEL, RAMDISK, "quiet",
        )  # fmt: skip
        assert by_image.disks[0].discard == "unmap"
        assert by_image.config_drive
        assert "os_distro" not in by_image.image_properties
        named = plan(
            image,
            machine_type="q35",
            firmware="bios",
            networks=[network | {"model": "virtio", "mac": "52:54:00:AA:00:01"}],
            command_line="single",
            kernel_id=RAMDISK,
        ).specification
        assert named.shape.machine_type == "q35"
        assert named.firmware is Firmware.BIOS
        assert (named.interfaces[0].model, named.interfaces[0].mac) == (
            "virtio", "52:54:00:aa:00:01",
        )  # fmt: skip
        assert (named.kernel, named.command_line) == (RAMDISK, "single")

    def test_a_mac_is_made_of_the_ports_id(self) -> None:
        networks = [{"port_id": PORT, "kind": "bridge", "target": "br0"}]
        assert plan(networks=networks).specification.interfaces[0].mac == "52:54:00:00:00:01"

    def test_without_a_kernel_there_is_no_ramdisk_and_no_command_line(self) -> None:
        found = plan(with_properties(ramdisk_id=RAMDISK, os_command_line="x")).specification
        assert (found.kernel, found.ramdisk, found.command_line) == (None, None, "")


class TestSizes:
    def test_without_a_size_the_root_is_as_large_as_the_image_wants(self) -> None:
        assert plan(size=GIB + 1).specification.disks[0].size == GIB + 512
        wants = Image(id=IMAGE, name="linux", format="raw", min_disk=4)
        assert plan(wants).specification.disks[0].size == 4 * GIB

    @pytest.mark.parametrize("image", [None, Image(id=IMAGE, name="", format="raw", min_disk=3)])
    def test_a_root_that_is_too_small_is_refused(self, image: Image | None) -> None:
        with pytest.raises(SpecificationInvalid, match="too small"):
            plan(image, size=2 * GIB + 1, root_gb=2)

    def test_too_little_memory_is_refused(self) -> None:
        wants = Image(id=IMAGE, name="linux", format="raw", min_memory=513)
        with pytest.raises(SpecificationInvalid, match="memory_mb is 512"):
            plan(wants)


class TestConfigDrive:
    def test_it_is_a_cd_in_the_first_place_that_is_left(self) -> None:
        *_, drive = machine(config_drive=True, block_devices=[blank(device_type="cdrom")]).disks
        assert (drive.target, drive.bus, drive.serial) == ("sdb", Bus.SATA, None)
        assert drive.alias == f"ua-config-{INSTANCE}"
        assert drive.options.read_only

    def test_one_that_finds_no_place_is_refused(self) -> None:
        cds = [blank(device_type="cdrom") for _ in range(6)]
        with pytest.raises(TooManyDevices):
            machine(config_drive=True, block_devices=cds)


REFUSED: list[tuple[dict[str, Any], type[WorkerError], str]] = [
    ({"name": "a/b"}, SpecificationInvalid, "name"),
    ({"name": ""}, SpecificationInvalid, "name"),
    ({"name": "ä" * 101}, SpecificationInvalid, "name"),
    ({"vcpus": 0}, SpecificationInvalid, "vcpus is 0"),
    ({"memory_mb": -1}, SpecificationInvalid, "memory_mb is -1"),
    ({"root_gb": 0}, SpecificationInvalid, "root_gb is 0"),
    ({"swap_mb": 0}, SpecificationInvalid, "swap_mb is 0"),
    ({"ephemeral_gb": [1, -2]}, SpecificationInvalid, r"ephemeral_gb\[1\] is -2"),
    ({"ramdisk_id": RAMDISK}, SpecificationInvalid, "without kernel_id"),
    ({"kernel_id": KERNEL, "command_line": "a\nb"}, SpecificationInvalid, "command_line"),
    ({"firmware": "coreboot"}, SpecificationInvalid, "firmware 'coreboot'"),
    ({"machine_type": "q 35"}, SpecificationInvalid, "machine type"),
    ({"image_ref": None}, SpecificationInvalid, "nothing to boot from"),
    ({"block_devices": [of_volume(boot_index=0)]}, SpecificationInvalid, "two disks"),
    (
        {"image_ref": None, "block_devices": [blank(boot_index=0), of_volume(boot_index=0)]},
        SpecificationInvalid,
        "two disks",
    ),
    (
        {"image_ref": None, "root_gb": 1, "block_devices": [of_volume(boot_index=0)]},
        SpecificationInvalid,
        "root_gb is given",
    ),
    (
        {"root_gb": 1, "block_devices": [of_image(boot_index=0, size=GIB)]},
        SpecificationInvalid,
        "root_gb is given",
    ),
    ({"block_devices": [blank(tag="a"), blank(tag="a")]}, TagTaken, "'a'"),
    ({"block_devices": [blank(tag="a/b")]}, SpecificationInvalid, r"block_devices\[0\].tag"),
    (
        {"block_devices": [blank(boot_index=1), blank(boot_index=1)]},
        SpecificationInvalid,
        "boot_index 1 is given twice",
    ),
    ({"block_devices": [blank(boot_index=1001)]}, SpecificationInvalid, "above 1000"),
    ({"block_devices": [of_volume(), of_volume()]}, SpecificationInvalid, "volume .* twice"),
    (
        {"block_devices": [of_volume(VOLUME), of_volume(f"{VOLUME[:-1]}2")]},
        SpecificationInvalid,
        "two volumes' ids begin with",
    ),
    ({"block_devices": [blank(0)]}, SpecificationInvalid, r"block_devices\[0\].size is 0"),
    ({"block_devices": [blank(513)]}, SpecificationInvalid, "multiple of 512"),
    ({"block_devices": [{"source_type": "snapshot"}]}, SpecificationInvalid, "source_type"),
    ({"block_devices": [{"source_type": "blank"}]}, SpecificationInvalid, "size is needed"),
    ({"block_devices": [of_volume(size=GIB)]}, SpecificationInvalid, "size says nothing"),
    ({"block_devices": [of_image(guest_format="ext4")]}, SpecificationInvalid, "guest_format"),
    ({"block_devices": [blank(guest_format="ntfs")]}, SpecificationInvalid, "guest_format"),
    ({"block_devices": [blank(disk_bus="sd")]}, BusUnsupported, "'sd'"),
    ({"block_devices": [blank(disk_bus="ide")]}, BusUnsupported, "ide"),
    (
        {"machine_type": "pc", "block_devices": [blank(disk_bus="sata")]},
        BusUnsupported,
        "sata",
    ),
    ({"block_devices": [blank(device_type="lun")]}, DeviceTypeUnsupported, "device_type"),
    (
        {"block_devices": [blank(device_type="cdrom", disk_bus="virtio")]},
        DeviceTypeUnsupported,
        "a cdrom cannot be on bus virtio",
    ),
    (
        {"block_devices": [blank(disk_bus="virtio") for _ in range(30)]},
        NoFreePort,
        "no free place",
    ),
    ({"networks": [{"port_id": PORT, "kind": "vxlan"}]}, SpecificationInvalid, "kind"),
    (
        {"networks": [{"port_id": PORT, "kind": "user", "target": "br0"}]},
        SpecificationInvalid,
        "target says nothing",
    ),
    ({"networks": [{"port_id": PORT, "kind": "tap"}]}, SpecificationInvalid, "name of a tap"),
    (
        {"networks": [{"port_id": PORT, "kind": "user", "mac": "01:00:5e:00:00:01"}]},
        SpecificationInvalid,
        "unicast",
    ),
    (
        {"networks": [{"port_id": PORT, "kind": "user", "model": "'/>"}]},
        SpecificationInvalid,
        "model",
    ),
    ({"networks": [{"port_id": PORT, "kind": "user"}] * 2}, SpecificationInvalid, "port"),
]


@pytest.mark.parametrize(("changed", "error", "words"), REFUSED)
def test_what_cannot_be_is_refused_with_the_reason(
    changed: dict[str, Any], error: type[WorkerError], words: str
) -> None:
    with pytest.raises(error, match=words):
        plan(**changed)


@pytest.mark.parametrize(
    ("properties", "error"),
    [
        ({"hw_disk_bus": "nvme"}, BusUnsupported),
        ({"hw_disk_bus": "fdc"}, DeviceTypeUnsupported),
        ({"hw_scsi_model": "<x/>"}, SpecificationInvalid),
        ({"hw_disk_discard": "on"}, SpecificationInvalid),
        ({"hw_firmware_type": "open"}, SpecificationInvalid),
    ],
)
def test_a_property_that_means_nothing_is_refused(
    properties: dict[str, str], error: type[WorkerError]
) -> None:
    with pytest.raises(error):
        plan(with_properties(**properties))


def test_more_disks_than_are_allowed_are_refused() -> None:
    with pytest.raises(TooManyDevices):
        planned(wanted(block_devices=[blank()]), facts(max_disk_devices=1))


def test_an_adopted_instance_has_nothing_to_be_made_of() -> None:
    adopted = Instance(uuid=INSTANCE, host="h", name="n", vm_state=VmState.ACTIVE)
    with pytest.raises(AssertionError):
        specification_of(adopted)


BUSES = st.sampled_from([None, "virtio", "scsi", "sata", "usb", "ide"])
DISKS = st.lists(
    st.one_of(
        st.builds(blank, disk_bus=BUSES, guest_format=st.sampled_from([None, "swap", "ext4"])),
        st.builds(blank, device_type=st.sampled_from(["cdrom", "floppy"])),
        st.builds(of_image, disk_bus=BUSES),
    ),
    max_size=10,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    disks=DISKS,
    volumes=st.lists(st.sampled_from(VOLUMES), unique=True, max_size=6),
    machine_type=st.sampled_from(["q35", "pc", "pc-q35-7.2", "pc-i440fx-7.2"]),
    bus=BUSES,
    interfaces=st.integers(0, 3),
    ephemeral=st.lists(st.integers(1, 9), max_size=3),
    config_drive=st.booleans(),
)
def test_any_mix_of_disks_is_refused_or_has_places_and_marks_of_its_own(  # noqa: PLR0917
    disks: list[dict[str, Any]],
    volumes: list[VolumeId],
    machine_type: str,
    bus: str | None,
    interfaces: int,
    ephemeral: list[int],
    *,
    config_drive: bool,
) -> None:
    asked: dict[str, Any] = {
        "block_devices": [*disks, *(of_volume(volume) for volume in volumes)],
        "machine_type": machine_type,
        "ephemeral_gb": ephemeral,
        "config_drive": config_drive,
        "networks": [
            {"port_id": f"{n:08d}-0000-4000-8000-000000000000", "kind": "user"}
            for n in range(interfaces)
        ],
    }
    image = with_properties(**({} if bus is None else {"hw_disk_bus": bus}))
    try:
        found = plan(image, **asked)
        made = sketch_of(instance_of(found), found.rows, found.interfaces)
    except (BusUnsupported, TooManyDevices, NoFreePort, DeviceTypeUnsupported):
        return
    assert plan(image, **asked) == found
    assert len(found.rows) == 1 + len(ephemeral) + len(disks) + len(volumes)
    for marks in (
        [disk.target for disk in made.disks],
        [disk.address for disk in made.disks],
        [disk.alias for disk in made.disks],
        [row.uuid for row in found.rows],
        [row.serial[:20] for row in found.rows if row.serial],
    ):
        assert len(set(marks)) == len(marks)
    empty = empty_layout(found.specification.shape, interfaces)
    for disk in made.disks:
        assert disk.address in empty.places[disk.bus]
        assert disk.address not in empty.taken
    locals_ = [row.uuid for row in found.rows if row.source_type is not SourceType.VOLUME]
    assert [disk.uuid for disk in found.specification.disks] == locals_


@settings(deadline=None)
@given(volumes=st.lists(st.sampled_from(VOLUMES), unique=True, min_size=1, max_size=6))
def test_one_disk_more_at_the_end_changes_no_other(volumes: list[VolumeId]) -> None:
    every = plan(block_devices=[of_volume(volume) for volume in volumes]).rows
    but_one = plan(block_devices=[of_volume(volume) for volume in volumes[:-1]]).rows
    assert every[:-1] == but_one


def test_a_changed_image_changes_nothing_that_is_kept() -> None:
    """The specification holds what bore on a choice; a sketch of it asks for nothing else."""
    found = plan(with_properties(hw_disk_bus="scsi", hw_cdrom_bus="usb"), config_drive=True)
    again = sketch_of(instance_of(found), found.rows, found.interfaces)
    assert again.disks[-1].bus is Bus.USB
    assert ImageId(IMAGE) == found.specification.image
