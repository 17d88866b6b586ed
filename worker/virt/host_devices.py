"""Which device of the host a ``<hostdev>`` is.

The form is that of https://libvirt.org/formatdomain.html, "Host device assignment".
"""

from lxml import etree

from worker.model.host_device import HostDevice, HostDeviceKind
from worker.virt.xml_values import number


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
