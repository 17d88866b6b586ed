"""The places that a guest's controllers offer to disks, bus by bus.

What each controller holds: https://libvirt.org/formatdomain.html, "Controllers", and
https://libvirt.org/pci-hotplug.html.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache

from lxml import etree

from worker.model.block_device import Bus
from worker.model.places.address import Address, DriveAddress, PciAddress, UsbAddress
from worker.virt.xml.values import number

_PORTS = frozenset({"pcie-root-port", "pcie-switch-downstream-port"})
_BRIDGES = frozenset({"pci-bridge", "pcie-to-pci-bridge"})
_PCI_SLOTS = range(1, 32)
# Slot 1 of the i440fx holds the PIIX3, even where the XML names no function of it; slot 2 is kept
# for a first display, which libvirt puts there.
_PCI_ROOT_SLOTS = range(3, 32)
_PCI_BUSES = 256

_SCSI_UNITS = {
    "virtio-scsi": range(256),
    "virtio-transitional": range(256),
    "virtio-non-transitional": range(256),
    # The controller itself answers to id 7.
    "lsilogic": range(7),
}
_SATA_UNITS = range(6)

_USB_PORTS = {
    "piix3-uhci": 2,
    "piix4-uhci": 2,
    "vt82c686b-uhci": 2,
    "ich9-uhci1": 2,
    "ich9-uhci2": 2,
    "ich9-uhci3": 2,
    "ich9-ehci1": 6,
    "ehci": 6,
    "pci-ohci": 3,
    "nec-xhci": 4,
    "qemu-xhci": 4,
}
_USB_PORTS_AT_MOST = 15


def places(devices: etree._Element, machine: str) -> Mapping[Bus, tuple[Address, ...]]:
    """Return the places of each bus that the guest has, taken or not, in the order to try them.

    ``machine`` is libvirt's name of the machine (``pc-q35-7.2``). A guest with a PCI bus on which
    nothing can be plugged has the virtio bus, without a place.
    """
    controllers = sorted(devices.findall("controller"), key=_index)
    return {
        **_virtio([one for one in controllers if one.get("type") == "pci"]),
        **_scsi([one for one in controllers if one.get("type") == "scsi"]),
        **_sata([one for one in controllers if one.get("type") == "sata"]),
        **_usb([one for one in controllers if one.get("type") == "usb"]),
        **_ide(machine),
        **_fdc([one for one in controllers if one.get("type") == "fdc"]),
    }


def _index(controller: etree._Element) -> int:
    return number(controller, "index", 0) or 0


def _virtio(controllers: list[etree._Element]) -> dict[Bus, tuple[Address, ...]]:
    if not controllers:
        return {}
    usable = [one for one in controllers if _index(one) < _PCI_BUSES and _hot_plugs(one)]
    # Root ports first: on a PCIe machine a bridge is there for old devices.
    usable.sort(key=lambda one: one.get("model") not in _PORTS)
    return {Bus.VIRTIO: tuple(place for one in usable for place in _pci_places(one))}


def _hot_plugs(controller: etree._Element) -> bool:
    target = controller.find("target")
    return target is None or target.get("hotplug") != "off"


def _pci_places(controller: etree._Element) -> Iterator[PciAddress]:
    model = controller.get("model")
    slots: Iterable[int] = ()
    if model in _PORTS:
        slots = (0,)
    elif model in _BRIDGES:
        slots = _PCI_SLOTS
    elif model == "pci-root":
        slots = _PCI_ROOT_SLOTS
    return (PciAddress(bus=_index(controller), slot=slot) for slot in slots)


def _scsi(controllers: list[etree._Element]) -> dict[Bus, tuple[Address, ...]]:
    models = [(_index(one), one.get("model", "")) for one in controllers]
    known = [(index, model) for index, model in models if model in _SCSI_UNITS]
    if not known:
        return {}
    return {Bus.SCSI: tuple(place for one in known for place in _scsi_places(*one))}


@cache
def _scsi_places(controller: int, model: str) -> tuple[DriveAddress, ...]:
    return tuple(
        DriveAddress(kind=Bus.SCSI.value, controller=controller, unit=unit)
        for unit in _SCSI_UNITS[model]
    )


def _sata(controllers: list[etree._Element]) -> dict[Bus, tuple[Address, ...]]:
    if not controllers:
        return {}
    indexes = [_index(one) for one in controllers]
    return {
        Bus.SATA: tuple(
            DriveAddress(kind=Bus.SATA.value, controller=index, unit=unit)
            for index in indexes
            for unit in _SATA_UNITS
        )
    }


def _usb(controllers: list[etree._Element]) -> dict[Bus, tuple[Address, ...]]:
    ports: dict[int, int] = {}
    for one in controllers:
        # Companions share the index, and the ports, of the controller that they serve.
        ports[_index(one)] = max(ports.get(_index(one), 0), _usb_ports(one))
    offered = tuple(
        UsbAddress(bus=bus, port=port + 1) for bus in ports for port in range(ports[bus])
    )
    return {Bus.USB: offered} if offered else {}


def _usb_ports(controller: etree._Element) -> int:
    known = _USB_PORTS.get(controller.get("model", "piix3-uhci"), 0)
    return min(number(controller, "ports", known) or 0, _USB_PORTS_AT_MOST)


def _ide(machine: str) -> dict[Bus, tuple[Address, ...]]:
    # The i440fx has its two channels built in, named in the XML or not; the q35 has none.
    if not machine.startswith("pc") or "q35" in machine:
        return {}
    return {
        Bus.IDE: tuple(
            DriveAddress(kind=Bus.IDE.value, bus=channel, unit=unit)
            for channel in range(2)
            for unit in range(2)
        )
    }


def _fdc(controllers: list[etree._Element]) -> dict[Bus, tuple[Address, ...]]:
    if not controllers:
        return {}
    return {Bus.FDC: tuple(DriveAddress(kind=Bus.FDC.value, unit=unit) for unit in range(2))}
