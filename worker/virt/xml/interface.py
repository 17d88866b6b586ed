"""The ``<interface>`` element that libvirt is given, in a new domain or by itself.

The form is that of https://libvirt.org/formatdomain.html, "Network interfaces".
"""

from typing import assert_never

from lxml import etree

from worker.model.places.address import Address
from worker.model.specification import Interface, InterfaceKind
from worker.virt.xml.disk import address_tree

KINDS = {
    InterfaceKind.BRIDGE: "bridge",
    InterfaceKind.TAP: "ethernet",
    InterfaceKind.USER: "user",
}
"""libvirt's words for how an interface is joined."""


def interface_tree(interface: Interface, alias: str, address: Address | None) -> etree._Element:
    """Make the element; raises ValueError for a text that XML cannot hold."""
    joined = _joined_to(interface)
    element = etree.Element("interface", {"type": KINDS[interface.kind]})
    etree.SubElement(element, "mac", {"address": interface.mac})
    element.extend(joined)
    etree.SubElement(element, "model", {"type": interface.model})
    # Disks alone are booted from, and QEMU does not start where the file of the ROM is missing.
    etree.SubElement(element, "rom", {"enabled": "no"})
    etree.SubElement(element, "alias", {"name": alias})
    if address is not None:
        element.append(address_tree(address))
    return element


def _joined_to(interface: Interface) -> list[etree._Element]:
    match interface.kind:
        case InterfaceKind.BRIDGE:
            return [etree.Element("source", {"bridge": interface.target or ""})]
        case InterfaceKind.TAP:
            # Made by whoever looks after the network, and there before the guest and after it.
            target = {"dev": interface.target or "", "managed": "no"}
            return [etree.Element("target", target)]
        case InterfaceKind.USER:
            return []
        case InterfaceKind.OTHER:
            message = "how it was joined to the host's network is known to other hands alone"
            raise ValueError(message)
        case _:
            assert_never(interface.kind)
