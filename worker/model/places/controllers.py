"""The controllers of a machine that we make, and the places that they offer to disks.

Every device of such a machine has its address from here, so that none ever moves.
https://libvirt.org/pci-hotplug.html
"""

from collections.abc import Mapping
from functools import lru_cache
from itertools import islice

from worker.errors import NoFreePort
from worker.model.block_device import Bus
from worker.model.guest import Layout
from worker.model.places.address import Address, DriveAddress, PciAddress, UsbAddress
from worker.model.specification import Shape

SCSI_UNITS = {"virtio-scsi": 256, "virtio-non-transitional": 256, "lsilogic": 7}
"""The models of scsi controllers, and how many disks each takes."""

_SATA_UNITS = 6
_USB_PORTS = 4
# Slot 1 of the i440fx holds the PIIX3, slot 2 is where a guest looks for its first display.
_FIRST_PCI_SLOT = 3
_PCI_SLOTS = 32
# On bus 0 of a q35, slot 1 is kept for the first display, and the chipset lives from 0x1a on.
_PORT_SLOTS = range(0x02, 0x1A)
_FUNCTIONS = 8

SATA_ADDRESS = PciAddress(bus=0, slot=0x1F, function=2)
"""Where a q35 has its AHCI: part of the chipset."""
IDE_ADDRESS = PciAddress(bus=0, slot=1, function=1)
"""Where an i440fx has its two channels: part of the chipset."""


def root_ports(shape: Shape) -> tuple[PciAddress, ...]:
    """Return where the PCIe ports are, those of buses 1, 2 and so on; none without PCIe.

    Eight share a slot. There are 192 at most, whatever is wished.
    """
    if not shape.pcie:
        return ()
    found = (
        PciAddress(bus=0, slot=slot, function=function)
        for slot in _PORT_SLOTS
        for function in range(_FUNCTIONS)
    )
    return tuple(islice(found, shape.pcie_ports))


def scsi_address(shape: Shape) -> PciAddress | None:
    """Return where the scsi controller is; None without one. Raises NoFreePort."""
    return None if shape.scsi_model is None else _slot(shape, 0)


def usb_address(shape: Shape) -> PciAddress | None:
    """Return where the USB controller is; None without one. Raises NoFreePort."""
    return _slot(shape, 1) if shape.usb else None


def interface_addresses(shape: Shape, interfaces: int) -> tuple[PciAddress, ...]:
    """Return where the interfaces are, in their order; raises NoFreePort."""
    found = _slots(shape)[2 : 2 + interfaces]
    if len(found) < interfaces:
        message = f"a {shape.machine_type} machine has no place for {interfaces} interfaces"
        raise NoFreePort(message)
    return found


def empty_layout(shape: Shape, interfaces: int) -> Layout:
    """Return the layout of the machine without its disks; raises NoFreePort."""
    controllers = (scsi_address(shape), usb_address(shape))
    made = {address for address in controllers if address is not None}
    built_in = {SATA_ADDRESS if shape.pcie else IDE_ADDRESS, *root_ports(shape)}
    return Layout(
        disks=(),
        taken=frozenset({*made, *built_in, *interface_addresses(shape, interfaces)}),
        places=places(shape),
        machine=shape.machine_type,
    )


@lru_cache
def places(shape: Shape) -> Mapping[Bus, tuple[Address, ...]]:
    """Return the places of each bus that the machine has, in the order to try them."""
    found: dict[Bus, tuple[Address, ...]] = {Bus.VIRTIO: _slots(shape)}
    if shape.scsi_model in SCSI_UNITS:
        units = range(SCSI_UNITS[shape.scsi_model])
        found[Bus.SCSI] = tuple(DriveAddress(kind="scsi", unit=unit) for unit in units)
    if shape.usb:
        found[Bus.USB] = tuple(UsbAddress(port=port) for port in range(1, _USB_PORTS + 1))
    if shape.floppy:
        found[Bus.FDC] = tuple(DriveAddress(kind="fdc", unit=unit) for unit in range(2))
    return found | _built_in(shape)


def _built_in(shape: Shape) -> dict[Bus, tuple[Address, ...]]:
    if shape.pcie:
        units = range(_SATA_UNITS)
        return {Bus.SATA: tuple(DriveAddress(kind="sata", unit=unit) for unit in units)}
    channels = [(bus, unit) for bus in range(2) for unit in range(2)]
    return {Bus.IDE: tuple(DriveAddress(kind="ide", bus=bus, unit=unit) for bus, unit in channels)}


def _slot(shape: Shape, position: int) -> PciAddress:
    slots = _slots(shape)
    if position >= len(slots):
        message = f"a {shape.machine_type} machine with {len(slots)} ports has none to spare"
        raise NoFreePort(message)
    return slots[position]


@lru_cache
def _slots(shape: Shape) -> tuple[PciAddress, ...]:
    if shape.pcie:
        ports = range(1, len(root_ports(shape)) + 1)
        return tuple(PciAddress(bus=port, slot=0) for port in ports)
    return tuple(PciAddress(bus=0, slot=slot) for slot in range(_FIRST_PCI_SLOT, _PCI_SLOTS))
