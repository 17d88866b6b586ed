"""The machines that we make: what they have, and where."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import NoFreePort
from worker.model.block_device import Bus
from worker.model.places.address import DriveAddress, PciAddress, UsbAddress, place_of
from worker.model.places.controllers import (
    IDE_ADDRESS,
    SATA_ADDRESS,
    SCSI_UNITS,
    empty_layout,
    interface_addresses,
    places,
    root_ports,
    scsi_address,
    usb_address,
)
from worker.model.specification import Shape

Q35 = Shape(machine_type="pc-q35-7.2")
PC = Shape(machine_type="pc")


def test_a_q35_has_its_devices_behind_ports_and_a_pc_in_slots() -> None:
    assert scsi_address(Q35) == PciAddress(bus=1, slot=0)
    assert usb_address(Q35) == PciAddress(bus=2, slot=0)
    assert interface_addresses(Q35, 2) == (PciAddress(bus=3, slot=0), PciAddress(bus=4, slot=0))
    assert scsi_address(PC) == PciAddress(bus=0, slot=3)
    assert usb_address(PC) == PciAddress(bus=0, slot=4)
    assert interface_addresses(PC, 1) == (PciAddress(bus=0, slot=5),)


def test_what_is_left_out_leaves_its_place_free_for_disks() -> None:
    bare = Shape(scsi_model=None, usb=False)
    assert (scsi_address(bare), usb_address(bare)) == (None, None)
    assert interface_addresses(bare, 1) == interface_addresses(Shape(), 1)
    free = set(places(bare)[Bus.VIRTIO]) - empty_layout(bare, 1).taken
    assert {PciAddress(bus=1, slot=0), PciAddress(bus=2, slot=0)} <= free


def test_ports_share_slots_by_eight() -> None:
    ports = root_ports(Shape(pcie_ports=9))
    assert ports[0] == PciAddress(bus=0, slot=2, function=0)
    assert ports[7] == PciAddress(bus=0, slot=2, function=7)
    assert ports[8] == PciAddress(bus=0, slot=3, function=0)
    assert root_ports(PC) == ()


def test_there_are_never_more_ports_than_a_bus_holds() -> None:
    ports = root_ports(Shape(pcie_ports=1000))
    assert (len(ports), ports[-1]) == (192, PciAddress(bus=0, slot=0x19, function=7))
    assert len(places(Shape(pcie_ports=1000))[Bus.VIRTIO]) == 192


def test_buses_are_those_of_the_controllers() -> None:
    assert set(places(Q35)) == {Bus.VIRTIO, Bus.SCSI, Bus.USB, Bus.SATA}
    assert set(places(PC)) == {Bus.VIRTIO, Bus.SCSI, Bus.USB, Bus.IDE}
    bare = Shape(scsi_model=None, usb=False, floppy=True)
    assert set(places(bare)) == {Bus.VIRTIO, Bus.SATA, Bus.FDC}
    assert Bus.SCSI not in places(Shape(scsi_model="buslogic"))


def test_buses_hold_what_their_controllers_hold() -> None:
    found = places(Shape(scsi_model="lsilogic", floppy=True))
    assert found[Bus.SCSI] == tuple(DriveAddress(kind="scsi", unit=unit) for unit in range(7))
    assert found[Bus.SATA] == tuple(DriveAddress(kind="sata", unit=unit) for unit in range(6))
    assert found[Bus.USB] == tuple(UsbAddress(port=port) for port in range(1, 5))
    assert found[Bus.FDC] == tuple(DriveAddress(kind="fdc", unit=unit) for unit in range(2))
    assert [str(place) for place in places(PC)[Bus.IDE]] == [
        *("ide:0:0:0:0", "ide:0:0:0:1", "ide:0:1:0:0", "ide:0:1:0:1")
    ]
    assert len(places(Q35)[Bus.SCSI]) == 256


def test_a_pc_keeps_the_slots_of_its_south_bridge_and_its_display() -> None:
    assert places(PC)[Bus.VIRTIO] == tuple(PciAddress(bus=0, slot=slot) for slot in range(3, 32))


def test_the_chipset_is_taken() -> None:
    assert SATA_ADDRESS in empty_layout(Q35, 0).taken
    assert IDE_ADDRESS in empty_layout(PC, 0).taken


def test_a_machine_without_ports_enough_is_refused() -> None:
    with pytest.raises(NoFreePort, match="no place for 30 interfaces"):
        interface_addresses(PC, 30)
    with pytest.raises(NoFreePort, match="with 0 ports"):
        scsi_address(Shape(pcie_ports=0))
    with pytest.raises(NoFreePort, match="with 1 ports"):
        empty_layout(Shape(pcie_ports=1), 0)


@given(
    kind=st.sampled_from(["q35", "pc"]),
    scsi=st.sampled_from([None, *SCSI_UNITS]),
    usb=st.booleans(),
    ports=st.integers(min_value=8, max_value=300),
    interfaces=st.integers(min_value=0, max_value=5),
)
def test_no_two_devices_share_a_place(
    kind: str, scsi: str | None, ports: int, interfaces: int, *, usb: bool
) -> None:
    shape = Shape(machine_type=kind, scsi_model=scsi, usb=usb, pcie_ports=ports)
    layout = empty_layout(shape, interfaces)
    made = [scsi is not None, usb, True]
    assert len(layout.taken) == sum(made) + interfaces + len(root_ports(shape))
    offered = [place for found in layout.places.values() for place in found]
    assert len(set(offered)) == len(offered)
    chipset = {SATA_ADDRESS if shape.pcie else IDE_ADDRESS, *root_ports(shape)}
    assert not {place_of(address) for address in chipset} & set(offered)


@pytest.mark.parametrize(("usb", "interfaces"), list(product([False, True], [0, 3])))
def test_the_place_of_an_interface_depends_on_nothing_but_its_position(
    interfaces: int, *, usb: bool
) -> None:
    first = Shape(usb=usb, scsi_model=None)
    assert interface_addresses(first, interfaces) == interface_addresses(Q35, interfaces)
