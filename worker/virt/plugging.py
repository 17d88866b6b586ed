"""One disk more in a domain, with its place in the boot order.

libvirt has two ways to say what a guest is booted from, a number at each device or a list for all
(``<os><boot dev='hd'/>``), and refuses both at once. It writes the list itself as soon as no device
has a number, so a guest that lost its one numbered disk gets it back by an edit that takes that
list away.
"""

from dataclasses import replace

import libvirt
from lxml import etree

from worker.model.disk import Disk
from worker.virt.failures import two_boot_orders
from worker.virt.xml.disk import disk_element, disk_tree

_WHOLE = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
_DEFAULT = ["hd"]


def plug(domain: libvirt.virDomain, disk: Disk, where: int) -> None:
    """Plug the disk into these layouts; raises libvirtError.

    A list of other hands stays, and the disk has no number beside it; neither has one that is
    plugged into a running guest with a list.
    """
    try:
        domain.attachDeviceFlags(disk_element(disk), where)
    except libvirt.libvirtError as error:
        if disk.boot_order is None or not two_boot_orders(error):
            raise
        _plug_beside_list(domain, disk, where)


def _plug_beside_list(domain: libvirt.virDomain, disk: Disk, where: int) -> None:
    unnumbered = disk_element(replace(disk, boot_order=None))
    if where & libvirt.VIR_DOMAIN_AFFECT_LIVE:
        domain.attachDeviceFlags(unnumbered, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    if where & libvirt.VIR_DOMAIN_AFFECT_CONFIG:
        edited = _instead_of_list(domain.XMLDesc(_WHOLE), disk)
        if edited is None:
            domain.attachDeviceFlags(unnumbered, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
        else:
            domain.connect().defineXML(edited)


def _instead_of_list(xml: str, disk: Disk) -> str | None:
    """Return the domain with the disk in place of the list; None if that is of other hands."""
    tree = etree.fromstring(xml.encode(), etree.XMLParser(resolve_entities=False, no_network=True))
    boot, devices = tree.find("os"), tree.find("devices")
    listed = [] if boot is None else boot.findall("boot")
    if boot is None or devices is None or [each.get("dev") for each in listed] != _DEFAULT:
        return None
    boot.remove(listed[0])
    devices.append(disk_tree(disk))
    return etree.tostring(tree, encoding="unicode")
