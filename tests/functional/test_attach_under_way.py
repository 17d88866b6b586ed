"""An attach of a worker that died in it is libvirt's to end: what comes after waits its turn."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.guests import Guest, GuestMaker, qemu_of
from worker.model.block_device import Bus, DeviceType
from worker.model.disk import Disk
from worker.model.ids import InstanceId, new_uuid
from worker.model.places.address import first_free
from worker.model.source import DiskOptions, FileSource
from worker.virt.disks import LibvirtGuestDisks
from worker.virt.guests import LibvirtGuests
from worker.virt.libvirtd.connection import LibvirtConnection

UNDER_WAY = 0.3
"""Seconds after which a call has reached QEMU, which is stopped."""


@pytest.fixture
def workers(libvirtd: str) -> Iterator[tuple[LibvirtConnection, LibvirtConnection]]:
    """The connection of the worker that dies, and of the next one."""
    dying, living = LibvirtConnection(libvirtd), LibvirtConnection(libvirtd)
    yield dying, living
    dying.close()
    living.close()


@pytest.fixture
def guest(make_guest: GuestMaker) -> Guest:
    return make_guest(ports=4)


@pytest.fixture
def disk(
    workers: tuple[LibvirtConnection, LibvirtConnection], guest: Guest, tmp_path: Path
) -> Disk:
    volume = new_uuid()
    (tmp_path / volume).write_bytes(bytes(1 << 20))
    layout = LibvirtGuests(workers[1]).describe(InstanceId(guest.uuid)).layouts[0]
    return Disk(
        alias=f"ua-{volume}",
        target="vdb",
        bus=Bus.VIRTIO,
        device_type=DeviceType.DISK,
        serial=volume,
        address=first_free(layout.places[Bus.VIRTIO], layout.taken),
        source=FileSource(path=str(tmp_path / volume)),
        options=DiskOptions(),
    )


def while_it_attaches(guest: Guest, attach: Callable[[], None], then: Callable[[], None]) -> None:
    """Begin the second while QEMU has not answered the first; see that both come back."""
    qemu = qemu_of(guest)
    with ThreadPoolExecutor(2) as threads:
        os.kill(qemu, signal.SIGSTOP)
        try:
            first = threads.submit(attach)
            time.sleep(UNDER_WAY)
            second = threads.submit(then)
            time.sleep(UNDER_WAY)
        finally:
            os.kill(qemu, signal.SIGCONT)
        first.result()
        second.result()


def layouts(worker: LibvirtConnection, guest: Guest) -> list[list[str | None]]:
    found = LibvirtGuests(worker).describe(InstanceId(guest.uuid))
    return [[disk.alias for disk in layout.disks] for layout in found.layouts]


def test_the_same_attach_again_is_the_one_attach(
    workers: tuple[LibvirtConnection, LibvirtConnection], guest: Guest, disk: Disk
) -> None:
    first, second = (LibvirtGuestDisks(each) for each in workers)
    instance = InstanceId(guest.uuid)
    while_it_attaches(
        guest, lambda: first.attach(instance, disk), lambda: second.attach(instance, disk)
    )
    assert [names.count(disk.alias) for names in layouts(workers[1], guest)] == [1, 1]
    guest.wait_for_disk("vda")


def test_its_way_back_takes_away_what_comes_late(
    workers: tuple[LibvirtConnection, LibvirtConnection], guest: Guest, disk: Disk
) -> None:
    first, second = (LibvirtGuestDisks(each) for each in workers)
    instance = InstanceId(guest.uuid)

    def way_back() -> None:
        second.unplug(instance, disk.alias)
        second.forget(instance, disk.alias)

    while_it_attaches(guest, lambda: first.attach(instance, disk), way_back)
    assert [names.count(disk.alias) for names in layouts(workers[1], guest)] == [0, 0]
