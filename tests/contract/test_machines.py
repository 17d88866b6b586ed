"""What every hypervisor promises of its machines and their switches, the fake one included."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.contract.yards import CDROM, DISK, FLOPPY, SIZE, YARDS, Kind, Yard
from tests.fakes.hypervisor import shown
from worker.errors import (
    DomainNotFound,
    DomainTaken,
    HypervisorRefused,
    MachineUnsupported,
    WorkerError,
)
from worker.model.block_device import Bus, DeviceType
from worker.model.guest import GuestDisk, Layout
from worker.model.ids import InstanceId, new_uuid
from worker.model.instance import VmState
from worker.model.machine import Machine
from worker.model.source import DiskFormat, FileSource
from worker.model.specification import Shape

Q35: tuple[Kind, ...] = (
    *((Bus.VIRTIO, DISK), (Bus.VIRTIO, DISK), (Bus.SCSI, DISK), (Bus.SCSI, CDROM)),
    *((Bus.USB, DISK), (Bus.USB, CDROM), (Bus.SATA, CDROM), (Bus.SATA, DISK), (Bus.FDC, FLOPPY)),
)
PC = tuple((Bus.IDE if bus is Bus.SATA else bus, device) for bus, device in Q35)
MIXES = {"q35": Q35, "pc": PC}
HANDS = 4


@pytest.fixture(scope="module", params=YARDS)
def yard(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Yard]:
    with YARDS[request.param](request, tmp_path_factory.mktemp("yard")) as opened:
        yield opened


def persistent(yard: Yard, machine: Machine) -> Layout:
    layout = yard.guests.describe(machine.instance).persistent
    assert layout is not None
    return layout


def by_alias(disks: tuple[GuestDisk, ...]) -> list[GuestDisk]:
    return sorted(disks, key=lambda disk: str(disk.alias))


def is_there(yard: Yard, machine: Machine) -> bool:
    try:
        yard.guests.describe(machine.instance)
    except DomainNotFound:
        return False
    return True


@pytest.mark.parametrize("kind", MIXES)
def test_a_machine_has_every_disk_as_it_was_asked_for(yard: Yard, kind: str) -> None:
    machine = yard.machine(
        MIXES[kind], shape=Shape(machine_type=kind, floppy=True, pcie_ports=8), interfaces=1
    )
    yard.machines.check(machine)
    assert not is_there(yard, machine)

    yard.machines.define(machine)

    wanted = tuple(shown(disk) for disk in machine.disks)
    assert by_alias(persistent(yard, machine).disks) == by_alias(wanted)
    assert yard.guests.describe(machine.instance).vm_state is VmState.STOPPED
    yard.power.start(machine.instance)
    live = yard.guests.describe(machine.instance).live
    assert live is not None
    assert by_alias(live.disks) == by_alias(wanted)
    yard.power.cut(machine.instance)
    assert by_alias(persistent(yard, machine).disks) == by_alias(wanted)


def test_what_is_defined_again_stays_as_it_is(yard: Yard) -> None:
    machine = yard.machine([(Bus.VIRTIO, DISK)])
    yard.machines.define(machine)
    before = yard.guests.describe(machine.instance)

    yard.machines.define(machine)
    assert yard.guests.describe(machine.instance) == before

    other = replace(machine, disks=yard.disks([(Bus.SCSI, DISK)], machine.shape, 0))
    with pytest.raises(HypervisorRefused):
        yard.machines.define(other)
    assert yard.guests.describe(machine.instance) == before


def test_a_disk_that_is_elsewhere_by_now_is_not_taken_for_the_same(yard: Yard) -> None:
    machine = yard.machine([(Bus.VIRTIO, DISK)])
    yard.machines.define(machine)
    moved = replace(machine.disks[0], source=yard.file(new_uuid(), DiskFormat.RAW))
    with pytest.raises(HypervisorRefused):
        yard.machines.define(replace(machine, disks=(moved,)))


def test_a_name_and_a_uuid_are_taken_once(yard: Yard) -> None:
    machine = yard.machine()
    yard.machines.define(machine)
    namesake = replace(yard.machine(), name=machine.name)

    for other in (namesake, replace(machine, name="test-another")):
        with pytest.raises(DomainTaken):
            yard.machines.check(other)
    with pytest.raises(DomainTaken):
        yard.machines.define(namesake)
    assert not is_there(yard, namesake)


@pytest.mark.parametrize(
    "shape",
    [
        Shape(machine_type="no-such-machine"),
        Shape(machine_type="isapc"),
        Shape(machine_type="pc-q35-0.1"),
        Shape(scsi_model="buslogic"),
        Shape(machine_type="q35\x01"),
    ],
    ids=lambda shape: f"{shape.machine_type!r}-{shape.scsi_model}",
)
def test_a_machine_that_cannot_be_is_refused(yard: Yard, shape: Shape) -> None:
    with pytest.raises(MachineUnsupported):
        yard.machines.check(replace(yard.machine(), shape=shape))


@pytest.mark.parametrize(
    ("bus", "there", "lacks"),
    [
        (Bus.IDE, Shape(machine_type="pc"), Shape(machine_type="q35")),
        (Bus.SATA, Shape(machine_type="q35"), Shape(machine_type="pc")),
        (Bus.SCSI, Shape(), Shape(scsi_model=None)),
        (Bus.USB, Shape(), Shape(usb=False)),
        (Bus.FDC, Shape(floppy=True), Shape()),
    ],
)
def test_a_bus_that_the_machine_lacks_is_refused(
    yard: Yard, bus: Bus, there: Shape, lacks: Shape
) -> None:
    kinds = [(bus, DeviceType.FLOPPY if bus is Bus.FDC else DISK)]
    machine = yard.machine(kinds, shape=there)
    yard.machines.check(machine)
    with pytest.raises(MachineUnsupported, match=bus.value):
        yard.machines.check(replace(machine, shape=lacks))


def test_a_name_that_no_xml_holds_is_refused_by_name(yard: Yard) -> None:
    machine = replace(yard.machine(), name="test-\x07")
    for refusing in (yard.machines.check, yard.machines.define):
        with pytest.raises(MachineUnsupported, match="x07"):
            refusing(machine)


def test_an_alias_that_would_be_dropped_leaves_nothing(yard: Yard) -> None:
    machine = yard.machine([(Bus.VIRTIO, DISK)])
    nameless = replace(machine.disks[0], alias="ua-with a space")
    with pytest.raises(HypervisorRefused):
        yard.machines.define(replace(machine, disks=(nameless,)))
    assert not is_there(yard, machine)


def test_a_machine_is_forgotten_once_it_is_off(yard: Yard) -> None:
    machine = yard.machine([(Bus.VIRTIO, DISK)])
    yard.machines.define(machine)
    yard.power.start(machine.instance)
    with pytest.raises(HypervisorRefused):
        yard.machines.undefine(machine.instance)
    assert persistent(yard, machine).disks

    yard.power.cut(machine.instance)
    yard.machines.undefine(machine.instance)
    yard.machines.undefine(machine.instance)
    assert not is_there(yard, machine)


def test_switches_may_be_thrown_twice(yard: Yard) -> None:
    machine = yard.machine()
    yard.machines.define(machine)
    for _time in range(2):
        yard.power.ask_off(machine.instance)
        yard.power.cut(machine.instance)
        assert yard.power.wait_off(machine.instance, 0)
    for _time in range(2):
        yard.power.start(machine.instance)
        assert yard.guests.describe(machine.instance).vm_state is VmState.ACTIVE
    for _time in range(2):
        yard.power.cut(machine.instance)
        assert yard.power.wait_off(machine.instance, 0)
    assert yard.guests.describe(machine.instance).vm_state is VmState.STOPPED


@pytest.mark.parametrize("switch", ["start", "cut"])
def test_a_switch_may_be_thrown_by_many_at_once(yard: Yard, switch: str) -> None:
    machine = yard.machine()
    yard.machines.define(machine)
    if switch == "cut":
        yard.power.start(machine.instance)
    together = threading.Barrier(HANDS)

    def throw(_hand: int) -> None:
        together.wait()
        getattr(yard.power, switch)(machine.instance)

    with ThreadPoolExecutor(HANDS) as hands:
        list(hands.map(throw, range(HANDS)))

    assert yard.power.wait_off(machine.instance, 0) is (switch == "cut")
    yard.power.cut(machine.instance)


def test_a_deaf_guest_runs_on(yard: Yard) -> None:
    machine = yard.machine()
    yard.machines.define(machine)
    yard.make_deaf(machine.instance)
    yard.power.start(machine.instance)

    yard.power.ask_off(machine.instance)

    assert not yard.power.wait_off(machine.instance, 0.5)
    assert yard.guests.describe(machine.instance).vm_state is VmState.ACTIVE
    yard.power.cut(machine.instance)


def test_who_is_not_there_is_off_and_cannot_be_started(yard: Yard) -> None:
    nobody = InstanceId(new_uuid())
    yard.power.ask_off(nobody)
    yard.power.cut(nobody)
    assert yard.power.wait_off(nobody, 10)
    with pytest.raises(DomainNotFound):
        yard.power.start(nobody)


def test_a_guest_sees_its_disks_and_goes_off_when_it_is_asked(yard: Yard) -> None:
    machine = yard.bootable(yard.machine([(Bus.VIRTIO, DISK), (Bus.VIRTIO, DISK)], interfaces=1))
    raw, second = machine.disks
    copied = replace(second, source=yard.file(new_uuid(), DiskFormat.QCOW2))
    machine = replace(machine, disks=(raw, copied))
    yard.machines.check(machine)
    yard.machines.define(machine)
    before = persistent(yard, machine)

    yard.power.start(machine.instance)
    wanted = {disk.target: ((disk.serial or "")[:20], SIZE) for disk in machine.disks}
    assert yard.wait_until_booted(machine) == wanted

    yard.power.ask_off(machine.instance)
    assert yard.power.wait_off(machine.instance, 60)
    assert yard.guests.describe(machine.instance).vm_state is VmState.STOPPED
    assert persistent(yard, machine) == before


def test_a_machine_whose_disk_is_not_there_does_not_start(yard: Yard) -> None:
    machine = yard.machine([(Bus.VIRTIO, DISK)])
    gone = FileSource(path="/local/gone")
    machine = replace(machine, disks=(replace(machine.disks[0], source=gone),))
    yard.machines.check(machine)
    yard.machines.define(machine)
    with pytest.raises(WorkerError) as refused:
        yard.power.start(machine.instance)
    assert refused.value.code == "hypervisor.refused"
    assert yard.guests.describe(machine.instance).vm_state is VmState.STOPPED
