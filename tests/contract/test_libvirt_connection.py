"""The connection to libvirt: lost, opened again, and what is heard meanwhile."""

import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.guests import Guest, guest_maker, remove_guests, require_hypervisor
from worker.cmd.demo.guest_image import GuestImage
from worker.errors import DomainNotFound, HypervisorUnavailable
from worker.model.block_device import Bus, DeviceType
from worker.model.disk import Disk
from worker.model.guest import DeviceRemoved, GuestEvent, PowerChanged
from worker.model.ids import InstanceId, new_uuid
from worker.model.instance import VmState
from worker.model.places.address import first_free
from worker.model.source import DiskOptions, FileSource
from worker.virt.disks import LibvirtGuestDisks
from worker.virt.guests import LibvirtGuests
from worker.virt.libvirtd.connection import LibvirtConnection
from worker.virt.libvirtd.private import PrivateLibvirtd

SOON = 20.0


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    # Under a short name: sockets lie in it.
    require_hypervisor()
    made = Path(tempfile.mkdtemp(prefix="bw-test-"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def daemon(folder: Path) -> Iterator[PrivateLibvirtd]:
    """A libvirtd of this test's own, which it may stop and start."""
    private = PrivateLibvirtd(folder / "state")
    private.start()
    yield private
    remove_guests(private.start())
    private.stop()


@pytest.fixture
def guest(daemon: PrivateLibvirtd, guest_image: GuestImage, tmp_path: Path) -> Iterator[Guest]:
    """A guest that is defined and does not run."""
    with guest_maker(daemon.start(), guest_image, tmp_path) as make:
        yield make(booted=False)
        daemon.start()


@pytest.fixture
def connection(daemon: PrivateLibvirtd) -> Iterator[LibvirtConnection]:
    opened = LibvirtConnection(daemon.start(), patience=1.0, reopen_interval=0.2)
    yield opened
    opened.close()


class Heard:
    def __init__(self) -> None:
        self.events: queue.SimpleQueue[GuestEvent] = queue.SimpleQueue()

    def until(self, wanted: GuestEvent) -> None:
        end = time.monotonic() + SOON
        while self.events.get(timeout=max(0.0, end - time.monotonic())) != wanted:
            pass

    def forget(self) -> None:
        while not self.events.empty():
            self.events.get()


@pytest.fixture
def heard(connection: LibvirtConnection, guest: Guest) -> Heard:
    """What is told from the moment on at which the connection opens: of the guest, too."""
    ear = Heard()
    connection.subscribe(ear.events.put)
    return ear


def make_disk(connection: LibvirtConnection, instance: InstanceId, folder: Path, bus: Bus) -> Disk:
    path = folder / "volume"
    path.write_bytes(bytes(1024 * 1024))
    layout = LibvirtGuests(connection).describe(instance).layouts[0]
    return Disk(
        alias=f"ua-{new_uuid()}",
        target="vdb" if bus is Bus.VIRTIO else "sda",
        bus=bus,
        device_type=DeviceType.DISK,
        serial="a-serial",
        address=first_free(layout.places[bus], layout.taken),
        source=FileSource(path=str(path)),
        options=DiskOptions(),
    )


def test_a_libvirt_that_is_not_there_is_named(daemon: PrivateLibvirtd) -> None:
    uri = daemon.start()
    daemon.stop()
    with pytest.raises(HypervisorUnavailable) as unavailable:
        LibvirtGuests(LibvirtConnection(uri, patience=0.2)).find("any")
    assert uri in str(unavailable.value)
    assert "Failed to connect socket" in str(unavailable.value)


def test_a_uri_that_no_driver_knows_is_unavailable_too() -> None:
    with pytest.raises(HypervisorUnavailable, match="nonsense:///"):
        LibvirtGuests(LibvirtConnection("nonsense:///", patience=0.0)).find("any")


def test_a_closed_connection_stays_closed(connection: LibvirtConnection) -> None:
    guests = LibvirtGuests(connection)
    with pytest.raises(DomainNotFound):
        guests.find("any")
    connection.close()
    with pytest.raises(HypervisorUnavailable, match="closed"):
        guests.find("any")


def test_the_call_after_a_restart_finds_libvirt_again(
    daemon: PrivateLibvirtd, connection: LibvirtConnection, guest: Guest
) -> None:
    guests = LibvirtGuests(connection)
    before = guests.find(guest.name)
    daemon.stop()
    with pytest.raises(HypervisorUnavailable):
        guests.find(guest.name)
    daemon.start()
    assert guests.find(guest.name) == before


def test_power_is_heard_of_whoever_changed_it(heard: Heard, guest: Guest) -> None:
    changed = PowerChanged(instance=InstanceId(guest.uuid))
    heard.until(changed)
    for change in (guest.domain.create, guest.domain.suspend, guest.domain.destroy):
        heard.forget()
        change()
        heard.until(changed)


def test_a_removed_device_is_heard_of(
    connection: LibvirtConnection, heard: Heard, guest: Guest, tmp_path: Path
) -> None:
    instance = InstanceId(guest.uuid)
    guest.domain.create()
    disk = make_disk(connection, instance, tmp_path, Bus.SCSI)
    LibvirtGuestDisks(connection).attach(instance, disk)
    LibvirtGuestDisks(connection).unplug(instance, disk.alias)
    heard.until(DeviceRemoved(instance=instance, alias=disk.alias))


def test_a_listener_may_call_libvirt_and_may_fail(
    connection: LibvirtConnection, heard: Heard, guest: Guest
) -> None:
    states: queue.SimpleQueue[VmState] = queue.SimpleQueue()

    def listener(event: GuestEvent) -> None:
        states.put(LibvirtGuests(connection).describe(event.instance).vm_state)
        message = "planted"
        raise RuntimeError(message)

    connection.subscribe(listener)
    heard.until(PowerChanged(instance=InstanceId(guest.uuid)))
    guest.domain.create()
    while states.get(timeout=SOON) is not VmState.ACTIVE:
        pass
    heard.until(PowerChanged(instance=InstanceId(guest.uuid)))


def test_what_happened_behind_a_lost_connection_is_made_up_for(
    daemon: PrivateLibvirtd, heard: Heard, guest: Guest
) -> None:
    changed = PowerChanged(instance=InstanceId(guest.uuid))
    heard.until(changed)
    daemon.stop()
    heard.forget()
    daemon.start()
    # Nobody calls libvirt here: who listens is connected again all the same.
    heard.until(changed)


def test_an_unplug_outlives_a_restart_of_libvirt(
    daemon: PrivateLibvirtd,
    connection: LibvirtConnection,
    guest_image: GuestImage,
    tmp_path: Path,
) -> None:
    with guest_maker(daemon.start(), guest_image, tmp_path) as make:
        guest = make(ports=4)
        instance = InstanceId(guest.uuid)
        # On virtio a guest has to agree; from scsi QEMU takes a disk without asking it.
        disk = make_disk(connection, instance, tmp_path, Bus.VIRTIO)
        disks = LibvirtGuestDisks(connection, detach_retry_interval=SOON, detach_attempts=3)
        disks.attach(instance, disk)
        guest.wait_for_disk("vda")
        guest.domain.suspend()
        with ThreadPoolExecutor() as pool:
            unplug = pool.submit(disks.unplug, instance, disk.alias)
            time.sleep(0.5)
            daemon.stop()
            daemon.start()
            time.sleep(0.5)
            with connection.domain(instance) as domain:
                domain.resume()
            resumed = time.monotonic()
            unplug.result(SOON)
            assert time.monotonic() - resumed < SOON / 2
        assert LibvirtGuests(connection).describe(instance).layouts[0].disks == ()


def test_no_thread_is_left_of_a_closed_connection(daemon: PrivateLibvirtd) -> None:
    before = set(threading.enumerate())
    connection = LibvirtConnection(daemon.start())
    connection.subscribe(lambda _event: None)
    connection.close()
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert left <= {"libvirt-events"}
