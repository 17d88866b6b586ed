"""The ``<disk>`` element that libvirt is given.

The form is that of https://libvirt.org/formatdomain.html, "Hard drives, floppy disks, CDROMs".
"""

from typing import assert_never

from lxml import etree

from worker.errors import HypervisorRefused
from worker.model.address import Address, DriveAddress, PciAddress, UsbAddress
from worker.model.block_device import DeviceType
from worker.model.disk import Disk
from worker.model.source import BlockSource, DiskOptions, DiskSource, FileSource

_UNCACHED = frozenset({"none", "directsync"})


def disk_element(disk: Disk) -> str:
    """Write the disk as libvirt wants it.

    Raises HypervisorRefused for a text that XML cannot hold (a path with a control character).
    """
    try:
        element = _disk(disk)
    except ValueError as error:
        message = f"disk {disk.alias} cannot be written as XML: {error}"
        raise HypervisorRefused(message) from error
    return etree.tostring(element, encoding="unicode")


def _disk(disk: Disk) -> etree._Element:
    kind, source = _source(disk.source)
    element = etree.Element("disk", {"type": kind, "device": disk.device_type.value})
    etree.SubElement(element, "driver", _driver(disk.options))
    etree.SubElement(element, "alias", {"name": disk.alias})
    etree.SubElement(element, "source", source)
    etree.SubElement(element, "target", {"dev": disk.target, "bus": disk.bus.value})
    # QEMU's scsi-block passes commands through and has no serial of its own: libvirt refuses one.
    if disk.serial is not None and disk.device_type is not DeviceType.LUN:
        etree.SubElement(element, "serial").text = disk.serial
    if disk.options.read_only:
        etree.SubElement(element, "readonly")
    if disk.options.shareable:
        etree.SubElement(element, "shareable")
    if disk.address is not None:
        etree.SubElement(element, "address", _address(disk.address))
    return element


def _source(source: DiskSource) -> tuple[str, dict[str, str]]:
    match source:
        case BlockSource():
            return "block", {"dev": source.path}
        case FileSource():
            return "file", {"file": source.path}
        case _:
            assert_never(source)


def _driver(options: DiskOptions) -> dict[str, str]:
    # A cache on one host does not see what another host writes to a shared volume.
    cache = "none" if options.shareable else options.cache
    io = options.io
    if io == "native" and cache not in _UNCACHED:
        # QEMU takes native AIO only on files opened with O_DIRECT (Launchpad bug 1841363).
        io = "threads"
    optional = {"io": io, "discard": options.discard}
    chosen = {name: value for name, value in optional.items() if value is not None}
    return {"name": "qemu", "type": "raw", "cache": cache, **chosen}


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
