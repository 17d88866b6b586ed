"""What this host's QEMU can be made into, as libvirt tells it.

The form is that of https://libvirt.org/formatdomaincaps.html.
"""

from collections.abc import Iterable

import libvirt
from lxml import etree

from worker.errors import MachineUnsupported
from worker.model.disk import Disk
from worker.model.machine import Machine
from worker.model.places.controllers import SCSI_UNITS, places
from worker.model.specification import Firmware, Shape
from worker.virt.xml.values import number

ARCHITECTURE = "x86_64"
_NATIVE = "qemu-argv"
_FAMILIES = ("q35", "i440fx")
_OURS_TO_MEND = frozenset(
    {
        libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
        libvirt.VIR_ERR_INVALID_ARG,
        libvirt.VIR_ERR_XML_DETAIL,
        libvirt.VIR_ERR_XML_ERROR,
    }
)


def check_supported(connection: libvirt.virConnect, machine: Machine, domain_type: str) -> None:
    """Raise MachineUnsupported for what this host cannot make; says what there is instead."""
    capabilities = _capabilities(connection, machine.shape, domain_type)
    _check_family(machine.shape, capabilities)
    _check_vcpus(machine.vcpus, capabilities)
    if machine.firmware is Firmware.UEFI:
        _check_uefi(capabilities)
    if machine.shape.scsi_model is not None:
        _check_among("scsi controller", machine.shape.scsi_model, SCSI_UNITS)
    for disk in machine.disks:
        _check_disk(disk, machine.shape, capabilities)


def check_accepted(connection: libvirt.virConnect, element: str) -> None:
    """Raise MachineUnsupported if libvirt would refuse the domain; makes nothing.

    libvirt would look for the secrets that disks are opened with, and they are there only while
    something is opened.
    """
    try:
        connection.domainXMLToNative(_NATIVE, _without_secrets(element))
    except libvirt.libvirtError as error:
        if error.get_error_code() in _OURS_TO_MEND:
            raise MachineUnsupported(str(error)) from error
        raise


def _without_secrets(element: str) -> str:
    domain = etree.fromstring(element.encode())
    for opened in (*domain.findall(".//auth"), *domain.findall(".//encryption")):
        parent = opened.getparent()
        if parent is not None:
            parent.remove(opened)
    return etree.tostring(domain, encoding="unicode")


def _capabilities(connection: libvirt.virConnect, shape: Shape, domain_type: str) -> etree._Element:
    try:
        text = connection.getDomainCapabilities(None, ARCHITECTURE, shape.machine_type, domain_type)
    except libvirt.libvirtError as error:
        if error.get_error_code() in _OURS_TO_MEND:
            raise MachineUnsupported(str(error)) from error
        raise
    return etree.fromstring(text)


def _check_family(shape: Shape, capabilities: etree._Element) -> None:
    # The name asked for may be an alias: only the real one tells whether its buses are as we think.
    name = capabilities.findtext("machine", "")
    if not any(family in name for family in _FAMILIES) or shape.pcie is not ("q35" in name):
        message = f"machine type {shape.machine_type}: one of the families pc and q35 is meant"
        raise MachineUnsupported(message)


def _check_vcpus(vcpus: int, capabilities: etree._Element) -> None:
    most = number(capabilities.find("vcpu"), "max")
    if most is not None and vcpus > most:
        raise MachineUnsupported(f"{vcpus} vCPUs: this machine type has {most} at most")


def _check_uefi(capabilities: etree._Element) -> None:
    if "efi" not in _values(capabilities, "os/enum[@name='firmware']"):
        machine = capabilities.findtext("machine", "")
        message = f"QEMU has no UEFI firmware for {machine} (Debian package: ovmf)"
        raise MachineUnsupported(message)


def _check_disk(disk: Disk, shape: Shape, capabilities: etree._Element) -> None:
    what = f"disk {disk.target}"
    _check_among(f"{what}: bus", disk.bus.value, places(shape))
    _check_among(f"{what}: bus", disk.bus.value, _values(capabilities, _enum("bus")))
    types = _values(capabilities, _enum("diskDevice"))
    _check_among(f"{what}: device type", disk.device_type.value, types)


def _enum(name: str) -> str:
    return f"devices/disk/enum[@name='{name}']"


def _values(capabilities: etree._Element, enum: str) -> list[str]:
    return [value.text or "" for value in capabilities.iterfind(f"{enum}/value")]


def _check_among(what: str, wanted: str, there: Iterable[str]) -> None:
    known = sorted(there)
    if wanted not in known:
        message = f"{what} {wanted} is not there; {', '.join(known) or 'nothing'} is"
        raise MachineUnsupported(message)
