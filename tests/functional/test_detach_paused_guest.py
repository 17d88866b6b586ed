"""A guest that does not answer: it delays a detach, or it keeps its disk."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.guests import Guest, GuestMaker
from worker.errors import GuestBusy
from worker.model.block_device import Bus, DeviceType
from worker.model.disk import Disk
from worker.model.ids import InstanceId, new_uuid
from worker.model.places.address import first_free
from worker.model.source import DiskOptions, FileSource
from worker.virt.disks import LibvirtGuestDisks
from worker.virt.guests import LibvirtGuests
from worker.virt.libvirtd.connection import LibvirtConnection

MIB = 1024 * 1024
PATIENT = 30.0


@pytest.fixture
def connection(libvirtd: str) -> Iterator[LibvirtConnection]:
    opened = LibvirtConnection(libvirtd)
    yield opened
    opened.close()


@pytest.fixture
def guest(make_guest: GuestMaker) -> Guest:
    return make_guest(ports=4)


@pytest.fixture
def attached(connection: LibvirtConnection, guest: Guest, tmp_path: Path) -> Disk:
    """A disk of 8 MiB that the guest has told of."""
    volume = new_uuid()
    path = tmp_path / volume
    with path.open("wb") as file:
        file.truncate(8 * MIB)
    layout = LibvirtGuests(connection).describe(InstanceId(guest.uuid)).layouts[0]
    disk = Disk(
        alias=f"ua-{volume}",
        target="vdb",
        bus=Bus.VIRTIO,
        device_type=DeviceType.DISK,
        serial=volume,
        address=first_free(layout.places[Bus.VIRTIO], layout.taken),
        source=FileSource(path=str(path)),
        options=DiskOptions(),
    )
    LibvirtGuestDisks(connection).attach(InstanceId(guest.uuid), disk)
    # The guest names its disks itself: its first on virtio is vda, whatever libvirt calls it.
    told = guest.console.wait_for(lambda disks: "vda" in disks, PATIENT)
    assert (told["vda"].size, told["vda"].serial) == (8 * MIB, volume[:20])
    return disk


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as executor:
        yield executor


def aliases(connection: LibvirtConnection, guest: Guest) -> tuple[set[str | None], set[str | None]]:
    seen = LibvirtGuests(connection).describe(InstanceId(guest.uuid))
    assert seen.live is not None
    assert seen.persistent is not None
    return {disk.alias for disk in seen.live.disks}, {disk.alias for disk in seen.persistent.disks}


def test_a_paused_guest_delays_the_detach_until_it_goes_on(
    connection: LibvirtConnection, guest: Guest, attached: Disk, pool: ThreadPoolExecutor
) -> None:
    disks = LibvirtGuestDisks(connection, detach_retry_interval=PATIENT, detach_attempts=1)
    guest.domain.suspend()
    unplug = pool.submit(disks.unplug, InstanceId(guest.uuid), attached.alias)
    assert not returned_within(unplug, 1.5)
    assert aliases(connection, guest) == ({attached.alias}, {attached.alias})
    resumed = time.monotonic()
    guest.domain.resume()
    unplug.result(PATIENT)
    # The event ends the wait, not the interval.
    assert time.monotonic() - resumed < PATIENT / 3
    guest.wait_for_no_disk("vda")
    assert aliases(connection, guest) == (set(), {attached.alias})


def test_a_guest_that_was_asked_before_is_not_asked_in_vain(
    connection: LibvirtConnection, guest: Guest, attached: Disk, pool: ThreadPoolExecutor
) -> None:
    disks = LibvirtGuestDisks(connection, detach_retry_interval=0.3, detach_attempts=60)
    guest.domain.suspend()
    unplug = pool.submit(disks.unplug, InstanceId(guest.uuid), attached.alias)
    assert not returned_within(unplug, 1.5)
    guest.domain.resume()
    unplug.result(PATIENT)
    guest.wait_for_no_disk("vda")


def test_a_guest_that_refuses_keeps_its_disk_in_both_layouts(
    connection: LibvirtConnection, guest: Guest, attached: Disk
) -> None:
    disks = LibvirtGuestDisks(connection, detach_retry_interval=0.1, detach_attempts=2)
    guest.domain.suspend()
    with pytest.raises(GuestBusy, match="asked 2 times"):
        disks.unplug(InstanceId(guest.uuid), attached.alias)
    assert aliases(connection, guest) == ({attached.alias}, {attached.alias})


def test_a_guest_that_stops_has_let_go(
    connection: LibvirtConnection, guest: Guest, attached: Disk, pool: ThreadPoolExecutor
) -> None:
    disks = LibvirtGuestDisks(connection, detach_retry_interval=PATIENT, detach_attempts=1)
    guest.domain.suspend()
    unplug = pool.submit(disks.unplug, InstanceId(guest.uuid), attached.alias)
    assert not returned_within(unplug, 0.5)
    stopped = time.monotonic()
    guest.domain.destroy()
    unplug.result(PATIENT)
    # libvirt says nothing of the device then (no DEVICE_REMOVED): the domain's end is the news.
    assert time.monotonic() - stopped < PATIENT / 3


def test_a_transient_guest_is_attached_live_and_gone_with_its_disks(
    connection: LibvirtConnection, make_guest: GuestMaker, tmp_path: Path
) -> None:
    guest = make_guest(persistent=False, ports=4)
    instance = InstanceId(guest.uuid)
    seen = LibvirtGuests(connection).describe(instance)
    assert seen.persistent is None
    disks = LibvirtGuestDisks(connection)
    path = tmp_path / "volume"
    path.write_bytes(bytes(MIB))
    assert seen.live is not None
    disk = Disk(
        alias=f"ua-{new_uuid()}",
        target="sda",
        bus=Bus.SCSI,
        device_type=DeviceType.DISK,
        serial="a-serial",
        address=first_free(seen.live.places[Bus.SCSI], seen.live.taken),
        source=FileSource(path=str(path)),
        options=DiskOptions(),
    )
    disks.attach(instance, disk)
    told = guest.console.wait_for(lambda reported: "sda" in reported, PATIENT)
    assert told["sda"].serial == "a-serial"
    disks.forget(instance, disk.alias)
    disks.unplug(instance, disk.alias)
    guest.wait_for_no_disk("sda")
    guest.domain.destroy()
    disks.unplug(instance, disk.alias)


def returned_within(call: Future[None], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end and not call.done():
        time.sleep(0.02)
    return call.done()
