"""A legacy rescue: the rescue disk in the root's place, the root second, no other disk."""

from dataclasses import replace

import pytest

from tests.unit.rescue_plans import (
    PC,
    Q35,
    disk,
    image,
    instance,
    known,
    machine,
    place,
    row,
    usual,
    with_disks,
)
from worker.errors import BusUnsupported, NoFreePort, NotRescuable
from worker.model.block_device import BlockDevice, Bus, DeviceType
from worker.model.guest import GuestDisk, Layout
from worker.model.places.address import DriveAddress
from worker.model.rescue.plan import layout_of, planned
from worker.model.rescue.spots import root_of, row_of_disk
from worker.model.rescue.words import Mode, Rescue, Spot
from worker.model.source import DiskOptions, FileSource, HostVolume

PLAIN = image()


def plan(layout: Layout, *rows: BlockDevice, **properties: str) -> Rescue:
    return planned(known(layout, image(**properties), *rows))


def scsi(unit: int) -> DriveAddress:
    return DriveAddress(kind="scsi", unit=unit)


@pytest.mark.parametrize("name", [PC, Q35])
def test_the_rescue_disk_is_where_the_root_was_and_the_root_behind_it(name: str) -> None:
    layout, rows = usual(name)
    empty = machine(name)

    found = plan(layout, *rows)

    config = "sda" if name == Q35 else "hda"
    assert (found.mode, found.bus, found.device_type) == (
        Mode.LEGACY,
        Bus.VIRTIO,
        DeviceType.DISK,
    )
    assert found.spot == Spot(target="vda", address=place(empty, Bus.VIRTIO))
    assert found.kept == ("vda", config)
    # The second place of the bus is the volume's, which is only not there.
    assert found.moved == {"vda": Spot(target="vdb", address=place(empty, Bus.VIRTIO, 2))}


def test_it_comes_first_in_the_layout() -> None:
    layout, rows = usual()
    rescue = plan(layout, *rows)
    volume = HostVolume(source=FileSource(path="/rescue"), options=DiskOptions())

    made = layout_of(rescue, instance(), volume)

    assert made.first
    assert (made.kept, made.moved) == (rescue.kept, rescue.moved)
    assert made.disk.target == "vda"


@pytest.mark.parametrize("bus", ["scsi", "ide", "nvme"])
def test_the_roots_bus_goes_before_what_an_image_wants(bus: str) -> None:
    layout, rows = usual()

    assert plan(layout, *rows, hw_disk_bus=bus).bus is Bus.VIRTIO


def test_a_lun_is_a_root_that_makes_room_for_a_disk() -> None:
    root = disk("sda", Bus.SCSI, scsi(0), device="lun", serial=None, boot_order=1)
    layout = with_disks(machine(), root)

    found = plan(layout, row(root, boot_index=0))

    assert (found.device_type, found.bus, found.spot.target) == (DeviceType.DISK, Bus.SCSI, "sda")
    assert found.moved == {"sda": Spot(target="sdb", address=scsi(1))}


@pytest.mark.parametrize(("name", "target"), [(PC, "hda"), (Q35, "sda")])
def test_an_iso_that_is_the_root_stays_where_it_is(name: str, target: str) -> None:
    empty = machine(name)
    bus = Bus.IDE if name == PC else Bus.SATA
    root = disk(target, bus, place(empty, bus), device="cdrom", boot_order=1)
    data = disk("vda", Bus.VIRTIO, place(empty, Bus.VIRTIO))
    layout = with_disks(empty, root, data)

    found = plan(layout, row(root, 1, boot_index=0), row(data, 2))

    assert (found.mode, found.kept, found.moved) == (Mode.LEGACY, (target,), None)
    assert (found.bus, found.device_type) == (Bus.VIRTIO, DeviceType.DISK)
    assert found.spot == Spot(target="vdb", address=place(empty, Bus.VIRTIO, 1))


def test_a_config_drive_that_shares_the_roots_names_keeps_its_own() -> None:
    empty = machine(PC)
    layout, (_, _) = usual(PC)
    config = next(each for each in layout.disks if each.device == "cdrom")
    config = replace(config, target="hdb", address=place(empty, Bus.IDE, 1))
    root = disk("hda", Bus.IDE, place(empty, Bus.IDE))

    found = plan(with_disks(empty, root, config), row(root, boot_index=0))

    assert found.kept == ("hda", "hdb")
    assert found.moved == {"hda": Spot(target="hdc", address=place(empty, Bus.IDE, 2))}


def test_a_place_behind_goes_before_one_in_front() -> None:
    empty = machine()
    root = disk("vda", Bus.VIRTIO, place(empty, Bus.VIRTIO, 2))

    found = plan(with_disks(empty, root), row(root, boot_index=0))

    assert found.moved == {"vda": Spot(target="vdb", address=place(empty, Bus.VIRTIO, 3))}


def test_without_a_place_behind_a_place_in_front_will_do() -> None:
    empty = machine()
    root = disk("sdf", Bus.SATA, DriveAddress(kind="sata", unit=5))

    found = plan(with_disks(empty, root), row(root, boot_index=0))

    assert found.moved == {"sdf": Spot(target="sda", address=DriveAddress(kind="sata", unit=0))}


def test_a_root_whose_place_nobody_knows_gets_one() -> None:
    root = disk("vda", Bus.VIRTIO, None)

    found = plan(with_disks(machine(), root), row(root, boot_index=0))

    assert found.spot == Spot(target="vda", address=None)
    assert found.moved == {
        "vda": Spot(target="vdb", address=place(machine(), Bus.VIRTIO)),
    }


def full() -> tuple[Layout, list[BlockDevice]]:
    empty = machine(PC)
    shown = [disk(f"hd{name}", Bus.IDE, place(empty, Bus.IDE, n)) for n, name in enumerate("abcd")]
    rows = [row(each, n, boot_index=0 if n == 0 else None) for n, each in enumerate(shown)]
    return with_disks(empty, *shown), rows


def test_a_place_that_a_row_alone_has_is_not_taken() -> None:
    layout, rows = full()
    three = with_disks(machine(PC), *layout.disks[:3])

    with pytest.raises(NoFreePort):
        plan(three, *rows)
    assert plan(three, *rows[:3]).moved == {
        "hda": Spot(target="hdb", address=place(machine(PC), Bus.IDE, 3))
    }


def test_without_any_second_place_it_is_refused_with_what_would_do() -> None:
    layout, rows = full()

    with pytest.raises(NoFreePort, match=r"no second place on bus ide .* names a device or a bus"):
        plan(layout, *rows)
    assert plan(layout, *rows, hw_rescue_bus="usb").mode is Mode.STABLE


def test_a_guest_without_disks_has_none_to_make_room() -> None:
    with pytest.raises(NotRescuable, match="has no disk"):
        plan(machine())


def test_a_root_on_a_bus_that_we_do_not_know_is_refused() -> None:
    layout, _ = usual()
    root = replace(layout.disks[0], bus="xen")

    with pytest.raises(BusUnsupported, match="xen"):
        plan(replace(layout, disks=(root, *layout.disks[1:])))


LAYOUT = usual()[0]
ROOT, DATA, CONFIG = LAYOUT.disks


def without_order(layout: Layout) -> Layout:
    return replace(layout, disks=tuple(replace(each, boot_order=None) for each in layout.disks))


def test_the_root_is_the_disk_of_the_row_that_says_so() -> None:
    assert root_of(LAYOUT, [row(ROOT, 1, boot_index=1), row(DATA, 2, boot_index=0)]) == DATA


def test_without_such_a_row_it_is_the_disk_that_is_booted_first() -> None:
    disks = (replace(ROOT, boot_order=2), replace(DATA, boot_order=1), CONFIG)

    assert root_of(replace(LAYOUT, disks=disks), []) == disks[1]


def test_without_any_order_it_is_the_first_disk_and_no_medium() -> None:
    adopted = without_order(LAYOUT)
    disks = (adopted.disks[2], *adopted.disks[:2])

    assert root_of(replace(adopted, disks=disks), []) == adopted.disks[0]
    assert root_of(replace(adopted, disks=disks[:1]), []) == disks[0]


def test_a_guest_without_disks_has_no_root() -> None:
    assert root_of(machine(), []) is None


@pytest.mark.parametrize(
    ("shown", "found"),
    [
        (ROOT, True),
        (replace(ROOT, alias=None), True),
        (replace(ROOT, alias="virtio-disk0"), True),
        (replace(ROOT, target="vdx", address=None), True),
        (replace(ROOT, alias=None, target="vdb"), False),
        (replace(ROOT, alias=None, address=DATA.address), False),
        (replace(ROOT, alias=None, address=None), False),
    ],
)
def test_a_disks_row_is_told_by_alias_or_by_name_and_address(
    shown: GuestDisk,
    found: bool,  # noqa: FBT001
) -> None:
    kept = row(ROOT)

    assert row_of_disk(shown, [row(DATA, 2), kept]) == (kept if found else None)


def test_a_name_alone_makes_no_disk_a_rows() -> None:
    nowhere = replace(ROOT, alias=None, address=None)

    assert row_of_disk(nowhere, [replace(row(ROOT), address=None)]) is None
