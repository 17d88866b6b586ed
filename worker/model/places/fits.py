"""Which device can be on which bus of which machine: one table for builds, attaches and rescues.

What libvirt 9.0 accepts when a domain is defined, all of which QEMU 7.2 starts; the contract suite
asks the libvirt that is installed about every entry of a PC.
"""

from collections.abc import Mapping
from enum import StrEnum

from worker.errors import DeviceTypeUnsupported
from worker.model.block_device import Bus, DeviceType


class Family(StrEnum):
    """A family of machines, by the chipset that decides which buses are there."""

    PC = "pc"
    Q35 = "q35"
    OTHER = "other"
    """One without a PC's chipset, of another architecture say."""


_ALL = frozenset(Family)
_PC = frozenset({Family.PC})
_PCS = frozenset({Family.PC, Family.Q35})
_OTHERS = ("virt", "pseries", "s390", "microvm")

FITS: Mapping[DeviceType, Mapping[Bus, frozenset[Family]]] = {
    DeviceType.DISK: {
        Bus.VIRTIO: _ALL,
        Bus.SCSI: _ALL,
        Bus.SATA: _ALL,
        Bus.USB: _ALL,
        Bus.IDE: _PC,
    },
    # A virtio disk has no medium that could be taken out.
    DeviceType.CDROM: {Bus.SCSI: _ALL, Bus.SATA: _ALL, Bus.USB: _ALL, Bus.IDE: _PC},
    DeviceType.FLOPPY: {Bus.FDC: _PCS},
}


def family_of(machine: str) -> Family:
    """Return the family of a machine type, by the name that QEMU has for it."""
    if machine.startswith(_OTHERS):
        return Family.OTHER
    return Family.Q35 if "q35" in machine else Family.PC


def fits(kind: DeviceType, bus: Bus, machine: str) -> bool:
    """Tell whether such a device can be on the bus of such a machine."""
    return family_of(machine) in FITS.get(kind, {}).get(bus, frozenset())


def check_fits(kind: DeviceType, bus: Bus, machine: str) -> None:
    """Raise DeviceTypeUnsupported unless such a device can be on the bus of such a machine."""
    if not fits(kind, bus, machine):
        there = sorted(each for each in FITS.get(kind, {}) if fits(kind, each, machine))
        message = (
            f"a {kind} cannot be on bus {bus} of a {machine or 'pc'} machine;"
            f" {', '.join(there) or 'no bus'} takes one"
        )
        raise DeviceTypeUnsupported(message)
