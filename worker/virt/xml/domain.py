"""The ``<domain>`` element that libvirt is given for a machine of ours.

The form is that of https://libvirt.org/formatdomain.html. Every device that has an address is
given it: where libvirt chose, it could choose otherwise in its next release, or beside another
device.
"""

from lxml import etree

from worker.errors import MachineUnsupported
from worker.model.machine import Kernel, Machine
from worker.model.places.address import PciAddress
from worker.model.places.controllers import (
    IDE_ADDRESS,
    SATA_ADDRESS,
    root_ports,
    scsi_address,
    usb_address,
)
from worker.model.specification import Firmware, Shape
from worker.virt.peripherals import peripheral_tree
from worker.virt.xml.capabilities import ARCHITECTURE
from worker.virt.xml.disk import address_tree, disk_tree

_CPU_MODES = {"kvm": "host-model", "qemu": "maximum"}
# What every cloud gives its guests: ticks that were missed are made up for.
_TIMERS = (
    {"name": "pit", "tickpolicy": "delay"},
    {"name": "rtc", "tickpolicy": "catchup"},
    {"name": "hpet", "present": "no"},
)


def domain_element(machine: Machine, domain_type: str) -> str:
    """Write the machine as libvirt wants it.

    Raises MachineUnsupported for a text that XML cannot hold (a name with a control character),
    NoFreePort for more devices than the machine has ports.
    """
    try:
        element = _domain(machine, domain_type)
    except ValueError as error:
        message = f"machine {machine.name!r} cannot be written as XML: {error}"
        raise MachineUnsupported(message) from error
    return etree.tostring(element, pretty_print=True, encoding="unicode")


def _domain(machine: Machine, domain_type: str) -> etree._Element:
    domain = etree.Element("domain", {"type": domain_type})
    _text(domain, "name", machine.name)
    _text(domain, "uuid", machine.instance)
    _text(domain, "memory", str(machine.memory), {"unit": "MiB"})
    _text(domain, "vcpu", str(machine.vcpus))
    domain.append(_boot(machine))
    features = etree.SubElement(domain, "features")
    etree.SubElement(features, "acpi")
    etree.SubElement(features, "apic")
    etree.SubElement(domain, "cpu", {"mode": _CPU_MODES[domain_type]})
    domain.append(_clock())
    _text(domain, "on_poweroff", "destroy")
    _text(domain, "on_reboot", "restart")
    _text(domain, "on_crash", "destroy")
    domain.append(_devices(machine))
    return domain


def _text(
    parent: etree._Element, tag: str, text: str, attributes: dict[str, str] | None = None
) -> None:
    etree.SubElement(parent, tag, attributes or {}).text = text


def _boot(machine: Machine) -> etree._Element:
    boot = etree.Element("os")
    shape = {"arch": ARCHITECTURE, "machine": machine.shape.machine_type}
    _text(boot, "type", "hvm", shape)
    if machine.firmware is Firmware.UEFI:
        # libvirt finds the firmware by QEMU's descriptors, and keeps the NVRAM beside the domain.
        boot.set("firmware", "efi")
        firmware = etree.SubElement(boot, "firmware")
        etree.SubElement(firmware, "feature", {"enabled": "no", "name": "secure-boot"})
    if machine.kernel is not None:
        _kernel(boot, machine.kernel)
    return boot


def _kernel(boot: etree._Element, kernel: Kernel) -> None:
    _text(boot, "kernel", kernel.kernel)
    if kernel.ramdisk is not None:
        _text(boot, "initrd", kernel.ramdisk)
    if kernel.command_line:
        _text(boot, "cmdline", kernel.command_line)


def _clock() -> etree._Element:
    clock = etree.Element("clock", {"offset": "utc"})
    for timer in _TIMERS:
        etree.SubElement(clock, "timer", timer)
    return clock


def _devices(machine: Machine) -> etree._Element:
    devices = etree.Element("devices")
    devices.extend(_controllers(machine.shape))
    devices.extend(disk_tree(disk) for disk in machine.disks)
    devices.extend(peripheral_tree(each) for each in machine.interfaces)
    devices.append(_serial(machine.console))
    # Said, since libvirt adds one where nothing is said, in a place of its own choice.
    etree.SubElement(devices, "memballoon", {"model": "none"})
    return devices


def _controllers(shape: Shape) -> list[etree._Element]:
    return [
        *(_pcie(shape) if shape.pcie else [_controller("pci", 0, "pci-root")]),
        _controller("sata", 0, None, SATA_ADDRESS)
        if shape.pcie
        else _controller("ide", 0, None, IDE_ADDRESS),
        *([] if shape.scsi_model is None else [_scsi(shape)]),
        # Here too libvirt adds one where nothing is said.
        _controller("usb", 0, "qemu-xhci" if shape.usb else "none", usb_address(shape)),
        *([_controller("fdc", 0)] if shape.floppy else []),
    ]


def _pcie(shape: Shape) -> list[etree._Element]:
    return [
        _controller("pci", 0, "pcie-root"),
        *(
            _controller("pci", index, "pcie-root-port", address)
            for index, address in enumerate(root_ports(shape), 1)
        ),
    ]


def _scsi(shape: Shape) -> etree._Element:
    return _controller("scsi", 0, shape.scsi_model, scsi_address(shape))


def _controller(
    kind: str, index: int, model: str | None = None, address: PciAddress | None = None
) -> etree._Element:
    controller = etree.Element("controller", {"type": kind, "index": str(index)})
    if model is not None:
        controller.set("model", model)
    if address is not None:
        place = address_tree(address)
        if model == "pcie-root-port" and address.function == 0:
            place.set("multifunction", "on")
        controller.append(place)
    return controller


def _serial(console: str | None) -> etree._Element:
    """Return the serial port: a terminal for ``virsh console``, all of it kept in the file."""
    serial = etree.Element("serial", {"type": "pty"})
    if console is not None:
        etree.SubElement(serial, "log", {"file": console, "append": "on"})
    etree.SubElement(serial, "target", {"port": "0"})
    return serial
