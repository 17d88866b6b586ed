"""The ``<hostdev>`` element: which device of the host it is, read and written.

The form is that of https://libvirt.org/formatdomain.html, "Host device assignment".
"""

from typing import assert_never

from lxml import etree

from worker.model.host_device import HostDevice, HostDeviceKind
from worker.model.places.address import Address
from worker.virt.xml.disk import address_tree
from worker.virt.xml.values import number


def host_device_of(element: etree._Element) -> HostDevice | None:
    """Read it; None for a kind that we do not pass, or for what says no device."""
    source = element.find("source")
    if source is None:
        return None
    match element.get("type"):
        case "pci":
            return _pci(source.find("address"))
        case "usb":
            return _usb(source)
        case "mdev":
            return _mediated(source.find("address"))
        case _:
            return None


def _pci(address: etree._Element | None) -> HostDevice | None:
    bus, slot = number(address, "bus"), number(address, "slot")
    domain, function = number(address, "domain", 0), number(address, "function", 0)
    if bus is None or slot is None or domain is None or function is None:
        return None
    name = f"{domain:04x}:{bus:02x}:{slot:02x}.{function:x}"
    return HostDevice(kind=HostDeviceKind.PCI, name=name)


def _usb(source: etree._Element) -> HostDevice | None:
    """A running guest's says where the device is, too: what it was asked by goes first."""
    vendor, product = number(source.find("vendor"), "id"), number(source.find("product"), "id")
    if vendor is not None and product is not None:
        return HostDevice(kind=HostDeviceKind.USB, name=f"{vendor:04x}:{product:04x}")
    address = source.find("address")
    bus, device = number(address, "bus"), number(address, "device")
    if bus is None or device is None:
        return None
    return HostDevice(kind=HostDeviceKind.USB, name=f"{bus}.{device}")


def _mediated(address: etree._Element | None) -> HostDevice | None:
    uuid = None if address is None else address.get("uuid")
    return None if uuid is None else HostDevice(kind=HostDeviceKind.MEDIATED, name=uuid)


def host_device_tree(device: HostDevice, alias: str, address: Address | None) -> etree._Element:
    """Make the element; libvirt takes a PCI device from the host's driver, and gives it back."""
    how = {"mode": "subsystem", "type": device.kind.value, **_how(device.kind)}
    element = etree.Element("hostdev", how)
    etree.SubElement(element, "source").extend(_named(device))
    etree.SubElement(element, "alias", {"name": alias})
    if address is not None:
        element.append(address_tree(address))
    return element


def _how(kind: HostDeviceKind) -> dict[str, str]:
    match kind:
        case HostDeviceKind.PCI:
            return {"managed": "yes"}
        case HostDeviceKind.USB:
            return {}
        case HostDeviceKind.MEDIATED:
            return {"model": "vfio-pci"}
        case _:
            assert_never(kind)


def _named(device: HostDevice) -> list[etree._Element]:
    match device.kind:
        case HostDeviceKind.PCI:
            domain, bus, rest = device.name.split(":")
            slot, function = rest.split(".")
            parts = {"domain": domain, "bus": bus, "slot": slot, "function": function}
            return [etree.Element("address", {name: f"0x{part}" for name, part in parts.items()})]
        case HostDeviceKind.USB if ":" in device.name:
            ids = zip(("vendor", "product"), device.name.split(":"), strict=True)
            return [etree.Element(what, {"id": f"0x{each}"}) for what, each in ids]
        case HostDeviceKind.USB:
            bus, _, position = device.name.partition(".")
            return [etree.Element("address", {"bus": bus, "device": position})]
        case HostDeviceKind.MEDIATED:
            return [etree.Element("address", {"uuid": device.name})]
        case _:
            assert_never(device.kind)
