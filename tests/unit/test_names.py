"""Device names: the n-th disk of a bus, and back."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import BusUnsupported, DeviceNameMalformed, DeviceNameTaken, TooManyDevices
from worker.model.block_device import Bus
from worker.model.places.names import (
    LIMITS,
    PREFIXES,
    check_limits,
    choose_target,
    letters,
    names,
    parse_bus,
    parse_target,
)

NO_LIMIT = -1
POSITIONS = st.integers(min_value=0, max_value=10**9)
BUSES = st.sampled_from(Bus)


def position(text: str) -> int:
    """Read letters back, by a way of its own: base 26 without a zero."""
    number = 0
    for letter in text:
        number = number * 26 + ord(letter) - ord("a") + 1
    return number - 1


@given(POSITIONS)
def test_letters_are_read_back_as_the_position(index: int) -> None:
    assert position(letters(index)) == index


@given(st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=6))
def test_every_row_of_letters_is_that_of_its_position(text: str) -> None:
    assert letters(position(text)) == text


@pytest.mark.parametrize(
    ("index", "text"),
    [(0, "a"), (25, "z"), (26, "aa"), (51, "az"), (52, "ba"), (701, "zz"), (702, "aaa")],
)
def test_letters_carry_as_the_kernel_does(index: int, text: str) -> None:
    assert letters(index) == text


def test_the_names_of_a_bus_come_in_order() -> None:
    found = names(Bus.SCSI)

    assert [next(found) for _ in range(3)] == ["sda", "sdb", "sdc"]


@given(BUSES, st.integers(min_value=0, max_value=700), st.sampled_from(["", "/dev/"]))
def test_a_name_of_the_bus_is_taken_with_and_without_its_folder(
    bus: Bus, index: int, folder: str
) -> None:
    target = PREFIXES[bus] + letters(index)

    assert parse_target(folder + target, bus) == target


@pytest.mark.parametrize(
    "name",
    [
        "",
        "vd",
        "/dev/",
        "/dev/disk",
        "/dev/disk/by-id/x",
        "/dev/vdb1",
        "/dev/vdB",
        "/dev//vdb",
        "/dev/../vdb",
        "/dev/vdaaaa",
        "vdb\n",
        " vdb",
        "xvdb",
        "/tmp/vdb",
        "vd\u0430",
        "auto",
    ],
)
def test_a_malformed_name_is_refused_with_one_that_would_do(name: str) -> None:
    with pytest.raises(DeviceNameMalformed, match=re.escape("/dev/vdb is meant")):
        parse_target(name, Bus.VIRTIO)


@pytest.mark.parametrize(
    ("name", "bus"),
    [("sdb", Bus.VIRTIO), ("/dev/vdb", Bus.SCSI), ("hda", Bus.SATA), ("sda", Bus.FDC)],
)
def test_a_name_of_another_bus_does_not_fit(name: str, bus: Bus) -> None:
    with pytest.raises(DeviceNameMalformed, match=f"does not fit bus {bus}"):
        parse_target(name, bus)


@given(BUSES, st.text())
def test_whatever_is_asked_for_is_a_name_of_the_bus_or_refused(bus: Bus, name: str) -> None:
    try:
        target = parse_target(name, bus)
    except DeviceNameMalformed:
        return
    assert target.startswith(PREFIXES[bus])


@pytest.mark.parametrize("bus", [Bus.SCSI, Bus.SATA, Bus.USB])
def test_scsi_sata_and_usb_share_one_row_of_letters(bus: Bus) -> None:
    assert choose_target(bus, None, ["/dev/sda", "sdb"]) == "sdc"


def test_the_first_free_name_fills_a_gap() -> None:
    assert choose_target(Bus.VIRTIO, None, ["vda", "vdc", "/dev/sdb"]) == "vdb"


def test_after_z_comes_aa() -> None:
    taken = [f"vd{letters(index)}" for index in range(26)]

    assert choose_target(Bus.VIRTIO, None, taken) == "vdaa"


@given(BUSES, st.sets(st.integers(min_value=0, max_value=60)))
def test_a_chosen_name_is_free_and_the_first_that_is(bus: Bus, taken: set[int]) -> None:
    occupied = [PREFIXES[bus] + letters(index) for index in taken]

    chosen = choose_target(bus, None, occupied)

    first = min(set(range(62)) - taken)
    assert chosen == PREFIXES[bus] + letters(first)


def test_a_free_name_asked_for_is_honoured() -> None:
    assert choose_target(Bus.VIRTIO, "/dev/vdq", ["vda"]) == "vdq"


@pytest.mark.parametrize("taken", ["vdb", "/dev/vdb"])
def test_a_taken_name_asked_for_is_refused(taken: str) -> None:
    with pytest.raises(DeviceNameTaken, match="/dev/vdb"):
        choose_target(Bus.VIRTIO, "vdb", [taken])


@pytest.mark.parametrize("text", ["", "xen", "VIRTIO", "virtio ", "nvme"])
def test_a_bus_that_does_not_exist_is_refused_with_those_that_do(text: str) -> None:
    with pytest.raises(BusUnsupported, match="fdc, ide, sata, scsi, usb, virtio"):
        parse_bus(text)


@pytest.mark.parametrize("bus", Bus)
def test_every_bus_has_a_prefix_and_a_limit_and_is_read_back(bus: Bus) -> None:
    assert parse_bus(bus.value) is bus
    assert bus in PREFIXES
    assert bus in LIMITS


@pytest.mark.parametrize(
    ("bus", "limit"), [(Bus.SCSI, 256), (Bus.SATA, 6), (Bus.IDE, 4), (Bus.FDC, 2)]
)
def test_a_bus_takes_as_many_as_its_limit(bus: Bus, limit: int) -> None:
    check_limits(bus, [bus] * (limit - 1), NO_LIMIT)

    with pytest.raises(TooManyDevices, match=f"bus {bus} has {limit} disks"):
        check_limits(bus, [bus] * limit, NO_LIMIT)


@pytest.mark.parametrize("bus", [Bus.VIRTIO, Bus.USB])
def test_what_has_no_limit_is_bounded_by_its_places_alone(bus: Bus) -> None:
    check_limits(bus, [bus] * 1000, NO_LIMIT)


def test_only_the_disks_of_a_bus_count_towards_its_limit() -> None:
    check_limits(Bus.FDC, ["virtio", "virtio", "sata"], NO_LIMIT)


@pytest.mark.parametrize(("used", "allowed"), [(0, 0), (3, 3), (4, 3)])
def test_max_disk_devices_counts_the_disks_of_every_bus(used: int, allowed: int) -> None:
    with pytest.raises(TooManyDevices, match=f"max_disk_devices is {allowed}"):
        check_limits(Bus.VIRTIO, ["scsi"] * used, allowed)


def test_one_below_max_disk_devices_is_fine() -> None:
    check_limits(Bus.VIRTIO, ["scsi", "virtio"], 3)
