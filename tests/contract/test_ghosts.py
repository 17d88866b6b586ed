"""What every hypervisor promises of disks that the guest has and its hypervisor denies."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.hypervisors import LABS, Lab
from tests.contract.test_hypervisor import live, make_disk, persistent, shown
from worker.errors import GuestBusy, HypervisorRefused
from worker.model.block_device import Bus
from worker.model.disk import Disk
from worker.model.ids import InstanceId, new_uuid

PLACES = [pytest.param("vdb", Bus.VIRTIO, id="virtio"), pytest.param("sda", Bus.SCSI, id="scsi")]


@pytest.fixture(scope="module", params=LABS)
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with LABS[request.param](request, tmp_path_factory.mktemp("lab")) as opened:
        yield opened


@pytest.fixture
def guest(lab: Lab) -> InstanceId:
    instance, _name = lab.running()
    return instance


@pytest.fixture
def disk(lab: Lab, guest: InstanceId, tmp_path: Path) -> Disk:
    return make_disk(lab, guest, tmp_path, "vdb")


def inside(lab: Lab, guest: InstanceId) -> list[str]:
    return [disk.alias for disk in lab.insides.disks(guest)]


def test_a_guest_without_disks_of_ours_has_none_inside(lab: Lab, guest: InstanceId) -> None:
    assert lab.insides.disks(guest) == ()


@pytest.mark.parametrize(("target", "bus"), PLACES)
def test_a_disk_that_the_hypervisor_has_is_inside(
    lab: Lab, guest: InstanceId, tmp_path: Path, target: str, bus: Bus
) -> None:
    disk = make_disk(lab, guest, tmp_path, target, bus)
    lab.disks.attach(guest, disk)
    inner = [(each.alias, each.source) for each in lab.insides.disks(guest)]
    assert inner == [(disk.alias, disk.source.name)]


@pytest.mark.parametrize(("target", "bus"), PLACES)
def test_a_ghost_is_inside_alone_and_goes(
    lab: Lab, guest: InstanceId, tmp_path: Path, target: str, bus: Bus
) -> None:
    disk = make_disk(lab, guest, tmp_path, target, bus)
    lab.plant_ghost(guest, disk)
    lab.wait_until_seen(guest, disk)
    assert (live(lab, guest), inside(lab, guest)) == ((), [disk.alias])
    lab.insides.remove(guest, disk.alias)
    assert inside(lab, guest) == []
    lab.wait_until_seen(guest, disk, seen=False)


def test_disks_are_told_by_alias(lab: Lab, guest: InstanceId, disk: Disk, tmp_path: Path) -> None:
    lab.plant_ghost(guest, disk)
    other = make_disk(lab, guest, tmp_path, "sda", Bus.SCSI)
    lab.disks.attach(guest, other)
    assert inside(lab, guest) == sorted([disk.alias, other.alias])


def test_only_the_ghost_that_is_named_goes(
    lab: Lab, guest: InstanceId, disk: Disk, tmp_path: Path
) -> None:
    other = make_disk(lab, guest, tmp_path, "sda", Bus.SCSI)
    lab.disks.attach(guest, other)
    lab.plant_ghost(guest, disk)
    lab.insides.remove(guest, f"ua-{new_uuid()}")
    assert inside(lab, guest) == sorted([disk.alias, other.alias])
    lab.insides.remove(guest, disk.alias)
    assert inside(lab, guest) == [other.alias]
    assert live(lab, guest) == persistent(lab, guest) == (shown(other),)


def test_where_a_ghost_was_a_disk_comes_and_goes(lab: Lab, guest: InstanceId, disk: Disk) -> None:
    lab.plant_ghost(guest, disk)
    lab.insides.remove(guest, disk.alias)
    lab.disks.attach(guest, disk)
    assert live(lab, guest) == persistent(lab, guest) == (shown(disk),)
    lab.wait_until_seen(guest, disk)
    lab.disks.unplug(guest, disk.alias)
    lab.disks.forget(guest, disk.alias)
    assert (live(lab, guest), persistent(lab, guest), inside(lab, guest)) == ((), (), [])
    lab.wait_until_seen(guest, disk, seen=False)


def test_a_disk_that_the_hypervisor_has_is_no_ghost(
    lab: Lab, guest: InstanceId, disk: Disk
) -> None:
    lab.disks.attach(guest, disk)
    with pytest.raises(HypervisorRefused, match=disk.alias):
        lab.insides.remove(guest, disk.alias)
    assert live(lab, guest) == (shown(disk),)
    assert inside(lab, guest) == [disk.alias]


def test_a_guest_that_keeps_its_ghost_keeps_it(lab: Lab, guest: InstanceId, disk: Disk) -> None:
    lab.plant_ghost(guest, disk)
    lab.wait_until_seen(guest, disk)
    lab.pause(guest)
    with pytest.raises(GuestBusy, match=disk.alias):
        lab.hurried_insides.remove(guest, disk.alias)
    assert inside(lab, guest) == [disk.alias]
    lab.resume(guest)
    lab.insides.remove(guest, disk.alias)
    assert inside(lab, guest) == []


def test_what_is_not_there_is_fine(lab: Lab, guest: InstanceId, disk: Disk) -> None:
    lab.insides.remove(guest, disk.alias)
    lab.stop(guest)
    lab.insides.remove(guest, disk.alias)
    assert lab.insides.disks(guest) == ()
    nobody = InstanceId(new_uuid())
    lab.insides.remove(nobody, disk.alias)
    assert lab.insides.disks(nobody) == ()


def test_a_guest_that_stops_takes_its_ghost_along(lab: Lab, guest: InstanceId, disk: Disk) -> None:
    lab.plant_ghost(guest, disk)
    lab.stop(guest)
    lab.start(guest)
    assert inside(lab, guest) == []


@pytest.mark.parametrize(("target", "bus"), PLACES)
def test_an_unplug_takes_the_ghost_of_a_guest_in_doubt(
    lab: Lab, guest: InstanceId, tmp_path: Path, target: str, bus: Bus
) -> None:
    disk = make_disk(lab, guest, tmp_path, target, bus)
    lab.plant_ghost(guest, disk)
    lab.doubt(guest)
    lab.disks.unplug(guest, disk.alias)
    assert inside(lab, guest) == []


def test_an_unplug_of_a_ghost_that_is_kept_says_so(lab: Lab, guest: InstanceId, disk: Disk) -> None:
    lab.plant_ghost(guest, disk)
    lab.wait_until_seen(guest, disk)
    lab.doubt(guest)
    lab.pause(guest)
    with pytest.raises(GuestBusy, match=disk.alias):
        lab.hurried.unplug(guest, disk.alias)
    lab.resume(guest)
    assert inside(lab, guest) == [disk.alias]


@pytest.mark.parametrize("doubted", [True, False])
@pytest.mark.parametrize(("target", "bus"), PLACES)
def test_an_attach_takes_the_place_of_its_ghost(
    lab: Lab, guest: InstanceId, tmp_path: Path, target: str, bus: Bus, *, doubted: bool
) -> None:
    disk = make_disk(lab, guest, tmp_path, target, bus)
    lab.plant_ghost(guest, disk)
    lab.wait_until_seen(guest, disk)
    if doubted:
        lab.doubt(guest)
    lab.disks.attach(guest, disk)
    assert live(lab, guest) == persistent(lab, guest) == (shown(disk),)
    assert inside(lab, guest) == [disk.alias]
    lab.disks.unplug(guest, disk.alias)
    assert inside(lab, guest) == []


def test_an_attach_past_a_ghost_that_is_kept_says_so(
    lab: Lab, guest: InstanceId, disk: Disk
) -> None:
    lab.plant_ghost(guest, disk)
    lab.wait_until_seen(guest, disk)
    lab.pause(guest)
    with pytest.raises(GuestBusy, match=disk.alias):
        lab.hurried.attach(guest, disk)
    lab.resume(guest)
    assert (live(lab, guest), persistent(lab, guest)) == ((), ())
    assert inside(lab, guest) == [disk.alias]
