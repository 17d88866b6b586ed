"""What ``Rescues`` promises, of a fake and of libvirt."""

import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from tests.contract.rescue_labs import GONE, Lab, opened
from tests.contract.yards import CDROM, DISK, FLOPPY, YARDS, Kind
from tests.fakes.hypervisor import shown
from worker.errors import DomainNotFound, HypervisorRefused, MachineUnsupported
from worker.model.block_device import Bus
from worker.model.build.machine import NOWHERE
from worker.model.disk import Disk
from worker.model.guest import GuestDisk, Layout
from worker.model.identity.alias import config_drive_alias
from worker.model.ids import InstanceId, new_uuid
from worker.model.machine import Kernel, Machine
from worker.model.places.address import Address, DriveAddress
from worker.model.places.placement import place
from worker.model.rescue.words import RescueLayout
from worker.model.source import DiskFormat, DiskOptions, FileSource
from worker.model.specification import Shape

SOME: dict[str, tuple[Kind, ...]] = {
    "q35": ((Bus.VIRTIO, DISK), (Bus.VIRTIO, DISK), (Bus.SCSI, DISK), (Bus.USB, DISK)),
    "pc": ((Bus.VIRTIO, DISK), (Bus.IDE, DISK), (Bus.SCSI, DISK), (Bus.USB, DISK)),
}
WITH_CD = {
    "q35": (*SOME["q35"], (Bus.SATA, CDROM)),
    "pc": (*SOME["pc"], (Bus.IDE, CDROM)),
}
HANDS = 4
NO_KERNEL = Kernel(kernel=NOWHERE.source.name)


@pytest.fixture(scope="module", params=YARDS)
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with opened(request, request.param, tmp_path_factory.mktemp("lab")) as found:
        yield found


@pytest.fixture
def machine(lab: Lab) -> Machine:
    return lab.defined(WITH_CD["q35"])


def seen(disks: tuple[Disk, ...]) -> list[GuestDisk]:
    """Return the disks as they are seen in rescue: none of them is booted from."""
    return by_alias(shown(replace(disk, boot_order=None)) for disk in disks)


def by_alias(disks: Iterable[GuestDisk]) -> list[GuestDisk]:
    return sorted(disks, key=lambda disk: str(disk.alias))


def disk_with(layout: Layout, alias: str) -> GuestDisk:
    (found,) = (disk for disk in layout.disks if disk.alias == alias)
    return found


def interfaces(layout: Layout) -> list[tuple[str | None, str, Address | None]]:
    return [(one.alias, one.mac, one.address) for one in layout.interfaces]


def names_on(layout: Layout, bus: Bus) -> list[str]:
    return [disk.target for disk in layout.disks if disk.bus == bus]


def as_before(lab: Lab, machine: Machine, kept: object) -> bool:
    return lab.is_off(machine) and lab.kept(machine.instance) == kept


STABLE = [
    ("q35", (Bus.VIRTIO, DISK)),
    ("q35", (Bus.SCSI, CDROM)),
    ("q35", (Bus.USB, DISK)),
    ("q35", (Bus.SATA, CDROM)),
    ("q35", (Bus.FDC, FLOPPY)),
    ("pc", (Bus.IDE, CDROM)),
    ("pc", (Bus.SATA, DISK)),
]


@pytest.mark.parametrize(("family", "kind"), STABLE)
def test_all_disks_stay_and_the_rescue_disk_is_the_last(lab: Lab, family: str, kind: Kind) -> None:
    machine = lab.defined(WITH_CD[family], Shape(machine_type=family, pcie_ports=8))
    kept, wanted = lab.kept(machine.instance), lab.stable(machine, kind)
    before = lab.persistent(machine)
    lab.rescues.check(machine.instance, wanted)
    assert as_before(lab, machine, kept)

    found = lab.rescued(machine, wanted)

    assert found == shown(wanted.disk)
    assert found.boot_order == 1
    live = lab.live(machine)
    assert by_alias(live.disks) == by_alias((found, *seen(machine.disks)))
    assert names_on(live, wanted.disk.bus)[-1] == wanted.disk.target
    assert interfaces(live) == interfaces(before)
    assert lab.kept(machine.instance) == kept
    lab.yard.power.cut(machine.instance)
    assert as_before(lab, machine, kept)


@pytest.mark.parametrize("family", WITH_CD)
def test_a_legacy_rescue_disk_is_the_first_and_the_root_the_second(lab: Lab, family: str) -> None:
    machine = lab.defined(WITH_CD[family], Shape(machine_type=family, pcie_ports=8))
    kept, wanted = lab.kept(machine.instance), lab.legacy(machine)
    lab.rescues.check(machine.instance, wanted)

    found = lab.rescued(machine, wanted)

    live, root, config = lab.live(machine), machine.disks[0], machine.disks[-1]
    assert wanted.moved is not None
    spot = wanted.moved[root.target]
    there = replace(root, target=spot.target, address=spot.address)
    assert found == shown(wanted.disk)
    assert by_alias(live.disks) == by_alias((found, *seen((there, config))))
    assert names_on(live, root.bus) == ["vda", "vdb"]
    assert lab.kept(machine.instance) == kept
    lab.yard.power.cut(machine.instance)
    assert as_before(lab, machine, kept)


def test_the_config_drive_shows_the_rescues_own_content(lab: Lab, machine: Machine) -> None:
    kept, alias = lab.kept(machine.instance), config_drive_alias(machine.instance)
    own = lab.yard.file(new_uuid(), DiskFormat.RAW)
    lab.rescued(machine, replace(lab.stable(machine), config=own))
    config = disk_with(lab.live(machine), alias)
    assert config == replace(shown(machine.disks[-1]), source=own.path)
    assert lab.kept(machine.instance) == kept
    lab.yard.power.cut(machine.instance)


def test_the_guest_after_a_rescue_is_the_one_before_it_and_what_came_meanwhile(
    lab: Lab, machine: Machine
) -> None:
    lab.yard.power.start(machine.instance)
    before = lab.live(machine)
    lab.yard.power.cut(machine.instance)
    lab.rescued(machine, lab.stable(machine, (Bus.VIRTIO, DISK)))
    disk = placed(lab, machine, Bus.VIRTIO)
    lab.disks.attach(machine.instance, disk)
    assert disk_with(lab.live(machine), disk.alias) == shown(disk)
    lab.yard.power.cut(machine.instance)
    lab.yard.power.start(machine.instance)
    after = lab.live(machine)
    assert by_alias(after.disks) == by_alias((*before.disks, shown(disk)))
    assert interfaces(after) == interfaces(before)
    assert after.taken == before.taken | {disk.address}
    lab.yard.power.cut(machine.instance)


def test_a_start_may_be_asked_for_again_and_by_many_at_once(lab: Lab, machine: Machine) -> None:
    wanted, kept = lab.stable(machine), lab.kept(machine.instance)
    together = threading.Barrier(HANDS)

    def start(_hand: int) -> None:
        together.wait()
        lab.rescues.start(machine.instance, wanted)

    with ThreadPoolExecutor(HANDS) as hands:
        list(hands.map(start, range(HANDS)))

    before = lab.live(machine)
    assert lab.rescued(machine, wanted) == shown(wanted.disk)
    assert lab.live(machine) == before
    assert lab.kept(machine.instance) == kept
    lab.yard.power.cut(machine.instance)


def _with_disk(wanted: RescueLayout, **other: Any) -> RescueLayout:  # noqa: ANN401 - as replace
    return replace(wanted, disk=replace(wanted.disk, **other))


BAD: Mapping[str, Mapping[str, Any]] = {
    "a name that is taken": {"target": "sda"},
    "an address that is taken": {"address": DriveAddress(kind="scsi", unit=0)},
    "no medium to take out": {"bus": Bus.VIRTIO, "target": "vdz", "device_type": CDROM},
    "a bus that the machine lacks": {"bus": Bus.IDE, "target": "hda"},
}


def bad_layouts(lab: Lab, machine: Machine) -> dict[str, RescueLayout]:
    good = lab.stable(machine, (Bus.SCSI, DISK))
    elsewhere = _with_disk(good, address=None)
    told = replace(NO_KERNEL, command_line="console=\a")
    return {
        name: _with_disk(elsewhere if "bus" in other else good, **other)
        for name, other in BAD.items()
    } | {"a command line that no XML holds": replace(good, kernel=told)}


@pytest.mark.parametrize("bad", [*BAD, "a command line that no XML holds"])
def test_a_layout_that_cannot_be_is_refused(lab: Lab, machine: Machine, bad: str) -> None:
    kept = lab.kept(machine.instance)
    with pytest.raises(MachineUnsupported):
        lab.rescues.check(machine.instance, bad_layouts(lab, machine)[bad])
    assert as_before(lab, machine, kept)


def test_a_check_needs_no_file_and_changes_nothing(lab: Lab, machine: Machine) -> None:
    kept = lab.kept(machine.instance)
    for wanted in (lab.stable(machine), lab.legacy(machine)):
        lab.rescues.check(machine.instance, nowhere(wanted))
    assert as_before(lab, machine, kept)


def test_a_guest_that_runs_as_always_is_checked_and_refused_and_runs_on(
    lab: Lab, machine: Machine
) -> None:
    lab.yard.power.start(machine.instance)
    before, kept = lab.guest(machine), lab.kept(machine.instance)
    for wanted in (lab.stable(machine), lab.legacy(machine)):
        lab.rescues.check(machine.instance, nowhere(wanted))
    for bad in bad_layouts(lab, machine).values():
        with pytest.raises(MachineUnsupported):
            lab.rescues.check(machine.instance, bad)
    with pytest.raises(HypervisorRefused, match="not in rescue"):
        lab.rescues.start(machine.instance, lab.stable(machine))
    assert lab.guest(machine) == before
    assert lab.kept(machine.instance) == kept
    lab.yard.power.cut(machine.instance)


def test_a_file_that_is_not_there_leaves_the_guest_off_and_as_it_was(
    lab: Lab, machine: Machine
) -> None:
    kept, wanted = lab.kept(machine.instance), lab.stable(machine)
    for bad in (
        _with_disk(wanted, source=FileSource(path=GONE)),
        replace(wanted, kernel=Kernel(kernel=GONE)),
        replace(wanted, kernel=Kernel(kernel=lab.kernel(), ramdisk=GONE)),
    ):
        with pytest.raises(HypervisorRefused):
            lab.rescues.start(machine.instance, bad)
        assert as_before(lab, machine, kept)
    lab.yard.power.start(machine.instance)
    assert by_alias(lab.live(machine).disks) == by_alias(lab.persistent(machine).disks)
    lab.yard.power.cut(machine.instance)


def test_a_domain_that_is_forgotten_when_it_is_off_is_refused(lab: Lab, machine: Machine) -> None:
    lab.yard.power.start(machine.instance)
    wanted = lab.stable(machine)
    lab.make_transient(machine.instance)
    with pytest.raises(HypervisorRefused, match="transient"):
        lab.rescues.check(machine.instance, wanted)
    with pytest.raises(HypervisorRefused):
        lab.rescues.start(machine.instance, wanted)
    assert not lab.is_off(machine)
    lab.yard.power.cut(machine.instance)


def test_no_guest_is_rescued_beside_what_was_saved_of_it(lab: Lab) -> None:
    machine = lab.defined(())
    lab.yard.power.start(machine.instance)
    wanted = lab.stable(machine)
    lab.save(machine.instance)
    kept = lab.kept(machine.instance)
    for refusing in (lab.rescues.check, lab.rescues.start):
        with pytest.raises(HypervisorRefused, match="saved"):
            refusing(machine.instance, wanted)
    assert as_before(lab, machine, kept)


def test_who_is_not_there_is_not_rescued(lab: Lab, machine: Machine) -> None:
    wanted, nobody = lab.stable(machine), InstanceId(new_uuid())
    for refusing in (lab.rescues.check, lab.rescues.start):
        with pytest.raises(DomainNotFound):
            refusing(nobody, wanted)


def test_a_disk_that_comes_and_goes_in_rescue_does_so_in_both_layouts(
    lab: Lab, machine: Machine
) -> None:
    kept = lab.kept(machine.instance)
    lab.rescued(machine, lab.stable(machine, (Bus.SCSI, DISK)))
    before = lab.live(machine)
    disk = placed(lab, machine, Bus.SCSI)
    lab.disks.attach(machine.instance, disk)
    for layout in lab.guest(machine).layouts:
        assert disk_with(layout, disk.alias) == shown(disk)
    lab.disks.unplug(machine.instance, disk.alias)
    lab.disks.forget(machine.instance, disk.alias)
    assert by_alias(lab.live(machine).disks) == by_alias(before.disks)
    assert lab.kept(machine.instance) == kept
    lab.yard.power.cut(machine.instance)


def test_a_guest_in_rescue_is_not_the_hypervisors_to_start(lab: Lab) -> None:
    """It would start the guest without the rescue, when the host comes back."""
    machine = lab.defined(())
    wanted = lab.stable(machine)
    lab.autostart.switch(machine.instance, on=True)
    lab.rescued(machine, wanted)
    assert not lab.autostart.is_on(machine.instance)
    lab.autostart.switch(machine.instance, on=True)
    lab.rescued(machine, wanted)
    assert not lab.autostart.is_on(machine.instance)
    lab.yard.power.cut(machine.instance)


def nowhere(wanted: RescueLayout) -> RescueLayout:
    """Return the layout before any of its files is made."""
    return replace(_with_disk(wanted, source=NOWHERE.source), kernel=NO_KERNEL)


def placed(lab: Lab, machine: Machine, bus: Bus) -> Disk:
    """Return a disk where both layouts have room for it."""
    found, uuid = place(lab.guest(machine), (), bus, None, -1), new_uuid()
    return Disk(
        alias=f"ua-{uuid}",
        target=found.device_name.removeprefix("/dev/"),
        bus=bus,
        device_type=DISK,
        serial=uuid,
        address=found.address,
        source=lab.yard.file(uuid, DiskFormat.RAW),
        options=DiskOptions(),
    )
