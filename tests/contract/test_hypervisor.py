"""What every hypervisor promises, the fake one included."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from lxml import etree

from tests.contract.hypervisors import LABS, Lab, LibvirtLab
from worker.errors import DomainNotFound, GuestBusy, HypervisorRefused
from worker.model.block_device import Bus, DeviceType
from worker.model.disk import Disk
from worker.model.guest import GuestDisk, Layout
from worker.model.ids import InstanceId, new_uuid
from worker.model.instance import VmState
from worker.model.places.address import first_free
from worker.model.source import DiskOptions, FileSource

MIB = 1024 * 1024


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


def make_disk(
    lab: Lab, guest: InstanceId, folder: Path, target: str, bus: Bus = Bus.VIRTIO
) -> Disk:
    """Return a disk for a place that is free in both layouts; its serial is the volume's id."""
    volume = new_uuid()
    path = folder / volume
    with path.open("wb") as file:
        file.truncate(8 * MIB)
    layouts = lab.guests.describe(guest).layouts
    taken = {address for layout in layouts for address in layout.taken}
    return Disk(
        alias=f"ua-{volume}",
        target=target,
        bus=bus,
        device_type=DeviceType.DISK,
        serial=volume,
        address=first_free(layouts[0].places[bus], taken),
        source=FileSource(path=str(path)),
        options=DiskOptions(discard="unmap"),
    )


def live(lab: Lab, guest: InstanceId) -> tuple[GuestDisk, ...]:
    layout = lab.guests.describe(guest).live
    assert layout is not None
    return layout.disks


def persistent(lab: Lab, guest: InstanceId) -> tuple[GuestDisk, ...]:
    layout = lab.guests.describe(guest).persistent
    assert layout is not None
    return layout.disks


def shown(disk: Disk) -> GuestDisk:
    return GuestDisk(
        target=disk.target,
        bus=disk.bus.value,
        alias=disk.alias,
        serial=disk.serial,
        source=disk.source.name,
        address=disk.address,
        device=disk.device_type.value,
        boot_order=disk.boot_order,
    )


def test_a_running_guest_has_both_layouts(lab: Lab) -> None:
    instance, name = lab.running()
    seen = lab.guests.describe(instance)
    assert (seen.instance, seen.name, seen.vm_state) == (instance, name, VmState.ACTIVE)
    assert isinstance(seen.live, Layout)
    assert isinstance(seen.persistent, Layout)


def test_a_paused_guest_is_live(lab: Lab, guest: InstanceId) -> None:
    lab.pause(guest)
    seen = lab.guests.describe(guest)
    lab.resume(guest)
    assert seen.vm_state is VmState.PAUSED
    assert seen.live is not None


def test_a_stopped_guest_has_its_persistent_layout_alone(lab: Lab, guest: InstanceId) -> None:
    lab.stop(guest)
    seen = lab.guests.describe(guest)
    assert seen.vm_state is VmState.STOPPED
    assert seen.live is None
    assert seen.persistent is not None


def test_a_guest_is_found_by_name_and_by_uuid(lab: Lab) -> None:
    instance, name = lab.running()
    assert lab.guests.find(name) == lab.guests.find(instance) == lab.guests.describe(instance)


@pytest.mark.parametrize("name", [new_uuid(), "no-such-guest"], ids=["uuid", "name"])
def test_a_guest_that_is_not_there_is_not_found(lab: Lab, name: str) -> None:
    with pytest.raises(DomainNotFound):
        lab.guests.find(name)


def test_an_unknown_guest_cannot_be_described(lab: Lab) -> None:
    with pytest.raises(DomainNotFound):
        lab.guests.describe(InstanceId(new_uuid()))


@pytest.mark.parametrize("bus", [Bus.VIRTIO, Bus.SCSI])
def test_both_layouts_offer_room_on_the_buses_that_plug(
    lab: Lab, guest: InstanceId, bus: Bus
) -> None:
    for layout in lab.guests.describe(guest).layouts:
        assert first_free(layout.places[bus], layout.taken) is not None


@pytest.mark.parametrize(("target", "bus"), [("vdb", Bus.VIRTIO), ("sda", Bus.SCSI)])
def test_an_attached_disk_is_the_same_in_both_layouts(
    lab: Lab, guest: InstanceId, tmp_path: Path, target: str, bus: Bus
) -> None:
    disk = make_disk(lab, guest, tmp_path, target, bus)
    lab.disks.attach(guest, disk)
    assert live(lab, guest) == persistent(lab, guest) == (shown(disk),)
    taken = lab.guests.describe(guest).layouts
    assert all(disk.address in layout.taken for layout in taken)


def test_a_disk_goes_where_it_is_told_and_not_to_the_first_free_place(
    lab: Lab, guest: InstanceId, disk: Disk
) -> None:
    layout = lab.guests.describe(guest).live
    assert layout is not None
    last = first_free(reversed(layout.places[Bus.VIRTIO]), layout.taken)
    lab.disks.attach(guest, replace(disk, address=last))
    assert [one.address for one in live(lab, guest) + persistent(lab, guest)] == [last, last]


def test_a_paused_guest_takes_a_disk(lab: Lab, guest: InstanceId, disk: Disk) -> None:
    lab.pause(guest)
    lab.disks.attach(guest, disk)
    lab.resume(guest)
    assert live(lab, guest) == persistent(lab, guest) == (shown(disk),)


def test_a_stopped_guest_finds_its_disk_when_it_starts(
    lab: Lab, guest: InstanceId, disk: Disk
) -> None:
    lab.stop(guest)
    lab.disks.attach(guest, disk)
    assert persistent(lab, guest) == (shown(disk),)
    lab.start(guest)
    assert live(lab, guest) == (shown(disk),)


def test_an_attach_that_has_happened_changes_nothing(
    lab: Lab, guest: InstanceId, disk: Disk
) -> None:
    lab.disks.attach(guest, disk)
    before = lab.guests.describe(guest)
    lab.disks.attach(guest, disk)
    assert lab.guests.describe(guest) == before


def test_an_attach_completes_the_layout_that_lacks_the_disk(
    lab: Lab, guest: InstanceId, disk: Disk
) -> None:
    lab.disks.attach(guest, disk)
    lab.disks.unplug(guest, disk.alias)
    lab.disks.attach(guest, disk)
    assert live(lab, guest) == persistent(lab, guest) == (shown(disk),)
    lab.disks.forget(guest, disk.alias)
    lab.disks.attach(guest, disk)
    assert live(lab, guest) == persistent(lab, guest) == (shown(disk),)


@pytest.mark.parametrize("part", ["target", "serial"])
def test_an_alias_that_another_disk_has_is_refused(
    lab: Lab, guest: InstanceId, disk: Disk, part: str
) -> None:
    other = replace(disk, target="vdx") if part == "target" else replace(disk, serial="another")
    lab.disks.attach(guest, disk)
    with pytest.raises(HypervisorRefused) as refused:
        lab.disks.attach(guest, other)
    assert str(getattr(disk, part)) in str(refused.value)
    assert str(getattr(other, part)) in str(refused.value)
    assert live(lab, guest) == persistent(lab, guest) == (shown(disk),)


@pytest.mark.parametrize("part", ["target", "address"])
def test_a_place_that_another_disk_has_is_refused(
    lab: Lab, guest: InstanceId, disk: Disk, tmp_path: Path, part: str
) -> None:
    lab.disks.attach(guest, disk)
    other = make_disk(lab, guest, tmp_path, "vdc")
    if part == "target":
        other = replace(other, target=disk.target)
    else:
        other = replace(other, address=disk.address)
    with pytest.raises(HypervisorRefused):
        lab.disks.attach(guest, other)
    assert live(lab, guest) == persistent(lab, guest) == (shown(disk),)


def test_an_unknown_guest_takes_no_disk(lab: Lab, disk: Disk) -> None:
    with pytest.raises(DomainNotFound):
        lab.disks.attach(InstanceId(new_uuid()), disk)


@pytest.mark.parametrize(("target", "bus"), [("vdb", Bus.VIRTIO), ("sda", Bus.SCSI)])
def test_an_unplugged_disk_stays_in_the_persistent_layout(
    lab: Lab, guest: InstanceId, tmp_path: Path, target: str, bus: Bus
) -> None:
    disk = make_disk(lab, guest, tmp_path, target, bus)
    lab.disks.attach(guest, disk)
    lab.disks.unplug(guest, disk.alias)
    assert live(lab, guest) == ()
    assert persistent(lab, guest) == (shown(disk),)


def test_the_other_disks_stay_where_they_are(
    lab: Lab, guest: InstanceId, disk: Disk, tmp_path: Path
) -> None:
    lab.disks.attach(guest, disk)
    other = make_disk(lab, guest, tmp_path, "vdc")
    lab.disks.attach(guest, other)
    lab.disks.unplug(guest, disk.alias)
    lab.disks.forget(guest, disk.alias)
    assert live(lab, guest) == persistent(lab, guest) == (shown(other),)


def test_a_forgotten_disk_stays_in_the_running_guest(
    lab: Lab, guest: InstanceId, disk: Disk
) -> None:
    lab.disks.attach(guest, disk)
    lab.disks.forget(guest, disk.alias)
    assert live(lab, guest) == (shown(disk),)
    assert persistent(lab, guest) == ()


@pytest.mark.parametrize("lab", ["libvirt"], indirect=True)
def test_a_guest_that_gets_a_disk_is_taken_off_libvirts_autostart(
    lab: LibvirtLab, guest: InstanceId, disk: Disk
) -> None:
    with lab.connection.domain(guest) as domain:
        domain.setAutostart(1)
        lab.disks.attach(guest, disk)
        assert not domain.autostart()
    lab.disks.unplug(guest, disk.alias)
    lab.disks.forget(guest, disk.alias)


@pytest.mark.parametrize("lab", ["libvirt"], indirect=True)
def test_a_disk_is_limited_and_has_its_block_sizes_while_the_guest_runs(
    lab: LibvirtLab, guest: InstanceId, tmp_path: Path
) -> None:
    """Each of libvirt's thirteen limits is one that it takes, and QEMU with it."""
    rates = [f"{way}_{unit}_sec" for way in ("read", "write") for unit in ("bytes", "iops")]
    apart = {rate: 4_000_000 + at for at, rate in enumerate(rates)}
    bursts = {f"{rate}_max": 2 * limit for rate, limit in apart.items()}
    whole = {"total_bytes_sec": 5_000_000, "total_iops_sec": 500}
    whole |= {f"{rate}_max": 2 * limit for rate, limit in whole.items()}
    plain = make_disk(lab, guest, tmp_path, "vdb")
    for limits in ({**apart, **bursts, "size_iops_sec": 4096}, whole):
        asked = DiskOptions(
            limits=tuple(limits.items()), logical_block_size=4096, physical_block_size=4096
        )
        disk = replace(plain, options=asked)
        lab.disks.attach(guest, disk)
        with lab.connection.domain(guest) as domain:
            assert set(limits.items()) <= set(domain.blockIoTune(disk.target).items())
            element = etree.fromstring(domain.XMLDesc()).find(f".//alias[@name='{disk.alias}']/..")
            assert element is not None
            said = {each.tag: int(each.text or 0) for each in element.iterfind("iotune/*")}
            blocks = element.find("blockio")
        assert said == limits
        assert blocks is not None
        assert blocks.values() == ["4096", "4096"]
        lab.disks.unplug(guest, disk.alias)
        lab.disks.forget(guest, disk.alias)


def grow(disk: Disk, size: int) -> None:
    """Let there be so many bytes of the disk, for whoever looks."""
    os.truncate(disk.source.name, size)


@pytest.mark.parametrize(("target", "bus"), [("vdb", Bus.VIRTIO), ("sda", Bus.SCSI)])
def test_a_running_guest_sees_what_its_disk_has_grown_to(
    lab: Lab, guest: InstanceId, tmp_path: Path, target: str, bus: Bus
) -> None:
    disk = make_disk(lab, guest, tmp_path, target, bus)
    lab.disks.attach(guest, disk)
    lab.wait_until_seen(guest, disk)
    before = lab.guests.describe(guest)
    grow(disk, 12 * MIB)
    lab.disks.resize(guest, disk.alias, 12 * MIB)
    lab.wait_for_size(guest, disk, 12 * MIB)
    lab.disks.resize(guest, disk.alias, 12 * MIB)
    assert lab.guests.describe(guest) == before
    assert Path(disk.source.name).stat().st_size == 12 * MIB


def test_nothing_is_ever_made_smaller(lab: Lab, guest: InstanceId, disk: Disk) -> None:
    lab.disks.attach(guest, disk)
    grow(disk, 12 * MIB)
    lab.disks.resize(guest, disk.alias, 12 * MIB)
    lab.disks.resize(guest, disk.alias, 9 * MIB)
    lab.wait_for_size(guest, disk, 12 * MIB)
    assert Path(disk.source.name).stat().st_size == 12 * MIB


def test_a_paused_guest_sees_it_when_it_goes_on(lab: Lab, guest: InstanceId, disk: Disk) -> None:
    lab.disks.attach(guest, disk)
    lab.wait_until_seen(guest, disk)
    lab.pause(guest)
    grow(disk, 12 * MIB)
    lab.disks.resize(guest, disk.alias, 12 * MIB)
    lab.resume(guest)
    lab.wait_for_size(guest, disk, 12 * MIB)


def test_a_guest_is_not_told_of_what_it_has_read_only(
    lab: Lab, guest: InstanceId, disk: Disk
) -> None:
    disk = replace(disk, options=replace(disk.options, read_only=True))
    lab.disks.attach(guest, disk)
    lab.wait_until_seen(guest, disk)
    before = lab.guests.describe(guest)
    grow(disk, 12 * MIB)
    lab.disks.resize(guest, disk.alias, 12 * MIB)
    assert lab.guests.describe(guest) == before


def test_what_is_not_plugged_in_has_nothing_to_be_told(
    lab: Lab, guest: InstanceId, disk: Disk
) -> None:
    nobody = InstanceId(new_uuid())
    lab.disks.resize(nobody, disk.alias, 12 * MIB)
    lab.disks.resize(guest, disk.alias, 12 * MIB)
    lab.disks.attach(guest, disk)
    before = Path(disk.source.name).stat().st_size
    lab.stop(guest)
    lab.disks.resize(guest, disk.alias, 12 * MIB)
    assert Path(disk.source.name).stat().st_size == before


def test_taking_away_what_is_not_there_is_fine(lab: Lab, guest: InstanceId, disk: Disk) -> None:
    before = lab.guests.describe(guest)
    lab.disks.unplug(guest, disk.alias)
    lab.disks.forget(guest, disk.alias)
    assert lab.guests.describe(guest) == before


def test_taking_away_from_a_guest_that_is_not_there_is_fine(lab: Lab, disk: Disk) -> None:
    nobody = InstanceId(new_uuid())
    lab.disks.unplug(nobody, disk.alias)
    lab.disks.forget(nobody, disk.alias)


def test_a_stopped_guest_holds_nothing_and_keeps_its_layout(
    lab: Lab, guest: InstanceId, disk: Disk
) -> None:
    lab.disks.attach(guest, disk)
    lab.stop(guest)
    lab.disks.unplug(guest, disk.alias)
    assert persistent(lab, guest) == (shown(disk),)
    lab.disks.forget(guest, disk.alias)
    assert persistent(lab, guest) == ()


def test_a_guest_that_keeps_its_disk_keeps_it_in_both_layouts(
    lab: Lab, guest: InstanceId, disk: Disk
) -> None:
    lab.disks.attach(guest, disk)
    lab.pause(guest)
    with pytest.raises(GuestBusy):
        lab.hurried.unplug(guest, disk.alias)
    assert live(lab, guest) == persistent(lab, guest) == (shown(disk),)
    lab.resume(guest)
    lab.disks.unplug(guest, disk.alias)
    assert live(lab, guest) == ()
