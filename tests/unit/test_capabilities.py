"""What a host lacks is said by name, with what there is instead."""

from dataclasses import dataclass, replace
from typing import cast

import libvirt
import pytest

from tests.unit.test_machine_xml import CONFIG, MACHINES, ROOT, SERVER
from worker.errors import MachineUnsupported
from worker.model.machine import Machine
from worker.model.specification import Firmware, Shape
from worker.virt.xml.capabilities import check_supported

TELLS = """
<domainCapabilities>
  <machine>pc-q35-7.2</machine>
  <vcpu max='8'/>
  <os supported='yes'>
    <enum name='firmware'><value>efi</value></enum>
  </os>
  <devices>
    <disk supported='yes'>
      <enum name='diskDevice'><value>disk</value><value>cdrom</value></enum>
      <enum name='bus'><value>virtio</value><value>scsi</value><value>sata</value></enum>
    </disk>
  </devices>
</domainCapabilities>
"""


@dataclass(frozen=True, slots=True)
class Host:
    """A connection that knows nothing but its capabilities."""

    told: str

    def getDomainCapabilities(self, *_asked: object) -> str:  # noqa: N802 - libvirt's name
        return self.told


def check(machine: Machine, told: str = TELLS) -> None:
    check_supported(cast("libvirt.virConnect", Host(told)), machine, "qemu")


def test_a_machine_that_the_host_can_make_passes() -> None:
    check(SERVER)


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        (replace(SERVER, vcpus=9), "9 vCPUs: this machine type has 8 at most"),
        (replace(SERVER, shape=Shape(scsi_model="megasas")), "scsi controller megasas .* lsilogic"),
        (replace(SERVER, shape=Shape(scsi_model=None)), "disk sda: bus scsi .* sata, usb, virtio"),
        (
            replace(SERVER, shape=Shape(floppy=True), disks=MACHINES["pc-floppy"].disks[2:]),
            "disk fda: bus fdc is not there; sata, scsi, virtio is",
        ),
        (replace(SERVER, shape=Shape(machine_type="pc")), "one of the families pc and q35"),
    ],
)
def test_what_the_host_lacks_is_named(machine: Machine, words: str) -> None:
    with pytest.raises(MachineUnsupported, match=words):
        check(machine)


def test_a_device_type_that_the_host_lacks_is_named() -> None:
    with pytest.raises(MachineUnsupported, match=r"disk sdb: device type cdrom .*; disk is"):
        check(replace(SERVER, disks=(ROOT, CONFIG)), TELLS.replace("<value>cdrom</value>", ""))


def test_uefi_is_missed_by_those_alone_who_want_it() -> None:
    without = TELLS.replace("<value>efi</value>", "")
    check(replace(SERVER, firmware=Firmware.BIOS), without)
    with pytest.raises(MachineUnsupported, match=r"no UEFI .* ovmf"):
        check(SERVER, without)


@pytest.mark.parametrize("name", ["isapc", "microvm", "x-remote", ""])
def test_a_machine_of_a_family_that_we_do_not_make_is_refused(name: str) -> None:
    with pytest.raises(MachineUnsupported, match="families"):
        check(SERVER, TELLS.replace("pc-q35-7.2", name))
