"""The XML of machines, whole: what is in tests/unit/golden is what libvirt is given.

After a change that is meant, ``GOLDEN=write pytest tests/unit/test_machine_xml.py`` writes it anew.
"""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from lxml import etree

from worker.errors import MachineUnsupported
from worker.model.block_device import Bus, DeviceType
from worker.model.disk import Disk
from worker.model.ids import InstanceId, PeripheralId, PortId
from worker.model.machine import Kernel, Machine
from worker.model.peripheral import Peripheral
from worker.model.places.address import DriveAddress, PciAddress
from worker.model.places.controllers import interface_addresses
from worker.model.source import BlockSource, DiskFormat, DiskOptions, FileSource
from worker.model.specification import Firmware, Interface, InterfaceKind, Shape
from worker.virt.xml.domain import domain_element
from worker.virt.xml.layout import read_layout

GOLDEN = Path(__file__).parent / "golden"
ROOT = Disk(
    alias="ua-6ad1ac43-7ac3-4a0d-bcd7-d5b5a1a1a2d1",
    target="vda",
    bus=Bus.VIRTIO,
    device_type=DeviceType.DISK,
    serial="6ad1ac43-7ac3-4a0d-bcd7-d5b5a1a1a2d1",
    address=PciAddress(bus=4, slot=0),
    source=FileSource(path="/instances/root", format=DiskFormat.QCOW2),
    options=DiskOptions(discard="unmap"),
    boot_order=1,
)
VOLUME = replace(
    ROOT,
    alias="ua-f00dfeed-7ac3-4a0d-bcd7-d5b5a1a1a2d1",
    serial="f00dfeed-7ac3-4a0d-bcd7-d5b5a1a1a2d1",
    target="sda",
    bus=Bus.SCSI,
    address=DriveAddress(kind="scsi", unit=3),
    source=BlockSource(path="/dev/mapper/volume"),
    options=DiskOptions(io="native"),
    boot_order=2,
)
CONFIG = replace(
    ROOT,
    alias="ua-config-0f2b8f7e-95ff-4fd5-8a0a-0b7c9f3f6c11",
    serial=None,
    target="sdb",
    bus=Bus.SATA,
    device_type=DeviceType.CDROM,
    address=DriveAddress(kind="sata", unit=0),
    source=FileSource(path="/instances/config"),
    options=DiskOptions(read_only=True),
    boot_order=None,
)
BRIDGE = Interface(
    port=PortId("b0b0b0b0-0000-4000-8000-000000000001"),
    kind=InterfaceKind.BRIDGE,
    mac="52:54:00:00:00:01",
    target="br0",
)
TAP = replace(
    BRIDGE,
    port=PortId("b0b0b0b0-0000-4000-8000-000000000002"),
    kind=InterfaceKind.TAP,
    target="tap1",
    model="e1000",
)
USER = replace(
    BRIDGE,
    port=PortId("b0b0b0b0-0000-4000-8000-000000000003"),
    kind=InterfaceKind.USER,
    target=None,
)
SHAPE_PC = Shape(machine_type="pc-i440fx-7.2", scsi_model="lsilogic", floppy=True)


def placed(shape: Shape, *interfaces: Interface) -> tuple[Peripheral, ...]:
    """Return them as a machine has them: each with its alias, at its address."""
    places = interface_addresses(shape, len(interfaces))
    return tuple(
        Peripheral(
            uuid=PeripheralId(str(one.port)),
            instance=InstanceId("0f2b8f7e-95ff-4fd5-8a0a-0b7c9f3f6c11"),
            what=one,
            alias=f"ua-{one.port}",
            address=place,
        )
        for one, place in zip(interfaces, places, strict=True)
    )


SERVER = Machine(
    instance=InstanceId("0f2b8f7e-95ff-4fd5-8a0a-0b7c9f3f6c11"),
    name="a <name> & more",
    vcpus=2,
    memory=512,
    shape=Shape(pcie_ports=10),
    firmware=Firmware.UEFI,
    disks=(ROOT, VOLUME, CONFIG),
    interfaces=placed(Shape(), BRIDGE),
    console="/instances/console.log",
)
FLOPPY = replace(
    CONFIG,
    alias="ua-f10bb1e5-7ac3-4a0d-bcd7-d5b5a1a1a2d1",
    serial="f10bb1e5-7ac3-4a0d-bcd7-d5b5a1a1a2d1",
    target="fda",
    bus=Bus.FDC,
    device_type=DeviceType.FLOPPY,
    address=DriveAddress(kind="fdc", unit=0),
)
MACHINES = {
    "q35-uefi": SERVER,
    "pc-floppy": replace(
        SERVER,
        shape=SHAPE_PC,
        firmware=Firmware.BIOS,
        disks=(replace(ROOT, address=PciAddress(bus=0, slot=8)), VOLUME, FLOPPY),
        interfaces=placed(SHAPE_PC, BRIDGE, TAP, USER),
    ),
    "q35-kernel": replace(
        SERVER,
        shape=Shape(scsi_model=None, usb=False, pcie_ports=4),
        firmware=Firmware.BIOS,
        disks=(),
        interfaces=(),
        console=None,
        kernel=Kernel(kernel="/k", ramdisk="/r", command_line="console=ttyS0"),
    ),
}


@pytest.mark.parametrize("name", MACHINES)
def test_a_machine_is_written_as_it_always_was(name: str) -> None:
    written = domain_element(MACHINES[name], "qemu")
    file = GOLDEN / f"{name}.xml"
    if os.environ.get("GOLDEN") == "write":
        file.write_text(written, encoding="utf-8")
    assert written == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", MACHINES)
def test_nothing_that_has_a_place_is_without_one(name: str) -> None:
    devices = etree.fromstring(domain_element(MACHINES[name], "qemu")).find("devices")
    assert devices is not None
    roots = {"pci-root", "pcie-root", "none"}
    placeless = [
        device.tag
        for device in devices
        if device.find("address") is None
        and device.get("model") not in roots
        and device.get("type") != "fdc"
    ]
    assert placeless == ["serial"]


def test_what_was_written_is_what_is_read() -> None:
    layout = read_layout(domain_element(SERVER, "qemu"))
    assert [disk.alias for disk in layout.disks] == [disk.alias for disk in SERVER.disks]
    assert [disk.device for disk in layout.disks] == ["disk", "disk", "cdrom"]
    assert [disk.boot_order for disk in layout.disks] == [1, 2, None]


def test_kvm_gives_the_guest_a_model_of_the_hosts_processor() -> None:
    domain = etree.fromstring(domain_element(SERVER, "kvm"))
    cpu = domain.find("cpu")
    assert cpu is not None
    assert (domain.get("type"), cpu.get("mode")) == ("kvm", "host-model")


def test_a_kernel_may_come_without_ramdisk_and_command_line() -> None:
    machine = replace(SERVER, kernel=Kernel(kernel="/k"))
    boot = etree.fromstring(domain_element(machine, "qemu")).find("os")
    assert boot is not None
    assert [child.tag for child in boot] == ["type", "firmware", "kernel"]


@pytest.mark.parametrize("name", ["bell\x07", "nul\x00", "\ud800"])
def test_a_name_that_no_xml_holds_is_named(name: str) -> None:
    with pytest.raises(MachineUnsupported, match="cannot be written as XML"):
        domain_element(replace(SERVER, name=name), "qemu")
