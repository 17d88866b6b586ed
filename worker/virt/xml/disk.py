"""The ``<disk>`` element that libvirt is given.

The form is that of https://libvirt.org/formatdomain.html, "Hard drives, floppy disks, CDROMs".
"""

from typing import assert_never

from lxml import etree

from worker.errors import HypervisorRefused
from worker.model.block_device import DeviceType
from worker.model.disk import Disk
from worker.model.guest_secret import SecretUse
from worker.model.places.address import Address, DriveAddress, PciAddress, UsbAddress
from worker.model.source import (
    BlockSource,
    DiskFormat,
    DiskOptions,
    DiskSource,
    FileSource,
    IscsiSource,
    RbdSource,
)

_UNCACHED = frozenset({"none", "directsync"})


def disk_element(disk: Disk) -> str:
    """Write the disk as libvirt wants it.

    Raises HypervisorRefused for a text that XML cannot hold (a path with a control character).
    """
    try:
        element = disk_tree(disk)
    except ValueError as error:
        message = f"disk {disk.alias} cannot be written as XML: {error}"
        raise HypervisorRefused(message) from error
    return etree.tostring(element, encoding="unicode")


def disk_tree(disk: Disk) -> etree._Element:
    """Make the element, to stand alone or in a domain; raises ValueError."""
    kind, source = source_tree(disk.source, disk.secret_usage)
    if disk.encrypted:
        source.append(_luks(disk.secret_usage or ""))
    element = etree.Element("disk", {"type": kind, "device": disk.device_type.value})
    etree.SubElement(element, "driver", _driver(disk.options, _format(disk.source)))
    etree.SubElement(element, "alias", {"name": disk.alias})
    element.append(source)
    etree.SubElement(element, "target", {"dev": disk.target, "bus": disk.bus.value})
    if disk.given_serial is not None:
        etree.SubElement(element, "serial").text = disk.given_serial
    _limit(element, disk)
    if disk.boot_order is not None:
        etree.SubElement(element, "boot", {"order": str(disk.boot_order)})
    if disk.options.read_only:
        etree.SubElement(element, "readonly")
    if disk.options.shareable:
        etree.SubElement(element, "shareable")
    if disk.address is not None:
        element.append(address_tree(disk.address))
    return element


def _limit(element: etree._Element, disk: Disk) -> None:
    """Add the rates that QEMU keeps, and the block sizes.

    A LUN that is passed through has the sizes of the storage, and QEMU refuses others for it.
    """
    if disk.options.limits:
        tune = etree.SubElement(element, "iotune")
        for name, value in disk.options.limits:
            etree.SubElement(tune, name).text = str(value)
    sizes = {
        "logical_block_size": disk.options.logical_block_size,
        "physical_block_size": disk.options.physical_block_size,
    }
    said = {name: str(size) for name, size in sizes.items() if size is not None}
    if said and disk.device_type is not DeviceType.LUN:
        etree.SubElement(element, "blockio", said)


def source_tree(source: DiskSource, usage: str | None = None) -> tuple[str, etree._Element]:
    """Make the element that says where the content is; return it with the type of its disk.

    A login is by the secret that is found by ``usage``.
    """
    match source:
        case BlockSource():
            return "block", etree.Element("source", {"dev": source.path})
        case FileSource():
            return "file", etree.Element("source", {"file": source.path})
        case IscsiSource():
            return "network", _iscsi(source, usage)
        case RbdSource():
            return "network", _rbd(source, usage)
        case _:
            assert_never(source)


def _iscsi(source: IscsiSource, usage: str | None) -> etree._Element:
    target = {"protocol": "iscsi", "name": f"{source.iqn}/{source.lun}"}
    element = etree.Element("source", target)
    etree.SubElement(element, "host", {"name": source.host, "port": str(source.port)})
    initiator = etree.SubElement(element, "initiator")
    etree.SubElement(initiator, "iqn", {"name": source.initiator})
    _log_in(element, source.user, SecretUse.ISCSI, usage)
    return element


def _rbd(source: RbdSource, usage: str | None) -> etree._Element:
    image = {"protocol": "rbd", "name": f"{source.pool}/{source.image}"}
    element = etree.Element("source", image)
    for host, port in source.hosts:
        etree.SubElement(element, "host", {"name": host, "port": str(port)})
    _log_in(element, source.user, SecretUse.CEPH, usage)
    return element


def _log_in(source: etree._Element, user: str | None, use: SecretUse, usage: str | None) -> None:
    if user is not None and usage is not None:
        auth = etree.SubElement(source, "auth", {"username": user})
        etree.SubElement(auth, "secret", {"type": use.value, "usage": usage})


def _luks(usage: str) -> etree._Element:
    element = etree.Element("encryption", {"format": "luks"})
    etree.SubElement(element, "secret", {"type": "passphrase", "usage": usage})
    return element


def _format(source: DiskSource) -> DiskFormat:
    match source:
        case BlockSource() | IscsiSource() | RbdSource():
            return DiskFormat.RAW
        case FileSource():
            return source.format
        case _:
            assert_never(source)


def _driver(options: DiskOptions, disk_format: DiskFormat) -> dict[str, str]:
    # A cache on one host does not see what another host writes to a shared volume.
    cache = "none" if options.shareable else options.cache
    io = options.io
    if io == "native" and cache not in _UNCACHED:
        # QEMU takes native AIO only on files opened with O_DIRECT (Launchpad bug 1841363).
        io = "threads"
    optional = {"io": io, "discard": options.discard}
    chosen = {name: value for name, value in optional.items() if value is not None}
    return {"name": "qemu", "type": disk_format.value, "cache": cache, **chosen}


def address_tree(address: Address) -> etree._Element:
    """Make the element that says where a device is, a disk or any other."""
    return etree.Element("address", _address(address))


def _address(address: Address) -> dict[str, str]:
    match address:
        case PciAddress():
            return {
                "type": "pci",
                "domain": f"{address.domain:#06x}",
                "bus": f"{address.bus:#04x}",
                "slot": f"{address.slot:#04x}",
                "function": f"{address.function:#x}",
            }
        case DriveAddress():
            return {
                "type": "drive",
                "controller": str(address.controller),
                "bus": str(address.bus),
                "target": str(address.target),
                "unit": str(address.unit),
            }
        case UsbAddress():
            return {"type": "usb", "bus": str(address.bus), "port": str(address.port)}
        case _:
            assert_never(address)
