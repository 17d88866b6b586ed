"""A domain's text for its time in rescue: the persistent one, and what is otherwise."""

from collections.abc import Mapping

from lxml import etree

from worker.errors import MachineUnsupported
from worker.model.block_device import Bus
from worker.model.identity.alias import config_drive_alias
from worker.model.ids import InstanceId
from worker.model.machine import Kernel
from worker.model.rescue.words import RescueLayout, Spot
from worker.virt.xml.disk import address_tree, disk_tree
from worker.virt.xml.marks import parsed, sourced

_ADDED: Mapping[Bus, Mapping[str, str]] = {
    Bus.SATA: {"type": "sata", "index": "0"},
    # libvirt would take a model that not every QEMU has.
    Bus.SCSI: {"type": "scsi", "index": "0", "model": "virtio-scsi"},
    Bus.FDC: {"type": "fdc", "index": "0"},
}
"""What a machine lacks that has no disk on such a bus; for the rescue alone it is added."""


_STARTED_WITH = ("kernel", "initrd", "cmdline", "shim", "dtb")
"""What goes with one kernel: libvirt refuses it without, and it fits no other."""


def rescue_text(text: str, layout: RescueLayout) -> str:
    """Return the text with the rescue disk in it, which alone is booted from.

    Raises HypervisorRefused for a text that is no domain, MachineUnsupported for what XML cannot
    hold (a kernel's command line with a control character).
    """
    try:
        domain = _in_rescue(text, layout)
    except ValueError as error:
        message = f"the rescue cannot be written as XML: {error}"
        raise MachineUnsupported(message) from error
    return etree.tostring(domain, encoding="unicode")


def _in_rescue(text: str, layout: RescueLayout) -> etree._Element:
    domain = parsed(_with_config(text, layout))
    devices = domain.find("devices")
    if devices is None:
        devices = etree.SubElement(domain, "devices")
    for disk in devices.findall("disk"):
        _keep_or_remove(disk, layout)
    _take_boot_orders(domain)
    _start_with(domain, layout.kernel)
    _add_controller(devices, layout.disk.bus)
    _add_disk(devices, layout)
    return domain


def _with_config(text: str, layout: RescueLayout) -> str:
    if layout.config is None:
        return text
    uuid = InstanceId(parsed(text).findtext("uuid") or "")
    return sourced(text, {config_drive_alias(uuid): layout.config})


def _keep_or_remove(disk: etree._Element, layout: RescueLayout) -> None:
    target = disk.find("target")
    name = "" if target is None else target.get("dev", "")
    if layout.kept is not None and name not in layout.kept:
        _remove(disk)
    elif target is not None and layout.moved is not None and name in layout.moved:
        _move(disk, target, layout.moved[name])


def _move(disk: etree._Element, target: etree._Element, spot: Spot) -> None:
    target.set("dev", spot.target)
    for address in disk.findall("address"):
        _remove(address)
    if spot.address is not None:
        disk.append(address_tree(spot.address))


def _take_boot_orders(domain: etree._Element) -> None:
    """Take both kinds: libvirt refuses one beside the other."""
    for boot in (*domain.findall("devices/*/boot"), *domain.findall("os/boot")):
        _remove(boot)


def _start_with(domain: etree._Element, kernel: Kernel | None) -> None:
    boot = domain.find("os")
    if boot is None:
        boot = etree.SubElement(domain, "os")
    for name in _STARTED_WITH:
        for old in boot.findall(name):
            _remove(old)
    if kernel is None:
        return
    said = {"kernel": kernel.kernel, "initrd": kernel.ramdisk, "cmdline": kernel.command_line}
    for name, text in said.items():
        if text:
            etree.SubElement(boot, name).text = text


def _add_controller(devices: etree._Element, bus: Bus) -> None:
    wanted = _ADDED.get(bus)
    if wanted is None:
        return
    if not any(one.get("type") == wanted["type"] for one in devices.findall("controller")):
        etree.SubElement(devices, "controller", dict(wanted))


def _add_disk(devices: etree._Element, layout: RescueLayout) -> None:
    disks = devices.findall("disk")
    element = disk_tree(layout.disk)
    if not disks:
        devices.append(element)
    elif layout.first:
        disks[0].addprevious(element)
    else:
        disks[-1].addnext(element)


def _remove(element: etree._Element) -> None:
    parent = element.getparent()
    if parent is not None:
        parent.remove(element)
