"""What every hypervisor promises of the texts that it keeps, the fake one included."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import libvirt
import pytest
from lxml import etree

from tests.fakes.hypervisor import FakeGuests
from tests.fakes.moving import FakeAutostart, FakeDefinitions
from tests.fakes.world import FakeGuest, World
from tests.guests import Guest, guest_maker
from tests.unit.adopt_scenes import foreign
from worker.errors import DeviceAmbiguous, DomainNotFound, DomainTaken, HypervisorRefused
from worker.model.guest import GuestDisk, GuestInterface, Layout
from worker.model.identity.marking import MarkChange, marks_of
from worker.model.identity.marks import Marks
from worker.model.ids import InstanceId, new_uuid
from worker.model.instance import VmState
from worker.model.moving.beside import Beside
from worker.model.places.address import PciAddress
from worker.model.source import FileSource
from worker.ports import Autostart, Definitions, Guests
from worker.virt.autostart import LibvirtAutostart
from worker.virt.definitions import LibvirtDefinitions
from worker.virt.guests import LibvirtGuests
from worker.virt.libvirtd.connection import LibvirtConnection

MIB = 1 << 20
MAC = "52:54:00:12:34:56"
NIC = f"<interface type='user'><mac address='{MAC}'/><model type='virtio'/></interface>"
ALIAS, SERIAL = "ua-0a5cf6b2-0000-4000-8000-000000000001", "0a5cf6b2-0000-4000-8000-000000000001"
OURS = Marks(alias=ALIAS, serial=SERIAL)


class Lab(ABC):
    """A hypervisor that keeps a machine with a disk that nothing marks, vda, and another, vdc."""

    guests: Guests
    definitions: Definitions
    autostart: Autostart

    @abstractmethod
    def machine(self, folder: Path) -> InstanceId:
        """Return a new machine that is off, its disks in the folder."""

    @abstractmethod
    def start(self, instance: InstanceId) -> None:
        """Start its guest."""

    @abstractmethod
    def naming(self, beside: Beside) -> InstanceId:
        """Return a new machine that is off, without disks, which names these files."""

    @abstractmethod
    def save(self, instance: InstanceId) -> None:
        """Have the hypervisor keep what a running guest is doing for its next start."""

    def persistent(self, instance: InstanceId) -> Layout:
        layout = self.guests.describe(instance).persistent
        assert layout is not None
        return layout

    def disk(self, instance: InstanceId, target: str = "vda") -> GuestDisk:
        return next(disk for disk in self.persistent(instance).disks if disk.target == target)


class FakeLab(Lab):
    def __init__(self) -> None:
        self.world = World()
        self.guests = FakeGuests(self.world)
        self.definitions = FakeDefinitions(self.world)
        self.autostart = FakeAutostart(self.world)

    def machine(self, folder: Path) -> InstanceId:
        instance = InstanceId(new_uuid())
        root, data = foreign("vda", "/images/a", 0), foreign("vdc", "/images/c", 1, serial="C-1")
        guest = FakeGuest(name=f"test-{instance[:8]}", vm_state=VmState.STOPPED)
        guest.persistent = {"?vda": root, "?vdc": data}
        net = GuestInterface(mac=MAC, alias=None, address=PciAddress(bus=9, slot=0), kind="user")
        guest.persistent_peripherals = {"?net": net}
        self.world.guests[instance] = guest
        return instance

    def start(self, instance: InstanceId) -> None:
        guest = self.world.guests[instance]
        guest.vm_state, guest.live = VmState.ACTIVE, dict(guest.persistent)
        guest.live_peripherals = dict(guest.persistent_peripherals)

    def naming(self, beside: Beside) -> InstanceId:
        instance = InstanceId(new_uuid())
        guest = FakeGuest(name=f"test-{instance[:8]}", vm_state=VmState.STOPPED, beside=beside)
        self.world.guests[instance] = guest
        return instance

    def save(self, instance: InstanceId) -> None:
        guest = self.world.guests[instance]
        guest.vm_state, guest.live, guest.kept = VmState.STOPPED, {}, ("a managed save",)


class LibvirtLab(Lab):
    def __init__(self, connection: LibvirtConnection, make: Callable[[list[str]], Guest]) -> None:
        self.guests = LibvirtGuests(connection)
        self.definitions = LibvirtDefinitions(connection)
        self.autostart = LibvirtAutostart(connection)
        self._make = make
        self.made: dict[InstanceId, Guest] = {}

    def machine(self, folder: Path) -> InstanceId:
        disks = [_disk(folder / "a", "vda"), _disk(folder / "c", "vdc", "<serial>C-1</serial>")]
        guest = self._make([*disks, NIC])
        self.made[InstanceId(guest.uuid)] = guest
        return InstanceId(guest.uuid)

    def start(self, instance: InstanceId) -> None:
        self.made[instance].domain.create()

    def naming(self, beside: Beside) -> InstanceId:
        guest = self._make([])
        text = etree.fromstring(guest.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
        _name(text, beside, guest.uuid)
        guest.domain.connect().defineXML(etree.tostring(text, encoding="unicode"))
        self.made[InstanceId(guest.uuid)] = guest
        return InstanceId(guest.uuid)

    def save(self, instance: InstanceId) -> None:
        self.made[instance].domain.managedSave()


def _name(text: etree._Element, beside: Beside, uuid: str) -> None:
    """Have the text name these files, and nothing else of their kinds; a pty of theirs stays."""
    (boot,), (devices,) = text.findall("os"), text.findall("devices")
    for tag in ("kernel", "initrd", "nvram"):
        for found in boot.findall(tag):
            boot.remove(found)
    named = {"kernel": beside.kernel, "initrd": beside.ramdisk, "nvram": beside.nvram}
    loader = etree.SubElement(boot, "loader", readonly="yes", type="pflash")
    loader.text = "/usr/share/OVMF/OVMF_CODE.fd"
    for tag, path in named.items():
        if path is not None:
            etree.SubElement(boot, tag).text = path
    if beside.console is not None:
        serial = etree.SubElement(devices, "serial", type="pty")
        etree.SubElement(serial, "log", file=beside.console, append="on")
        etree.SubElement(serial, "target", port="3")


def _disk(path: Path, target: str, more: str = "") -> str:
    path.parent.mkdir(exist_ok=True, parents=True)
    with path.open("wb") as file:
        file.truncate(MIB)
    return f"""<disk type='file' device='disk'>
      <driver name='qemu' type='raw' cache='none'/>
      <source file='{path}'/>
      <target dev='{target}' bus='virtio'/>
      <iotune><total_bytes_sec>1048576</total_bytes_sec></iotune>{more}
    </disk>"""


@contextmanager
def fake(_request: pytest.FixtureRequest, _folder: Path) -> Iterator[Lab]:
    yield FakeLab()


@contextmanager
def real(request: pytest.FixtureRequest, folder: Path) -> Iterator[Lab]:
    uri, image = request.getfixturevalue("libvirtd"), request.getfixturevalue("guest_image")
    connection = LibvirtConnection(uri)
    with guest_maker(uri, image, folder) as make:
        yield LibvirtLab(connection, lambda disks: make(booted=False, extra_disks=disks))
    connection.close()


LABS: Mapping[str, Callable[[pytest.FixtureRequest, Path], AbstractContextManager[Lab]]] = {
    "fake": fake,
    "libvirt": real,
}


@pytest.fixture(scope="module", params=LABS)
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with LABS[request.param](request, tmp_path_factory.mktemp("lab")) as opened:
        yield opened


@pytest.fixture
def machine(lab: Lab, tmp_path: Path) -> InstanceId:
    return lab.machine(tmp_path)


def change(disk: GuestDisk, wanted: Marks = OURS) -> MarkChange:
    return MarkChange(device=disk, former=marks_of(disk), wanted=wanted)


def test_a_disk_is_marked_and_no_other(lab: Lab, machine: InstanceId) -> None:
    before = lab.disk(machine), lab.disk(machine, "vdc")
    lab.definitions.mark(machine, [change(before[0])])
    assert lab.disk(machine) == replace(before[0], alias=ALIAS, serial=SERIAL)
    assert lab.disk(machine, "vdc") == before[1]


def test_an_interface_is_given_an_alias_and_no_serial(lab: Lab, machine: InstanceId) -> None:
    before = lab.persistent(machine)
    (net,) = before.interfaces
    asked = MarkChange(device=net, former=Marks(), wanted=Marks(alias="ua-port-1"))
    lab.definitions.mark(machine, [asked])
    assert lab.persistent(machine).interfaces == (replace(net, alias="ua-port-1"),)
    assert lab.persistent(machine).disks == before.disks
    lab.definitions.mark(machine, [replace(asked, former=asked.wanted, wanted=Marks())])
    assert lab.persistent(machine) == before


def test_an_alias_that_would_not_be_kept_is_refused(lab: Lab, machine: InstanceId) -> None:
    before = lab.persistent(machine)
    with pytest.raises(HypervisorRefused):
        lab.definitions.mark(machine, [change(before.disks[0], Marks(alias="ua-no!"))])
    assert lab.persistent(machine) == before


def test_no_two_devices_are_given_one_alias(lab: Lab, machine: InstanceId) -> None:
    before = lab.persistent(machine)
    (net,) = before.interfaces
    twice = MarkChange(device=net, former=Marks(), wanted=Marks(alias=ALIAS))
    with pytest.raises(DeviceAmbiguous):
        lab.definitions.mark(machine, [change(before.disks[0]), twice])
    assert lab.persistent(machine) == before


def test_a_text_without_aliases_is_as_it_was_else(lab: Lab, machine: InstanceId) -> None:
    before = lab.persistent(machine)
    lab.definitions.mark(machine, [change(before.disks[0], Marks(alias=ALIAS))])
    text = lab.definitions.read(machine, aliases=False)
    lab.definitions.drop(machine)
    lab.definitions.define(machine, text, {})
    assert lab.persistent(machine) == before


def test_a_text_is_read_and_marked_without_a_machine(lab: Lab, machine: InstanceId) -> None:
    before, text = lab.persistent(machine), lab.definitions.read(machine)
    assert lab.definitions.layout(text) == before
    marked = lab.definitions.marked(text, [change(before.disks[0])])
    assert lab.persistent(machine) == before
    lab.definitions.drop(machine)
    lab.definitions.define(machine, marked, {})
    assert lab.disk(machine) == replace(before.disks[0], alias=ALIAS, serial=SERIAL)
    assert lab.disk(machine, "vdc") == before.disks[1]
    with pytest.raises(HypervisorRefused):
        lab.definitions.layout("no text")


def test_marking_again_is_fine(lab: Lab, machine: InstanceId) -> None:
    asked = [change(lab.disk(machine))]
    lab.definitions.mark(machine, asked)
    once = lab.persistent(machine)
    lab.definitions.mark(machine, asked)
    assert lab.persistent(machine) == once


def test_marks_are_taken_back(lab: Lab, machine: InstanceId) -> None:
    before = lab.persistent(machine)
    lab.definitions.mark(machine, [change(disk) for disk in before.disks[:1]])
    lab.definitions.mark(machine, [change(lab.disk(machine), marks_of(before.disks[0]))])
    assert lab.persistent(machine) == before


@pytest.mark.parametrize("part", ["target", "address", "source", "former"])
def test_a_disk_that_is_not_the_one_meant_is_refused_and_none_is_marked(
    lab: Lab, machine: InstanceId, part: str
) -> None:
    before = lab.persistent(machine)
    root, data = lab.disk(machine), lab.disk(machine, "vdc")
    wrong = {
        "target": change(replace(root, target="vdx")),
        "address": change(replace(root, address=data.address)),
        "source": change(replace(root, source="/images/another")),
        "former": replace(change(root), former=Marks(alias="ua-else")),
    }
    bad = wrong[part]
    good = change(lab.disk(machine, "vdc"), Marks(alias="ua-good", serial="C-1"))
    with pytest.raises(DeviceAmbiguous):
        lab.definitions.mark(machine, [good, bad])
    assert lab.persistent(machine) == before


def test_a_running_guest_keeps_what_it_has_until_its_next_start(
    lab: Lab, machine: InstanceId
) -> None:
    lab.start(machine)
    live = lab.guests.describe(machine).live
    lab.definitions.mark(machine, [change(lab.disk(machine))])
    assert lab.guests.describe(machine).live == live
    assert lab.disk(machine).alias == ALIAS


def test_a_machine_is_defined_anew_as_it_was_with_other_sources(
    lab: Lab, machine: InstanceId, tmp_path: Path
) -> None:
    lab.definitions.mark(machine, [change(lab.disk(machine))])
    before, text = lab.persistent(machine), lab.definitions.read(machine)
    lab.definitions.drop(machine)
    with pytest.raises(DomainNotFound):
        lab.guests.describe(machine)
    new = FileSource(path=str(tmp_path / "elsewhere"))
    lab.definitions.define(machine, text, {ALIAS: new})
    root, data = before.disks
    assert lab.persistent(machine).disks == (replace(root, source=new.path), data)
    lab.definitions.define(machine, text, {})
    assert lab.disk(machine).source == new.path
    lab.definitions.renew(machine, {ALIAS: FileSource(path=str(root.source))})
    assert lab.persistent(machine) == before


def named(instance: str, folder: str) -> Beside:
    return Beside(
        console=f"{folder}/{instance}/console.log",
        kernel=f"{folder}/kernel",
        ramdisk=f"{folder}/ramdisk",
        nvram=f"{folder}/nvram.fd",
    )


def test_a_machine_is_defined_anew_with_its_other_files_elsewhere(lab: Lab) -> None:
    before, after = (
        replace(named("x", folder), console=None, ramdisk=None) for folder in ("/old", "/new")
    )
    machine = lab.naming(before)
    assert lab.definitions.beside(machine) == before
    text = lab.definitions.read(machine)
    lab.definitions.drop(machine)
    # What it never named, it does not name now.
    lab.definitions.define(machine, text, {}, replace(after, ramdisk="/new/ramdisk"))
    assert lab.definitions.beside(machine) == after


def test_a_file_that_stays_where_it_was_is_named_as_before(lab: Lab) -> None:
    machine = lab.naming(replace(named("x", "/old"), console=None))
    before, text = lab.definitions.beside(machine), lab.definitions.read(machine)
    lab.definitions.drop(machine)
    lab.definitions.define(machine, text, {})
    assert lab.definitions.beside(machine) == before


def test_what_is_kept_beside_a_machine_is_told_and_not_dropped(
    lab: Lab, machine: InstanceId
) -> None:
    assert lab.definitions.keeps(machine) == ()
    lab.start(machine)
    lab.save(machine)
    (kept,) = lab.definitions.keeps(machine)
    assert "managed save" in kept
    with pytest.raises(HypervisorRefused):
        lab.definitions.drop(machine)


def test_a_text_of_another_machine_is_refused(lab: Lab, machine: InstanceId) -> None:
    with pytest.raises(HypervisorRefused):
        lab.definitions.define(InstanceId(new_uuid()), lab.definitions.read(machine), {})


def test_a_uuid_or_a_name_is_taken_by_who_has_it(lab: Lab, machine: InstanceId) -> None:
    name = lab.guests.describe(machine).name
    taken, other = lab.definitions.taken, InstanceId(new_uuid())
    assert taken(machine, "another") == taken(other, name) == name
    assert taken(other, "another") is None


def test_a_machine_that_runs_is_not_dropped(lab: Lab, machine: InstanceId) -> None:
    lab.start(machine)
    with pytest.raises(HypervisorRefused):
        lab.definitions.drop(machine)
    assert lab.guests.describe(machine).persistent is not None


def test_what_is_not_there_is_dropped_and_neither_read_nor_marked(lab: Lab) -> None:
    nobody = InstanceId(new_uuid())
    lab.definitions.drop(nobody)
    with pytest.raises(DomainNotFound):
        lab.definitions.read(nobody)
    with pytest.raises(DomainNotFound):
        lab.definitions.mark(nobody, [])


def test_autostart_is_switched_and_the_running_guest_not_touched(
    lab: Lab, machine: InstanceId
) -> None:
    lab.start(machine)
    before = lab.guests.describe(machine)
    assert not lab.autostart.is_on(machine)
    for on in (True, True, False, False):
        lab.autostart.switch(machine, on=on)
        assert lab.autostart.is_on(machine) is on
    assert lab.guests.describe(machine) == before


def test_who_is_not_there_is_on_no_autostart(lab: Lab) -> None:
    nobody = InstanceId(new_uuid())
    lab.autostart.switch(nobody, on=True)
    assert not lab.autostart.is_on(nobody)


@pytest.fixture
def odd(libvirtd: str, guest_image: object, tmp_path: Path) -> Iterator[libvirt.virDomain]:
    """A domain of other hands, with everything that an edit could lose."""
    del guest_image
    disks = "".join(
        [
            _disk(tmp_path / "one", "vdc", "<alias name='ua-theirs'/>"),
            _disk(
                tmp_path / "two", "vda", "<serial>TWO</serial><blockio logical_block_size='512'/>"
            ),
        ]
    )
    text = f"""<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
      <!-- by hand --><name>odd-{new_uuid()[:8]}</name><uuid>{new_uuid()}</uuid>
      <metadata><their:note xmlns:their='urn:their'><their:deep a='1'/></their:note></metadata>
      <memory unit='MiB'>64</memory><vcpu>1</vcpu>
      <os><type arch='x86_64' machine='q35'>hvm</type></os>
      <devices>{disks}
        <graphics type='vnc' port='-1' passwd='sesame'/>
      </devices>
      <qemu:commandline><qemu:arg value='-name'/><qemu:arg value='theirs'/></qemu:commandline>
    </domain>"""
    connection = libvirt.open(libvirtd)
    domain = connection.defineXML(text)
    yield domain
    domain.undefine()
    connection.close()


WHOLE = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE


def test_an_edit_loses_nothing_of_what_other_hands_made(
    odd: libvirt.virDomain, libvirtd: str
) -> None:
    connection = LibvirtConnection(libvirtd)
    definitions, guests = LibvirtDefinitions(connection), LibvirtGuests(connection)
    instance, before = InstanceId(odd.UUIDString()), odd.XMLDesc(WHOLE)
    layout = guests.describe(instance).persistent
    assert layout is not None
    marks = [
        Marks(alias=f"{ALIAS[:-1]}{at}", serial=f"S-{at}") for at, _ in enumerate(layout.disks)
    ]
    definitions.mark(instance, [change(*pair) for pair in zip(layout.disks, marks, strict=True)])
    marked = etree.fromstring(odd.XMLDesc(WHOLE))
    assert [one.get("name") for one in marked.findall("devices/disk/alias")] == [
        one.alias for one in marks
    ]
    assert marked.xpath("string(devices/graphics/@passwd)") == "sesame"
    for name in ("metadata", "{http://libvirt.org/schemas/domain/qemu/1.0}commandline"):
        found, was = marked.find(name), etree.fromstring(before).find(name)
        assert found is not None and was is not None  # noqa: PT018
        assert etree.tostring(found, method="c14n") == etree.tostring(was, method="c14n")
    again = guests.describe(instance).persistent
    assert again is not None
    backs = zip(again.disks, layout.disks, strict=True)
    definitions.mark(instance, [change(disk, marks_of(was)) for disk, was in backs])
    assert odd.XMLDesc(WHOLE) == before
    assert "sesame" not in definitions.read(instance)
    connection.close()


def test_a_name_that_another_domain_has_is_taken(odd: libvirt.virDomain, libvirtd: str) -> None:
    connection = LibvirtConnection(libvirtd)
    definitions = LibvirtDefinitions(connection)
    text = definitions.read(InstanceId(odd.UUIDString()))
    other = InstanceId(new_uuid())
    with pytest.raises(DomainTaken):
        definitions.define(other, text.replace(odd.UUIDString(), other), {})
    connection.close()
