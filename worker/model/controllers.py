"""The controllers of a machine that we make, and the places that they offer to disks.

Every device of such a machine has its address from here, so that none ever moves.
https://libvirt.org/pci-hotplug.html
"""

from collections.abc import Mapping
from itertools import count, islice

from worker.errors import NoFreePort
from worker.model.address import Address, DriveAddress, PciAddress, UsbAddress
from worker.model.block_device import Bus
from worker.model.guest import Layout
from worker.model.specification import Shape

_SCSI_UNITS = {"lsilogic": 7}
_SCSI_UNITS_OTHERWISE = 256
_SATA_UNITS = 6
_USB_PORTS = 4
# Slot 1 of the i440fx holds the PIIX3, slot 2 is where a guest looks for its first display.
_FIRST_PCI_SLOT = 3
_PCI_SLOTS = 32


def scsi_address(shape: Shape) -> PciAddress | None:
    """Return where the scsi controller is; None without one."""
    return None if shape.scsi_model is None else _slots(shape)[0]


def usb_address(shape: Shape) -> PciAddress | None:
    """Return where the USB controller is; None without one."""
    return _slots(shape)[1] if shape.usb else None


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
    taken = {address for address in controllers if address is not None}
    return Layout(
        disks=(),
        taken=frozenset({*taken, *interface_addresses(shape, interfaces)}),
        places=places(shape),
    )


def places(shape: Shape) -> Mapping[Bus, tuple[Address, ...]]:
    """Return the places of each bus that the machine has, in the order to try them."""
    found: dict[Bus, tuple[Address, ...]] = {Bus.VIRTIO: _slots(shape)}
    if shape.scsi_model is not None:
        units = _SCSI_UNITS.get(shape.scsi_model, _SCSI_UNITS_OTHERWISE)
        found[Bus.SCSI] = tuple(DriveAddress(kind="scsi", unit=unit) for unit in range(units))
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


def _slots(shape: Shape) -> tuple[PciAddress, ...]:
    if shape.pcie:
        ports = islice(count(1), shape.pcie_ports)
        return tuple(PciAddress(bus=port, slot=0) for port in ports)
    return tuple(PciAddress(bus=0, slot=slot) for slot in range(_FIRST_PCI_SLOT, _PCI_SLOTS))
