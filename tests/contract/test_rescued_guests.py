"""What libvirt makes of a rescue: the whole table of devices, and guests of other hands."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import libvirt
import pytest
from lxml import etree

from tests.contract.daemons import Ear
from tests.contract.rescue_labs import LibvirtLab, opened
from tests.contract.yards import CDROM, DISK, FLOPPY
from tests.fakes.hypervisor import shown
from tests.guests import GuestMaker
from tests.rings import require
from tests.targets import LUN, iqn_of, iscsi_target
from worker.errors import HypervisorRefused, MachineUnsupported
from worker.model.block_device import Bus, DeviceType
from worker.model.build.machine import NOWHERE
from worker.model.disk import Disk
from worker.model.guest import PowerChanged
from worker.model.identity.lookup import disk_by_alias
from worker.model.ids import InstanceId, VolumeId, new_uuid
from worker.model.machine import Kernel, Machine
from worker.model.moving.beside import Beside
from worker.model.places.address import DriveAddress, PciAddress
from worker.model.places.fits import fits
from worker.model.rescue.words import RescueLayout, rescue_alias
from worker.model.source import DiskFormat, DiskOptions, FileSource, IscsiSource
from worker.model.specification import Firmware, Shape
from worker.virt.definitions import LibvirtDefinitions
from worker.virt.libvirtd.connection import LibvirtConnection
from worker.virt.rescues import LibvirtRescues
from worker.virt.xml.layout import read_layout
from worker.virt.xml.rescue import rescue_text

KEPT = libvirt.VIR_DOMAIN_XML_INACTIVE
CODE, VARS = Path("/usr/share/OVMF/OVMF_CODE_4M.fd"), Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
FIRST = {Bus.VIRTIO: "vdz", Bus.IDE: "hdb", Bus.FDC: "fda"}
ME = "iqn.2026-11.org.example.test:me"


@pytest.fixture(scope="module")
def lab(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LibvirtLab]:
    with opened(request, "libvirt", tmp_path_factory.mktemp("lab")) as found:
        assert isinstance(found, LibvirtLab)
        yield found


def disk_on(instance: InstanceId, bus: Bus, device_type: DeviceType) -> Disk:
    """Return a rescue disk for which libvirt chooses the place, if there is any."""
    return Disk(
        alias=rescue_alias(instance),
        target=FIRST.get(bus, "sdz"),
        bus=bus,
        device_type=device_type,
        serial=new_uuid(),
        address=None,
        source=NOWHERE.source,
        options=DiskOptions(read_only=device_type is CDROM),
        boot_order=1,
    )


@pytest.mark.parametrize("family", ["pc", "q35"])
@pytest.mark.parametrize("bus", Bus)
def test_libvirt_takes_what_the_table_says_and_nothing_else(
    lab: LibvirtLab, family: str, bus: Bus
) -> None:
    machine = lab.defined(((Bus.VIRTIO, DISK),), Shape(machine_type=family, pcie_ports=6))
    kinds = [DISK, CDROM, FLOPPY]
    layouts = {kind: RescueLayout(disk=disk_on(machine.instance, bus, kind)) for kind in kinds}
    wanted = {kind: fits(kind, bus, family) for kind in kinds}
    assert {kind: accepted(lab, machine, layouts[kind]) for kind in kinds} == wanted
    assert {kind: can_be_defined(lab, machine, layouts[kind]) for kind in kinds} == wanted


def accepted(lab: LibvirtLab, machine: Machine, layout: RescueLayout) -> bool:
    try:
        lab.rescues.check(machine.instance, layout)
    except (MachineUnsupported, HypervisorRefused):
        return False
    return True


def can_be_defined(lab: LibvirtLab, machine: Machine, layout: RescueLayout) -> bool:
    """Tell whether libvirt would keep a domain like the one in rescue."""
    text = rescue_text(lab.text(machine.instance, KEPT), layout)
    for own, another in ((machine.instance, new_uuid()), (machine.name, f"test-{new_uuid()}")):
        text = text.replace(own, another)
    with lab.connection.use() as connection:
        try:
            connection.defineXML(text).undefine()
        except libvirt.libvirtError:
            return False
    return True


def test_a_hypervisor_that_cannot_rescue_is_refused() -> None:
    connection = LibvirtConnection("test:///default")
    with connection.use() as opened_to:
        (domain,) = opened_to.listAllDomains()
        instance = InstanceId(domain.UUIDString())
    with pytest.raises(MachineUnsupported, match="type test"):
        LibvirtRescues(connection).check(
            instance, RescueLayout(disk=disk_on(instance, Bus.VIRTIO, DISK))
        )
    connection.close()


def test_what_qemu_refuses_leaves_the_guest_off_and_as_it_was(
    lab: LibvirtLab, tmp_path: Path
) -> None:
    machine = lab.defined(())
    kept, wanted = lab.kept(machine.instance), lab.stable(machine)
    folder = replace(wanted.disk, source=FileSource(path=str(tmp_path)))
    with pytest.raises(HypervisorRefused):
        lab.rescues.start(machine.instance, replace(wanted, disk=folder))
    assert lab.is_off(machine)
    assert lab.kept(machine.instance) == kept
    # As it is now, not only at its next start.
    assert read_layout(lab.text(machine.instance)).disks == ()


def test_a_machine_of_ours_is_started_by_the_rescues_kernel(lab: LibvirtLab) -> None:
    machine = lab.defined(())
    kernel = Kernel(kernel=lab.kernel(), ramdisk=lab.kernel(), command_line="panic=1 a=<b>")
    lab.rescued(machine, replace(lab.stable(machine), kernel=kernel))
    assert started_with(lab.text(machine.instance)) == {
        "kernel": kernel.kernel,
        "initrd": kernel.ramdisk,
        "cmdline": kernel.command_line,
    }
    assert started_with(lab.text(machine.instance, KEPT)) == {}
    lab.yard.power.cut(machine.instance)


def started_with(text: str) -> dict[str, str | None]:
    names = ("kernel", "initrd", "cmdline")
    found = {name: etree.fromstring(text).findtext(f"os/{name}") for name in names}
    return {name: value for name, value in found.items() if value is not None}


def test_uefi_has_the_same_variables_in_rescue(lab: LibvirtLab, tmp_path: Path) -> None:
    require(CODE.exists() and VARS.exists(), "OVMF (package ovmf)")
    machine = lab.yard.machine(((Bus.VIRTIO, DISK),), firmware=Firmware.UEFI)
    lab.yard.machines.define(machine)
    definitions, own = LibvirtDefinitions(lab.connection), tmp_path / "nvram.fd"
    shutil.copy(VARS, own)
    text = definitions.read(machine.instance)
    definitions.drop(machine.instance)
    definitions.define(machine.instance, text, {}, Beside(nvram=str(own)))
    kept, file = lab.kept(machine.instance), own.stat().st_ino
    lab.rescues.check(machine.instance, lab.stable(machine))

    lab.rescued(machine)

    live, before = (etree.fromstring(one) for one in (lab.text(machine.instance), str(kept)))
    assert live.findtext("os/nvram") == before.findtext("os/nvram") == str(own)
    assert str(live.findtext("os/loader")).startswith("/usr/share/OVMF/OVMF_CODE")
    lab.yard.power.cut(machine.instance)
    assert lab.kept(machine.instance) == kept
    assert own.stat().st_ino == file


def test_a_lun_that_is_passed_through_stays_one(lab: LibvirtLab) -> None:
    machine = lab.defined(((Bus.VIRTIO, DISK),))
    with iscsi_target() as target:
        volume = VolumeId(new_uuid())
        target.add(volume, 1 << 20)
        target.allow(volume, ME)
        source = IscsiSource(
            host="127.0.0.1", port=target.port, iqn=iqn_of(volume), lun=LUN, initiator=ME
        )
        lun = Disk(
            alias=f"ua-{volume}",
            target="sda",
            bus=Bus.SCSI,
            device_type=DeviceType.LUN,
            serial=None,
            address=DriveAddress(kind="scsi", unit=5),
            source=source,
            options=DiskOptions(),
        )
        lab.disks.attach(machine.instance, lun)
        kept, wanted = lab.kept(machine.instance), lab.stable(machine, (Bus.SCSI, DISK))
        lab.rescues.check(machine.instance, wanted)
        assert lab.rescued(machine, wanted) == shown(wanted.disk)
        assert disk_by_alias(lab.live(machine), lun.alias) == shown(lun)
        lab.yard.power.cut(machine.instance)
    assert lab.kept(machine.instance) == kept


QEMU = "http://libvirt.org/schemas/domain/qemu/1.0"
OF_OTHERS = f"""<domain>
  <metadata><n:app xmlns:n="http://example.org/n"><n:owner>me</n:owner></n:app></metadata>
  <q:commandline xmlns:q="{QEMU}"><q:arg value="-no-hpet"/></q:commandline>
</domain>"""
NIC = """<interface type='user'><mac address='52:54:00:12:34:56'/><model type='virtio'/>{}
</interface>"""
VNC = "<graphics type='vnc' passwd='hush'><listen type='none'/></graphics>"


@pytest.mark.parametrize("ordered", [False, True], ids=["listed", "ordered"])
def test_a_guest_of_other_hands_is_as_they_made_it_but_for_what_it_boots(
    lab: LibvirtLab, make_guest: GuestMaker, tmp_path: Path, *, ordered: bool
) -> None:
    guest = of_other_hands(make_guest, tmp_path, ordered=ordered)
    instance = InstanceId(guest)
    kept, before = lab.kept(instance), etree.fromstring(lab.text(instance, KEPT))
    (root,) = read_layout(str(kept)).disks
    rescue = replace(
        disk_on(instance, Bus.VIRTIO, DISK),
        target="vdb",
        address=PciAddress(bus=9, slot=0),
        source=lab.yard.file(new_uuid(), DiskFormat.RAW),
    )
    lab.rescues.check(instance, RescueLayout(disk=rescue))
    lab.rescues.start(instance, RescueLayout(disk=rescue))

    text = lab.text(instance)
    live, layout = etree.fromstring(text), read_layout(text)
    assert started_with(text) == {}
    orders = [(each.target, each.boot_order) for each in layout.disks]
    assert orders == [("vda", None), ("vdb", 1)]
    assert len(live.findall(".//boot")) == 1
    shown_root = layout.disks[0]
    assert replace(shown_root, alias=None) == replace(root, boot_order=None)
    assert not str(shown_root.alias).startswith("ua-")
    assert layout.disks[1] == shown(rescue)
    assert [(one.mac, one.address) for one in layout.interfaces] == [
        (one.mac, one.address) for one in read_layout(str(kept)).interfaces
    ]
    for path in ("metadata", f"{{{QEMU}}}commandline"):
        assert lines(live.find(path)) == lines(before.find(path))
    (screen,) = live.findall("devices/graphics")
    assert screen.get("passwd") == "hush"
    lab.yard.power.cut(instance)
    assert lab.kept(instance) == kept


def lines(element: etree._Element | None) -> list[str]:
    assert element is not None
    return [line.strip() for line in etree.tostring(element, encoding="unicode").splitlines()]


def of_other_hands(make: GuestMaker, folder: Path, *, ordered: bool) -> str:
    """Define a guest with a disk that nothing marks; it boots by numbers, or by a list."""
    path = folder / "root"
    path.write_bytes(bytes(1 << 20))
    order = "<boot order='{}'/>" if ordered else ""
    root = (
        f"<disk type='file' device='disk'><source file='{path}'/>"
        f"<target dev='vda' bus='virtio'/>{order.format(1)}</disk>"
    )
    guest = make(booted=False, extra_disks=[root, NIC.format(order.format(2)), VNC])
    domain = etree.fromstring(guest.domain.XMLDesc(KEPT | libvirt.VIR_DOMAIN_XML_SECURE))
    domain.extend(etree.fromstring(OF_OTHERS))
    if not ordered:
        for boot in domain.findall("os"):
            for old in boot.findall("boot"):
                boot.remove(old)
            boot.extend([etree.Element("boot", dev=name) for name in ("hd", "network")])
    guest.domain.connect().defineXML(etree.tostring(domain, encoding="unicode"))
    return guest.uuid


def test_of_a_rescue_and_its_end_no_more_is_told_than_of_a_start_and_a_stop(
    lab: LibvirtLab,
) -> None:
    machine, ear = lab.defined(()), Ear()
    connection = LibvirtConnection(lab.connection.uri)
    changed = PowerChanged(instance=machine.instance)
    connection.subscribe(ear.events.put)
    ear.until(changed)
    wanted = lab.stable(machine)
    rescues = LibvirtRescues(connection)
    for switch in (
        partial(rescues.start, machine.instance, wanted),
        partial(lab.yard.power.cut, machine.instance),
    ):
        ear.forget()
        switch()
        heard = ear.until(changed)
        assert {event for event in heard if event.instance == machine.instance} <= {changed}
        assert lab.persistent(machine) is not None
    assert lab.is_off(machine)
    connection.close()
