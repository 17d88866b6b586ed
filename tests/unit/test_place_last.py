"""The last of all disks: behind every other, in name and in place."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.rescue_plans import PC, Q35, disk, guest, machine, place, row, with_disks
from tests.unit.scenes import INSTANCE
from worker.errors import BusUnsupported, NoFreePort, TooManyDevices
from worker.model.block_device import BlockDevice, Bus
from worker.model.guest import Layout
from worker.model.ids import PeripheralId, PortId
from worker.model.peripheral import Peripheral
from worker.model.places.address import Address, DriveAddress, PciAddress, UsbAddress
from worker.model.places.names import LIMITS, PREFIXES, last_target, letters
from worker.model.places.placement import Placement, place_last
from worker.model.specification import Interface, InterfaceKind, Shape

EMPTY = machine()
VIRTIO = EMPTY.places[Bus.VIRTIO]
BARE = Shape(scsi_model=None, usb=False)


def last(layout: Layout, bus: Bus, *rows: BlockDevice) -> Placement:
    return place_last(guest(layout), rows, (), bus)


def virtio(*numbers: int) -> Layout:
    """A machine with virtio disks in some of its places."""
    shown = (
        disk(f"vd{letters(n)}", Bus.VIRTIO, place(EMPTY, Bus.VIRTIO, number))
        for n, number in enumerate(numbers)
    )
    return with_disks(EMPTY, *shown)


def peripheral(address: Address | None) -> Peripheral:
    what = Interface(port=PortId("p"), kind=InterfaceKind.USER, mac="52:54:00:00:00:01")
    return Peripheral(
        uuid=PeripheralId("p"), instance=INSTANCE, what=what, alias="ua-p", address=address
    )


def test_a_gap_between_disks_is_passed_over() -> None:
    found = last(virtio(0, 2), Bus.VIRTIO)

    assert found.address == place(EMPTY, Bus.VIRTIO, 3)


def test_a_gap_is_taken_when_there_is_no_place_behind() -> None:
    final = len([each for each in VIRTIO if each not in EMPTY.taken]) - 1

    assert last(virtio(0, final), Bus.VIRTIO).address == place(EMPTY, Bus.VIRTIO, 1)


def test_the_name_is_behind_all_of_its_prefix_whatever_the_bus() -> None:
    layout = with_disks(EMPTY, disk("sdd", Bus.SATA, DriveAddress(kind="sata", unit=3)))

    found = last(layout, Bus.USB)

    assert (found.device_name, found.address) == ("/dev/sde", UsbAddress(port=1))


def test_a_name_and_a_place_in_a_row_alone_count() -> None:
    shown = disk("vdf", Bus.VIRTIO, place(EMPTY, Bus.VIRTIO, 4))

    found = last(virtio(0), Bus.VIRTIO, row(shown))

    assert (found.device_name, found.address) == ("/dev/vdg", place(EMPTY, Bus.VIRTIO, 5))


def test_a_row_of_another_bus_is_no_place_behind_which_it_goes() -> None:
    shown = disk("sda", Bus.SATA, place(EMPTY, Bus.VIRTIO, 4))

    assert last(virtio(0), Bus.VIRTIO, row(shown)).address == place(EMPTY, Bus.VIRTIO, 1)


def test_the_place_of_a_peripheral_is_taken_whether_it_is_shown_or_not() -> None:
    wanted = place(EMPTY, Bus.VIRTIO, 1)
    reserved = (peripheral(wanted), peripheral(None))

    kept = place_last(guest(virtio(0)), (), reserved, Bus.VIRTIO)
    shown = last(replace(virtio(0), taken=virtio(0).taken | {wanted}), Bus.VIRTIO)

    assert kept.address == shown.address == place(EMPTY, Bus.VIRTIO, 2)


def test_what_only_runs_is_gone_when_the_guest_starts_next() -> None:
    off = place_last(guest(virtio(0), virtio(0, 1, 2)), (), (), Bus.VIRTIO)

    assert (off.device_name, off.address) == ("/dev/vdb", place(EMPTY, Bus.VIRTIO, 1))


def test_a_bus_that_takes_nothing_while_the_guest_runs_takes_it() -> None:
    found = place_last(guest(EMPTY, EMPTY), (), (), Bus.SATA)

    assert (found.device_name, found.address) == ("/dev/sda", DriveAddress(kind="sata", unit=0))


def test_a_scsi_disk_has_a_unit() -> None:
    layout = with_disks(EMPTY, disk("sda", Bus.SCSI, DriveAddress(kind="scsi", unit=4)))

    assert last(layout, Bus.SCSI).unit == 5
    assert last(layout, Bus.SATA).unit is None


@pytest.mark.parametrize(
    ("name", "bus", "target"), [(PC, Bus.SATA, "sda"), (Q35, Bus.SCSI, "sda"), (PC, Bus.FDC, "fda")]
)
def test_a_controller_that_can_be_added_is_taken_to_be_there(
    name: str, bus: Bus, target: str
) -> None:
    bare = machine(name, BARE)
    assert bus not in bare.places

    found = last(bare, bus)

    assert found.device_name == f"/dev/{target}"
    assert found.address == DriveAddress(kind=bus.value, unit=0)


@pytest.mark.parametrize(("name", "bus"), [(Q35, Bus.USB), (Q35, Bus.IDE), (PC, Bus.USB)])
def test_a_controller_that_cannot_is_missed(name: str, bus: Bus) -> None:
    with pytest.raises(BusUnsupported, match=f"no controller for bus {bus}"):
        last(machine(name, BARE), bus)


def test_a_machine_without_a_free_port_has_none() -> None:
    with pytest.raises(NoFreePort, match="no free place for a disk on bus virtio"):
        last(replace(EMPTY, taken=EMPTY.taken | set(VIRTIO)), Bus.VIRTIO)


@pytest.mark.parametrize("bus", [Bus.IDE, Bus.FDC, Bus.SATA])
def test_a_bus_with_all_the_disks_that_it_may_have_takes_no_more(bus: Bus) -> None:
    empty = machine(Q35 if bus is Bus.SATA else PC)
    names = [PREFIXES[bus] + letters(number) for number in range(LIMITS[bus] or 0)]
    shown = [disk(name, bus, place(empty, bus, n)) for n, name in enumerate(names)]

    with pytest.raises(TooManyDevices):
        last(with_disks(empty, *shown), bus)
    assert last(with_disks(empty, *shown[:-1]), bus).device_name == f"/dev/{names[-1]}"


def test_the_drive_b_alone_leaves_the_drive_a() -> None:
    empty = machine(PC)
    shown = disk("fdb", Bus.FDC, DriveAddress(kind="fdc", unit=1))

    found = last(with_disks(empty, shown), Bus.FDC)

    assert (found.device_name, found.address) == ("/dev/fda", DriveAddress(kind="fdc", unit=0))


@pytest.mark.parametrize(
    ("bus", "taken", "wanted"),
    [
        (Bus.VIRTIO, [], "vda"),
        (Bus.VIRTIO, ["vda", "vdc", "sdq", "nvme0n1", ""], "vdd"),
        (Bus.VIRTIO, ["/dev/vdz"], "vdaa"),
        (Bus.USB, ["sdb", "sdaz"], "sdba"),
        (Bus.SATA, ["sdf"], "sdg"),
        (Bus.IDE, ["hda", "hdc"], "hdd"),
        (Bus.IDE, ["hda", "hdd"], "hdb"),
        (Bus.FDC, ["fdb"], "fda"),
    ],
)
def test_the_last_name_is_behind_all_there_are(bus: Bus, taken: list[str], wanted: str) -> None:
    assert last_target(bus, taken) == wanted


@given(st.sampled_from(Bus), st.sets(st.integers(0, 700)))
def test_the_last_name_is_never_taken(bus: Bus, positions: set[int]) -> None:
    taken = {PREFIXES[bus] + letters(position) for position in positions}

    assert last_target(bus, taken) not in taken


def test_functions_of_one_slot_are_one_place() -> None:
    address = place(EMPTY, Bus.VIRTIO, 1)
    assert isinstance(address, PciAddress)
    layout = replace(EMPTY, taken=EMPTY.taken | {replace(address, function=3)})
    shown = disk("vda", Bus.VIRTIO, place(EMPTY, Bus.VIRTIO))

    found = last(with_disks(layout, shown), Bus.VIRTIO)

    assert found.address == place(EMPTY, Bus.VIRTIO, 2)
