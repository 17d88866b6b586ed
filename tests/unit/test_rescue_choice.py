"""What a rescue image's properties decide: mode, device and bus."""

from collections.abc import Mapping

import pytest

from tests.unit.rescue_plans import PC, Q35, image
from worker.errors import BusUnsupported, DeviceTypeUnsupported, NotRescuable
from worker.model.block_device import Bus, DeviceType
from worker.model.rescue.choice import check_content, chosen, mode_of
from worker.model.rescue.words import Mode

ARM = "virt-7.2"
DISK, CDROM, FLOPPY = "disk", "cdrom", "floppy"


def choice(
    given: Mapping[str, str], machine: str = PC, own: Mapping[str, str] | None = None
) -> tuple[str, str]:
    found = chosen(image(**given), own or {}, machine)
    return found.device_type.value, found.bus.value


@pytest.mark.parametrize(
    ("given", "machine", "wanted"),
    [
        ({"hw_rescue_device": FLOPPY}, PC, (FLOPPY, "fdc")),
        ({"hw_rescue_device": FLOPPY}, Q35, (FLOPPY, "fdc")),
        ({"hw_rescue_bus": "virtio"}, PC, (DISK, "virtio")),
        ({"hw_rescue_device": DISK, "hw_disk_bus": "scsi"}, PC, (DISK, "scsi")),
        ({"hw_rescue_device": CDROM, "hw_cdrom_bus": "sata"}, PC, (CDROM, "sata")),
        ({"hw_rescue_device": CDROM}, Q35, (CDROM, "sata")),
        ({"hw_rescue_device": CDROM}, PC, (CDROM, "ide")),
        ({"hw_rescue_device": CDROM}, ARM, (CDROM, "scsi")),
        ({"hw_rescue_device": CDROM, "hw_disk_bus": "virtio"}, Q35, (CDROM, "sata")),
        ({"hw_rescue_device": CDROM, "hw_rescue_bus": "usb"}, Q35, (CDROM, "usb")),
        ({"hw_rescue_bus": "usb", "hw_disk_bus": "scsi"}, Q35, (DISK, "usb")),
        ({}, PC, (DISK, "virtio")),
    ],
)
def test_the_verified_answers(given: dict[str, str], machine: str, wanted: tuple[str, str]) -> None:
    assert choice(given, machine) == wanted


@pytest.mark.parametrize("bus", ["xen", "lxc", "nvme", "bogus", "USB", ""])
def test_a_bus_that_does_not_exist_is_refused(bus: str) -> None:
    with pytest.raises(BusUnsupported):
        choice({"hw_rescue_bus": bus})


@pytest.mark.parametrize("device", ["lun", "fs", "Disk", ""])
def test_a_device_that_no_image_can_be_is_refused_with_those_that_it_can(device: str) -> None:
    with pytest.raises(DeviceTypeUnsupported, match="none of cdrom, disk, floppy"):
        choice({"hw_rescue_device": device})


@pytest.mark.parametrize(
    ("device", "bus", "machine"),
    [(FLOPPY, "virtio", PC), (CDROM, "virtio", PC), (DISK, "ide", Q35), (DISK, "fdc", PC)],
)
def test_a_pair_that_the_machine_does_not_have_is_refused(
    device: str, bus: str, machine: str
) -> None:
    with pytest.raises(DeviceTypeUnsupported, match=f"{device} cannot be on bus {bus}"):
        choice({"hw_rescue_device": device, "hw_rescue_bus": bus}, machine)


def test_what_the_rescue_image_leaves_open_the_instance_was_built_with() -> None:
    own = {"hw_disk_bus": "scsi", "hw_cdrom_bus": "usb"}

    assert choice({"hw_rescue_device": DISK}, own=own) == (DISK, "scsi")
    assert choice({"hw_rescue_device": CDROM}, own=own) == (CDROM, "usb")
    assert choice({"hw_rescue_device": DISK, "hw_disk_bus": "usb"}, own=own) == (DISK, "usb")


def test_the_instance_does_not_say_that_a_rescue_is_a_stable_one() -> None:
    found = chosen(image(), {"hw_rescue_bus": "usb", "hw_rescue_device": CDROM}, PC)

    assert (found.mode, found.device_type, found.bus) == (
        Mode.LEGACY,
        DeviceType.DISK,
        Bus.VIRTIO,
    )


@pytest.mark.parametrize("given", [{"hw_rescue_bus": "usb"}, {"hw_rescue_device": DISK}])
def test_either_property_makes_it_a_stable_one(given: dict[str, str]) -> None:
    assert mode_of(image(**given)) is Mode.STABLE
    assert chosen(image(**given), {}, PC).mode is Mode.STABLE


def test_with_neither_it_is_a_legacy_one() -> None:
    assert mode_of(image(hw_disk_bus="scsi")) is Mode.LEGACY


@pytest.mark.parametrize("name", ["block_device_mapping", "img_block_device_mapping"])
def test_the_image_of_an_instance_that_boots_from_a_volume_holds_no_disk(name: str) -> None:
    with pytest.raises(NotRescuable, match="holds no disk of its own"):
        check_content(image(**{name: '[{"source_type": "snapshot"}]'}))


@pytest.mark.parametrize("text", ["[]", ""])
def test_an_image_that_names_no_volume_holds_one(text: str) -> None:
    check_content(image(block_device_mapping=text))
