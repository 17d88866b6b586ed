"""Which device can be on which bus of which machine: the whole table, said a second time."""

from itertools import product

import pytest

from worker.errors import DeviceTypeUnsupported
from worker.model.block_device import Bus, DeviceType
from worker.model.places.fits import Family, check_fits, family_of, fits

MACHINES = {"pc-i440fx-7.2": Family.PC, "pc-q35-7.2": Family.Q35, "virt-7.2": Family.OTHER}
EVERYWHERE = {
    ("disk", "virtio"),
    ("disk", "scsi"),
    ("disk", "usb"),
    ("disk", "sata"),
    ("cdrom", "scsi"),
    ("cdrom", "usb"),
    ("cdrom", "sata"),
}
ON_A_PC = {("disk", "ide"), ("cdrom", "ide"), ("floppy", "fdc")}
ACCEPTED = {
    "pc-i440fx-7.2": EVERYWHERE | ON_A_PC,
    "pc-q35-7.2": EVERYWHERE | {("floppy", "fdc")},
    "virt-7.2": EVERYWHERE,
}


@pytest.mark.parametrize(
    ("machine", "kind", "bus"), list(product(MACHINES, DeviceType, Bus)), ids=str
)
def test_each_pair_fits_where_libvirt_accepts_it(machine: str, kind: DeviceType, bus: Bus) -> None:
    accepted = (kind.value, bus.value) in ACCEPTED[machine]

    assert fits(kind, bus, machine) == accepted
    if accepted:
        check_fits(kind, bus, machine)
        return
    with pytest.raises(DeviceTypeUnsupported, match=f"{kind} cannot be on bus {bus} of a"):
        check_fits(kind, bus, machine)


def test_a_refusal_says_what_would_do() -> None:
    with pytest.raises(DeviceTypeUnsupported, match=r"q35-7\.2 machine; sata, scsi, usb takes"):
        check_fits(DeviceType.CDROM, Bus.IDE, "pc-q35-7.2")
    with pytest.raises(DeviceTypeUnsupported, match=r"virt-7\.2 machine; no bus takes one"):
        check_fits(DeviceType.FLOPPY, Bus.FDC, "virt-7.2")
    with pytest.raises(DeviceTypeUnsupported, match="of a pc machine"):
        check_fits(DeviceType.CDROM, Bus.VIRTIO, "")


@pytest.mark.parametrize(
    ("machine", "family"),
    [
        *MACHINES.items(),
        ("q35", Family.Q35),
        ("pc-q35-rhel9.2.0", Family.Q35),
        ("pc", Family.PC),
        ("rhel6.6.0", Family.PC),
        ("", Family.PC),
        ("pseries-7.2", Family.OTHER),
        ("s390-ccw-virtio-7.2", Family.OTHER),
        ("microvm", Family.OTHER),
    ],
)
def test_a_family_is_told_by_the_machines_name(machine: str, family: Family) -> None:
    assert family_of(machine) is family
