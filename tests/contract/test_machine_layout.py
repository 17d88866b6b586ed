"""The plan of a machine and what libvirt keeps of it never disagree."""

import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import libvirt as library
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.daemons import victim
from tests.contract.yards import CDROM, DISK, FLOPPY, Kind, LibvirtYard, libvirt
from tests.fakes.hypervisor import shown
from tests.rings import require
from worker.cmd.demo.guest_image import GuestImage
from worker.errors import HypervisorRefused, HypervisorUnavailable
from worker.image.host_files import LocalHostFiles
from worker.model.block_device import Bus
from worker.model.guest import Layout
from worker.model.ids import new_uuid
from worker.model.machine import Machine
from worker.model.moving.beside import Beside
from worker.model.places.controllers import empty_layout
from worker.model.places.fits import family_of
from worker.model.source import DiskFormat
from worker.model.specification import Firmware, Shape
from worker.virt.definitions import LibvirtDefinitions
from worker.virt.disks import LibvirtGuestDisks
from worker.virt.libvirtd.connection import LibvirtConnection
from worker.virt.power import LibvirtPower
from worker.virt.xml.layout import addresses, read_layout

PATIENCE = 0.2
CODE = ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_CODE.fd")


@pytest.fixture(scope="module")
def yard(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LibvirtYard]:
    with libvirt(request, tmp_path_factory.mktemp("yard")) as opened:
        assert isinstance(opened, LibvirtYard)
        yield opened


def kept(yard: LibvirtYard, machine: Machine) -> str:
    with yard.connection.domain(machine.instance) as domain:
        return str(domain.XMLDesc(library.VIR_DOMAIN_XML_INACTIVE))


def defined(yard: LibvirtYard, machine: Machine) -> Layout:
    """Return what libvirt keeps of the machine, and forget it."""
    yard.machines.check(machine)
    yard.machines.define(machine)
    layout = read_layout(kept(yard, machine))
    yard.machines.undefine(machine.instance)
    return layout


@pytest.mark.parametrize("interfaces", [0, 1, 3])
@pytest.mark.parametrize("floppy", [False, True])
@pytest.mark.parametrize("usb", [False, True])
@pytest.mark.parametrize("scsi", [None, "virtio-scsi", "virtio-non-transitional", "lsilogic"])
@pytest.mark.parametrize("kind", ["q35", "pc"])
def test_an_empty_machine_offers_what_was_planned(
    yard: LibvirtYard, kind: str, scsi: str | None, *, usb: bool, floppy: bool, interfaces: int
) -> None:
    shape = Shape(machine_type=kind, scsi_model=scsi, usb=usb, floppy=floppy)
    machine = yard.machine(shape=shape, interfaces=interfaces)
    made = defined(yard, machine)
    assert len(made.interfaces) == interfaces
    empty = empty_layout(shape, interfaces)
    # The name that was asked for is an alias of the real one; which machine it is shows by both.
    assert family_of(made.machine) is family_of(empty.machine)
    assert replace(made, interfaces=(), machine=empty.machine) == empty


def test_more_ports_than_one_bus_holds_are_planned_as_they_are_made(yard: LibvirtYard) -> None:
    shape = Shape(pcie_ports=1000)
    layout = defined(yard, yard.machine(shape=shape))
    empty = empty_layout(shape, 0)
    assert replace(layout, machine=empty.machine) == empty
    assert len(layout.places[Bus.VIRTIO]) == 192


COMMON = [(Bus.VIRTIO, DISK), (Bus.SCSI, DISK), (Bus.SCSI, CDROM), (Bus.USB, DISK)]
MOST = {Bus.USB: 4, Bus.FDC: 2, Bus.SATA: 6, Bus.IDE: 4}


@st.composite
def machines(draw: st.DrawFn) -> tuple[Shape, list[Kind], int]:
    """Draw a machine with any mix of disks for which its buses have places."""
    kind = draw(st.sampled_from(["q35", "pc"]))
    scsi = draw(st.sampled_from(["virtio-scsi", "lsilogic"]))
    built_in = Bus.SATA if kind == "q35" else Bus.IDE
    kinds = [*COMMON, (Bus.USB, CDROM), (built_in, DISK), (built_in, CDROM), (Bus.FDC, FLOPPY)]
    drawn = draw(st.lists(st.sampled_from(kinds), max_size=14))
    mix = [
        each
        for position, each in enumerate(drawn)
        if [bus for bus, _ in drawn[:position]].count(each[0]) < MOST.get(each[0], 6)
    ]
    shape = Shape(machine_type=kind, scsi_model=scsi, floppy=True)
    return shape, mix, draw(st.integers(min_value=0, max_value=4))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(drawn=machines())
def test_any_mix_of_disks_is_kept_as_it_was_planned(
    yard: LibvirtYard, drawn: tuple[Shape, list[Kind], int]
) -> None:
    shape, kinds, interfaces = drawn
    machine = yard.machine(kinds, shape=shape, interfaces=interfaces)
    layout = defined(yard, machine)
    empty = empty_layout(shape, interfaces)
    assert set(layout.disks) == {shown(disk) for disk in machine.disks}
    assert layout.taken == empty.taken | {disk.address for disk in machine.disks}
    assert layout.places == empty.places


def test_interfaces_are_known_by_their_ports_and_autostart_is_off(yard: LibvirtYard) -> None:
    machine = yard.machine(interfaces=2)
    yard.machines.define(machine)
    yard.power.start(machine.instance)
    seen = addresses(kept(yard, machine))
    places = [str(seen[interface.alias]) for interface in machine.interfaces]
    assert places == ["pci:0000:03:00.0", "pci:0000:04:00.0"]
    with yard.connection.domain(machine.instance) as domain:
        assert not domain.autostart()
        domain.setAutostart(1)
        yard.power.start(machine.instance)
        assert not domain.autostart()
    yard.power.cut(machine.instance)


def test_what_sits_in_a_place_for_disks_is_noticed(yard: LibvirtYard) -> None:
    machine = yard.machine()
    yard.machines.define(machine)
    xml = kept(yard, machine).replace("<memballoon model='none'/>", "<memballoon model='virtio'/>")
    with yard.connection.use() as connection:
        connection.defineXML(xml)
    with pytest.raises(HypervisorRefused, match="something is at pci"):
        yard.machines.define(machine)


@pytest.mark.parametrize("kind", ["q35", "pc"])
def test_uefi_has_its_nvram_as_long_as_the_machine_is_kept(yard: LibvirtYard, kind: str) -> None:
    require(any(Path(code).exists() for code in CODE), "OVMF (package ovmf)")
    machine = yard.machine(shape=Shape(machine_type=kind), firmware=Firmware.UEFI)
    yard.machines.check(machine)
    yard.machines.define(machine)
    yard.power.start(machine.instance)
    with yard.connection.domain(machine.instance) as domain:
        nvram = Path(domain.XMLDesc().split("<nvram", 1)[1].split(">", 1)[1].split("<", 1)[0])
    assert machine.name in nvram.name
    yard.power.cut(machine.instance)
    yard.machines.undefine(machine.instance)
    assert not _seen_by_libvirtd(yard, nvram)


def test_uefi_goes_on_with_variables_that_are_elsewhere_now(
    yard: LibvirtYard, tmp_path: Path
) -> None:
    require(any(Path(code).exists() for code in CODE), "OVMF (package ovmf)")
    definitions = LibvirtDefinitions(yard.connection)
    machine = yard.machine(shape=Shape(), firmware=Firmware.UEFI)
    yard.machines.define(machine)
    yard.power.start(machine.instance)
    yard.power.cut(machine.instance)
    before, text = definitions.beside(machine.instance), definitions.read(machine.instance)
    assert before.nvram is not None
    assert LocalHostFiles().exists(before.nvram)
    definitions.drop(machine.instance)
    moved = tmp_path / "nvram.fd"
    shutil.move(before.nvram, moved)
    definitions.define(machine.instance, text, {}, Beside(nvram=str(moved)))
    assert definitions.beside(machine.instance) == replace(before, nvram=str(moved))
    yard.power.start(machine.instance)
    yard.power.cut(machine.instance)
    assert not Path(before.nvram).exists()
    yard.machines.undefine(machine.instance)
    assert not moved.exists()


def test_what_libvirt_saved_beside_a_machine_goes_with_it(yard: LibvirtYard) -> None:
    machine = yard.machine([(Bus.VIRTIO, DISK)])
    copied = replace(machine.disks[0], source=yard.file(new_uuid(), DiskFormat.QCOW2))
    machine = replace(machine, disks=(copied,))
    yard.machines.define(machine)
    with yard.connection.domain(machine.instance) as domain:
        domain.snapshotCreateXML("<domainsnapshot><name>one</name></domainsnapshot>")
        yard.power.start(machine.instance)
        domain.managedSave()
    yard.machines.undefine(machine.instance)
    yard.machines.define(machine)
    with yard.connection.domain(machine.instance) as domain:
        assert (domain.hasManagedSaveImage(), domain.snapshotNum()) == (0, 0)


def test_no_guest_is_started_from_what_libvirt_saved_of_it(yard: LibvirtYard) -> None:
    machine = yard.machine([(Bus.VIRTIO, DISK)])
    copied = replace(machine.disks[0], source=yard.file(new_uuid(), DiskFormat.QCOW2))
    machine = replace(machine, disks=(copied,))
    yard.machines.define(machine)
    with yard.connection.domain(machine.instance) as domain:
        yard.power.start(machine.instance)
        domain.managedSave()
        with pytest.raises(HypervisorRefused, match="managedsave-remove"):
            yard.power.start(machine.instance)
        assert not domain.isActive()
        domain.managedSaveRemove()
        yard.power.start(machine.instance)
    yard.power.cut(machine.instance)


def test_the_disk_that_is_booted_from_comes_back_as_that(yard: LibvirtYard) -> None:
    machine = yard.machine([(Bus.VIRTIO, DISK), (Bus.SCSI, DISK)])
    disks = LibvirtGuestDisks(yard.connection)
    yard.machines.define(machine)
    before = kept(yard, machine)
    root = machine.disks[0]

    disks.forget(machine.instance, root.alias)
    assert "<boot dev='hd'/>" in kept(yard, machine)
    disks.attach(machine.instance, root)

    assert sorted(kept(yard, machine).splitlines()) == sorted(before.splitlines())
    yard.power.start(machine.instance)
    yard.power.cut(machine.instance)


@pytest.mark.parametrize("running", [False, True])
def test_a_boot_list_of_other_hands_stays(yard: LibvirtYard, *, running: bool) -> None:
    machine = yard.machine()
    yard.machines.define(machine)
    listed = "<boot dev='cdrom'/><boot dev='hd'/>"
    with yard.connection.use() as connection:
        connection.defineXML(kept(yard, machine).replace("<boot dev='hd'/>", listed))
    if running:
        yard.power.start(machine.instance)
    (disk,) = yard.disks([(Bus.VIRTIO, DISK)], machine.shape, 0)
    LibvirtGuestDisks(yard.connection).attach(machine.instance, disk)
    for layout in yard.guests.describe(machine.instance).layouts:
        assert [(each.alias, each.boot_order) for each in layout.disks] == [(disk.alias, None)]
    assert "<boot dev='cdrom'/>" in kept(yard, machine)
    yard.power.cut(machine.instance)


def _seen_by_libvirtd(yard: LibvirtYard, path: Path) -> bool:
    # As root it has its own folders mounted over the host's, which a test sees elsewhere.
    socket = Path(yard.connection.uri.partition("socket=")[2])
    state = socket.parents[2]
    return any(found.exists() for found in (path, *state.rglob(path.name)))


def test_waiting_for_a_guest_outlasts_its_libvirtd(guest_image: GuestImage, tmp_path: Path) -> None:
    with victim() as libvirtd:
        connection = LibvirtConnection(libvirtd.start(), patience=PATIENCE)
        yard = LibvirtYard(tmp_path, connection, guest_image)
        machine = yard.machine()
        yard.machines.define(machine)
        yard.power.start(machine.instance)
        libvirtd.kill()
        with pytest.raises(HypervisorUnavailable):
            yard.power.wait_off(machine.instance, 0.3)
        answers: list[bool] = []
        waits = threading.Thread(
            target=lambda: answers.append(yard.power.wait_off(machine.instance, 60))
        )
        waits.start()
        # Long enough that who waits has found libvirtd away.
        waits.join(5 * PATIENCE)
        assert waits.is_alive()
        other = LibvirtConnection(libvirtd.start(), patience=20)
        LibvirtPower(other).cut(machine.instance)
        waits.join()
        assert answers == [True]
        connection.close()
        other.close()
