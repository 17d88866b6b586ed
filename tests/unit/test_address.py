"""Addresses: their text form, which of them collide, which is free."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.model.places.address import (
    Address,
    DriveAddress,
    PciAddress,
    UsbAddress,
    first_free,
    parse_address,
    place_of,
)

SMALL = st.integers(min_value=0, max_value=300)
PCI = st.builds(
    PciAddress,
    domain=st.integers(0, 0xFFFF),
    bus=st.integers(0, 0xFF),
    slot=st.integers(0, 0x1F),
    function=st.integers(0, 7),
)
DRIVES = st.builds(
    DriveAddress,
    kind=st.sampled_from(["scsi", "sata", "ide", "fdc"]),
    controller=SMALL,
    bus=SMALL,
    target=SMALL,
    unit=SMALL,
)
ADDRESSES = st.one_of(PCI, DRIVES, st.builds(UsbAddress, bus=SMALL, port=SMALL))


@given(ADDRESSES)
def test_the_text_is_read_back_as_the_address(address: Address) -> None:
    assert parse_address(str(address)) == address


@given(ADDRESSES, ADDRESSES)
def test_two_addresses_have_one_text_only_if_they_are_one(one: Address, other: Address) -> None:
    assert (str(one) == str(other)) == (one == other)


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (PciAddress(bus=0x0A, slot=0x1F, function=7), "pci:0000:0a:1f.7"),
        (DriveAddress(kind="scsi", controller=1, unit=12), "scsi:1:0:0:12"),
        (UsbAddress(port=3), "usb:0:3"),
    ],
)
def test_the_text_is_that_of_the_row(address: Address, text: str) -> None:
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pci",
        "pci:0000:05",
        "pci:0000:05:00",
        "pci:zz:05:00.0",
        "usb:1",
        "nvme:0:0:0:1",
        "scsi:0:0:x:1",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no address|not enough|invalid literal"):
        parse_address(text)


@given(PCI, st.integers(0, 7))
def test_functions_of_one_slot_collide(address: PciAddress, function: int) -> None:
    assert place_of(address) == place_of(replace(address, function=function))


@given(PCI, PCI)
def test_other_slots_do_not_collide(one: PciAddress, other: PciAddress) -> None:
    same_slot = replace(one, function=0) == replace(other, function=0)

    assert (place_of(one) == place_of(other)) == same_slot


@given(ADDRESSES, ADDRESSES)
def test_a_collision_is_mutual_and_an_address_collides_with_itself(
    one: Address, other: Address
) -> None:
    assert place_of(one) == place_of(one)
    assert (place_of(one) == place_of(other)) == (place_of(other) == place_of(one))


def test_units_of_another_controller_or_bus_do_not_collide() -> None:
    first = DriveAddress(kind="scsi", unit=1)

    assert place_of(first) != place_of(replace(first, controller=1))
    assert place_of(first) != place_of(replace(first, kind="sata"))
    assert place_of(first) != place_of(UsbAddress(port=1))


@given(st.lists(PCI, unique=True), st.lists(PCI))
def test_the_first_free_place_is_offered_free_and_first(
    places: list[PciAddress], taken: list[PciAddress]
) -> None:
    found = first_free(places, iter(taken))

    free = [at for at in places if place_of(at) not in {place_of(other) for other in taken}]
    assert found == (free[0] if free else None)
