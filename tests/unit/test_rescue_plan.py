"""What a rescue is planned as: which image, which place, which kernel; and what is refused."""

from dataclasses import replace
from uuid import UUID, uuid5

import pytest

from tests.unit.rescue_plans import (
    KERNEL,
    OWN_IMAGE,
    PC,
    Q35,
    RAMDISK,
    RESCUE_IMAGE,
    built,
    disk,
    guest,
    image,
    instance,
    known,
    machine,
    usual,
    with_disks,
)
from tests.unit.scenes import OPERATION
from worker.errors import DeviceTypeUnsupported, NotRescuable
from worker.model.block_device import Bus, DeviceStatus, DeviceType
from worker.model.image import GIB, Image, ImageFile
from worker.model.places.address import DriveAddress, UsbAddress
from worker.model.rescue.plan import image_for, in_rescue, layout_of, planned, sized
from worker.model.rescue.words import Mode, Rescue, RescueSettings, rescue_alias
from worker.model.source import DiskFormat, DiskOptions, FileSource, HostVolume

USB = image(hw_rescue_bus="usb")


def plan(rescue_image: Image = USB, name: str = Q35, **more: object) -> Rescue:
    layout, rows = usual(name)
    return planned(known(layout, rescue_image, *rows, **more))


def test_a_stable_rescue_leaves_all_disks_and_adds_the_last() -> None:
    found = plan()

    assert (found.mode, found.kept, found.moved) == (Mode.STABLE, None, None)
    assert (found.device_type, found.bus) == (DeviceType.DISK, Bus.USB)
    assert (found.spot.target, found.spot.address) == ("sdb", UsbAddress(port=1))
    assert (found.operation, found.image, found.since) == (OPERATION, RESCUE_IMAGE, None)
    assert not found.config_drive


@pytest.mark.parametrize("name", [PC, Q35])
def test_a_cdrom_goes_behind_the_config_drive(name: str) -> None:
    found = plan(image(hw_rescue_device="cdrom"), name)

    kind, target = ("sata", "sdb") if name == Q35 else ("ide", "hdb")
    assert found.spot.target == target
    assert found.spot.address == DriveAddress(kind=kind, unit=1)


def test_what_the_guest_did_before_is_kept() -> None:
    layout, _ = usual()

    assert plan().runs
    assert not plan(guest=guest(layout)).runs


def test_the_instances_own_properties_decide_what_the_image_leaves_open() -> None:
    made_as = built(image_properties={"hw_cdrom_bus": "usb"})

    found = plan(image(hw_rescue_device="cdrom"), instance=instance(made_as))

    assert found.bus is Bus.USB


def test_an_adopted_guest_has_no_properties_of_its_own() -> None:
    assert plan(image(hw_rescue_device="cdrom"), instance=instance()).bus is Bus.SATA


def test_a_domain_that_ends_with_its_guest_cannot_be_rescued() -> None:
    layout, _ = usual()

    with pytest.raises(NotRescuable, match="forgets domain guest-1"):
        plan(guest=guest(None, layout))


@pytest.mark.parametrize("status", sorted(set(DeviceStatus) - {DeviceStatus.ATTACHED}))
def test_a_disk_that_is_not_attached_is_named(status: DeviceStatus) -> None:
    layout, (root, data) = usual()

    with pytest.raises(NotRescuable, match=rf"{data.uuid} \(/dev/vdb\) is {status}"):
        planned(known(layout, USB, root, replace(data, status=status)))


def test_an_image_without_content_is_refused_in_either_mode() -> None:
    volumes = {"block_device_mapping": '[{"boot_index": 0}]'}
    for properties in ({"hw_rescue_bus": "usb"}, {}):
        with pytest.raises(NotRescuable, match="holds no disk"):
            plan(image(**volumes, **properties))


def test_a_pair_that_the_guests_machine_does_not_have_is_refused() -> None:
    ide = image(hw_rescue_device="cdrom", hw_rescue_bus="ide")

    assert plan(ide, PC).bus is Bus.IDE
    with pytest.raises(DeviceTypeUnsupported, match="of a pc-q35"):
        plan(ide, Q35)


def test_a_guest_without_disks_is_rescued_in_stable_mode() -> None:
    assert planned(known(machine(), USB)).spot.target == "sda"


def test_the_file_is_the_same_each_time_and_like_no_disk_of_the_guest() -> None:
    layout, (root, data) = usual()
    first = planned(known(layout, USB, root, data)).disk.uuid
    assert first == str(uuid5(UUID(OPERATION), "rescue.0"))

    alike = replace(data, serial=first[:20] + "-and-more")
    other = planned(known(layout, USB, replace(root, serial=None), alike)).disk.uuid

    assert other == str(uuid5(UUID(OPERATION), "rescue.1"))


@pytest.mark.parametrize(
    ("device", "format_"),
    [("disk", DiskFormat.QCOW2), ("cdrom", DiskFormat.RAW), ("floppy", DiskFormat.RAW)],
)
def test_a_disk_is_made_as_disks_are_and_a_medium_as_it_is(
    device: str, format_: DiskFormat
) -> None:
    assert plan(image(hw_rescue_device=device)).disk.format is format_
    assert plan(local_format=DiskFormat.RAW).disk.format is DiskFormat.RAW


@pytest.mark.parametrize(
    ("device", "min_disk", "size"),
    [("disk", 0, GIB), ("disk", 2, 2 * GIB), ("disk", 1, GIB), ("cdrom", 2, GIB)],
)
def test_the_size_is_the_images_or_the_least_that_it_wants(
    device: str, min_disk: int, size: int
) -> None:
    rescue_image = replace(image(hw_rescue_device=device), min_disk=min_disk)
    file = ImageFile(id=RESCUE_IMAGE, path="/x", format=DiskFormat.RAW, virtual_size=GIB)

    assert sized(plan(rescue_image), file, rescue_image).disk.size == size


WANTED, HOSTS = RESCUE_IMAGE, RescueSettings(image=KERNEL)


def test_the_image_is_the_one_asked_for_else_the_hosts_else_the_instances_own() -> None:
    own = instance(built())

    assert image_for(WANTED, own, HOSTS) == WANTED
    assert image_for(None, own, HOSTS) == KERNEL
    assert image_for(None, own, RescueSettings()) == OWN_IMAGE


@pytest.mark.parametrize("made_as", [None, built(image=None)])
def test_an_instance_made_of_no_image_needs_one_to_be_named(made_as: object) -> None:
    one = instance() if made_as is None else instance(built(image=None))

    with pytest.raises(NotRescuable, match="name a rescue image"):
        image_for(None, one, RescueSettings())
    assert image_for(None, one, HOSTS) == KERNEL


def booted(rescue: Rescue) -> tuple[str | None, str | None, str]:
    return rescue.kernel, rescue.ramdisk, rescue.command_line


def test_a_kernel_that_the_image_names_is_its_own() -> None:
    named = {"hw_rescue_bus": "usb", "kernel_id": KERNEL}

    assert booted(plan(image(**named))) == (KERNEL, None, "")
    named |= {"ramdisk_id": RAMDISK, "os_command_line": "console=ttyS0"}
    assert booted(plan(image(**named))) == (KERNEL, RAMDISK, "console=ttyS0")


def test_the_hosts_kernel_is_for_the_hosts_image() -> None:
    settings = RescueSettings(image=RESCUE_IMAGE, kernel=KERNEL, ramdisk=RAMDISK)

    assert booted(plan(settings=settings)) == (KERNEL, RAMDISK, "")
    assert booted(plan(settings=replace(settings, image=OWN_IMAGE))) == (None, None, "")
    assert booted(plan(settings=replace(settings, kernel=None))) == (None, None, "")


def test_the_instances_kernel_is_for_its_own_image() -> None:
    made_as = built(kernel=KERNEL, ramdisk=RAMDISK, command_line="quiet")

    own = plan(replace(USB, id=OWN_IMAGE), instance=instance(made_as))
    other = plan(USB, instance=instance(made_as))

    assert booted(own) == (KERNEL, RAMDISK, "quiet")
    assert booted(other) == booted(plan(USB, instance=instance())) == (None, None, "")


def test_the_images_own_kernel_goes_before_the_hosts() -> None:
    settings = RescueSettings(image=RESCUE_IMAGE, kernel=KERNEL, ramdisk=RAMDISK)

    found = plan(image(hw_rescue_bus="usb", kernel_id=OWN_IMAGE), settings=settings)

    assert booted(found) == (OWN_IMAGE, None, "")


VOLUME = HostVolume(source=FileSource(path="/rescue"), options=DiskOptions(discard="unmap"))


@pytest.mark.parametrize(("device", "read_only"), [("disk", False), ("cdrom", True)])
def test_the_layout_has_the_disk_where_it_was_planned(device: str, read_only: bool) -> None:  # noqa: FBT001
    rescue = plan(image(hw_rescue_device=device, hw_rescue_bus="usb"))

    layout = layout_of(rescue, instance(), VOLUME)

    made = layout.disk
    assert (made.target, made.address, made.bus) == ("sdb", UsbAddress(port=1), Bus.USB)
    assert (made.boot_order, made.serial) == (1, rescue.disk.uuid)
    assert made.alias == rescue_alias(instance().uuid)
    assert made.options == DiskOptions(discard="unmap", read_only=read_only)
    assert (layout.first, layout.kept, layout.moved) == (False, None, None)


def test_a_floppy_has_no_serial() -> None:
    rescue = plan(image(hw_rescue_device="floppy"))

    assert layout_of(rescue, instance(), VOLUME).disk.serial is None


def test_a_guest_runs_in_rescue_if_it_runs_with_the_rescue_disk() -> None:
    alias = rescue_alias(instance().uuid)
    rescued = with_disks(machine(), disk("sda", Bus.USB, None, alias=alias))

    assert in_rescue(guest(machine(), rescued))
    assert not in_rescue(guest(rescued, machine()))
    assert not in_rescue(guest(rescued))
