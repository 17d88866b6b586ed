"""What a domain XML says about disks, addresses and room for more.

The form is that of https://libvirt.org/formatdomain.html. What is unknown, missing or malformed in
it is passed over: a guest of other hands is not ours to correct.
"""

from collections.abc import Iterator, Mapping

from lxml import etree

from worker.errors import HypervisorRefused
from worker.model.guest import GuestDisk, GuestHostDevice, GuestInterface, Layout
from worker.model.places.address import Address, DriveAddress, PciAddress, UsbAddress
from worker.model.source import ISCSI_PORT, RBD_PORT, iscsi_name, opened_by, rbd_name
from worker.virt.xml.hostdev import host_device_of
from worker.virt.xml.places import places
from worker.virt.xml.values import number

_JOINED_TO = ("bridge", "network", "dev", "name", "path")
KINDS = ("disk", "interface", "hostdev")
"""The elements of what is attached and detached, in the order of ``Layout.devices``."""

_SOURCE_ATTRIBUTES = ("file", "dev", "name", "volume", "dir", "path")


def read_layout(xml: str) -> Layout:
    """Read a domain XML, live or persistent.

    Raises HypervisorRefused for a text that is no XML at all: taken for a guest without disks,
    it would let a disk in use pass for one that is gone.
    """
    devices = _devices(xml)
    return Layout(
        disks=tuple(_guest_disk(disk) for disk in devices.findall("disk")),
        interfaces=tuple(_guest_interface(one) for one in devices.findall("interface")),
        host_devices=tuple(_guest_host_device(one) for one in devices.findall("hostdev")),
        others=frozenset(_other_aliases(devices)),
        taken=frozenset(found for device in devices if (found := _address_of(device)) is not None),
        places=places(devices, _machine(devices)),
        machine=_machine(devices),
    )


def _other_aliases(devices: etree._Element) -> Iterator[str]:
    others = (device for device in devices if device.tag not in KINDS)
    return (alias for device in others if (alias := _attribute(device, "alias", "name")))


def addresses(xml: str) -> Mapping[str, Address | None]:
    """Read where each device is that has an alias, disk or not."""
    named = ((_attribute(device, "alias", "name"), device) for device in _devices(xml))
    return {alias: _address_of(device) for alias, device in named if alias is not None}


def source_numbers(xml: str) -> frozenset[int]:
    """Return libvirt's numbers of all that a running guest has open, backing images included."""
    found = (number(source, "index") for source in _devices(xml).iter("source"))
    return frozenset(index for index in found if index is not None)


def _devices(xml: str) -> etree._Element:
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True
    )
    try:
        # As bytes: lxml refuses a str that names its encoding.
        domain = etree.fromstring(xml.encode(), parser)
    except (etree.XMLSyntaxError, UnicodeEncodeError) as error:
        message = f"the XML of a domain cannot be read: {error}"
        raise HypervisorRefused(message) from error
    devices = domain.find("devices")
    return etree.SubElement(domain, "devices") if devices is None else devices


def _machine(devices: etree._Element) -> str:
    domain = devices.getparent()
    kind = None if domain is None else domain.find("os/type")
    return "" if kind is None else kind.get("machine", "")


def _guest_disk(disk: etree._Element) -> GuestDisk:
    return GuestDisk(
        target=_attribute(disk, "target", "dev") or "",
        bus=_attribute(disk, "target", "bus") or "",
        alias=_attribute(disk, "alias", "name"),
        serial=disk.findtext("serial"),
        source=read_source(disk.find("source")),
        address=_address_of(disk),
        device=disk.get("device", "disk"),
        boot_order=number(disk.find("boot"), "order"),
        secret_usage=_secret_usage(disk),
        opened_by=_opened_by(disk),
    )


def _opened_by(disk: etree._Element) -> str:
    """Read who logs in, and where Ceph is asked; a target's portal is in the name of its LUN."""
    user = _attribute(disk, "source/auth", "username") or _attribute(disk, "auth", "username")
    hosts = disk.findall("source[@protocol='rbd']/host")
    listed = ((host.get("name", ""), number(host, "port", RBD_PORT) or RBD_PORT) for host in hosts)
    return opened_by(user, listed)


def _secret_usage(disk: etree._Element) -> str | None:
    """Read by what the secrets of a disk are found; libvirt takes them here and in its source."""
    for where in ("source/auth", "auth", "source/encryption", "encryption"):
        usage = _attribute(disk, f"{where}/secret", "usage")
        if usage is not None:
            return usage
    return None


def _guest_interface(interface: etree._Element) -> GuestInterface:
    source = interface.find("source")
    names = () if source is None else (source.get(name) for name in _JOINED_TO)
    joined = next((name for name in names if name), None)
    return GuestInterface(
        mac=(_attribute(interface, "mac", "address") or "").lower(),
        alias=_attribute(interface, "alias", "name"),
        address=_address_of(interface),
        kind=interface.get("type", ""),
        target=_attribute(interface, "target", "dev") if joined is None else joined,
        model=_attribute(interface, "model", "type"),
    )


def _guest_host_device(device: etree._Element) -> GuestHostDevice:
    return GuestHostDevice(
        source=host_device_of(device),
        alias=_attribute(device, "alias", "name"),
        address=_address_of(device),
    )


def _attribute(device: etree._Element, child: str, name: str) -> str | None:
    element = device.find(child)
    return None if element is None else element.get(name)


def read_source(source: etree._Element | None) -> str | None:
    """Read where the content of a disk is: a path, or what a network calls it."""
    if source is None:
        return None
    if source.get("protocol") == "iscsi":
        return _iscsi(source)
    if source.get("protocol") == "rbd":
        return rbd_name(source.get("name", ""))
    return next((value for name in _SOURCE_ATTRIBUTES if (value := source.get(name))), None)


def _iscsi(source: etree._Element) -> str:
    """Name the LUN with its portal; libvirt takes a name without a number for LUN 0."""
    host, target = source.find("host"), source.get("name", "")
    portal = "" if host is None else host.get("name", "")
    numbered = target if "/" in target else f"{target}/0"
    return iscsi_name(portal, number(host, "port", ISCSI_PORT) or ISCSI_PORT, numbered)


def _address_of(device: etree._Element) -> Address | None:
    """Read where a device of any kind sits; its source's address on the host is another matter."""
    element = device.find("address")
    match None if element is None else element.get("type"):
        case "pci":
            return _pci(element)
        case "drive":
            # A device that names no bus (a passed-through LUN) sits on scsi: no other bus has such.
            return _drive(element, _attribute(device, "target", "bus") or "scsi")
        case "usb":
            return _usb(element)
        case _:
            return None


def _pci(element: etree._Element | None) -> PciAddress | None:
    bus, slot = number(element, "bus"), number(element, "slot")
    domain, function = number(element, "domain", 0), number(element, "function", 0)
    if bus is None or slot is None or domain is None or function is None:
        return None
    return PciAddress(domain=domain, bus=bus, slot=slot, function=function)


def _drive(element: etree._Element | None, kind: str) -> DriveAddress | None:
    controller, bus = number(element, "controller", 0), number(element, "bus", 0)
    target, unit = number(element, "target", 0), number(element, "unit")
    if controller is None or bus is None or target is None or unit is None:
        return None
    return DriveAddress(kind=kind, controller=controller, bus=bus, target=target, unit=unit)


def _usb(element: etree._Element | None) -> UsbAddress | None:
    # Behind a hub a port reads "1.2": that one takes no place of the controller's own.
    bus, port = number(element, "bus", 0), number(element, "port")
    if bus is None or port is None:
        return None
    return UsbAddress(bus=bus, port=port)
