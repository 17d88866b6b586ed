"""A libvirtd that is killed for good: what QEMU has agrees with libvirt afterwards."""

import fcntl
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.contract.daemons import SOON, Victim, victim
from tests.contract.hypervisors import open_past_libvirt
from tests.guests import Guest, guest_maker
from worker.cmd.demo.guest_image import GuestImage
from worker.errors import HypervisorRefused, HypervisorUnavailable
from worker.model.block_device import Bus, DeviceType
from worker.model.disk import Disk
from worker.model.ids import InstanceId, new_uuid
from worker.model.places.address import first_free
from worker.model.source import DiskOptions, FileSource
from worker.virt.disks import LibvirtGuestDisks
from worker.virt.guests import LibvirtGuests
from worker.virt.libvirtd.connection import LibvirtConnection
from worker.virt.qemu.insides import LibvirtGuestInsides
from worker.virt.qemu.monitor import ask

MIB = 1 << 20
ROUNDS = 4
TAINTED = "custom monitor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A guest that answers, its libvirtd, and a worker's adapters."""

    daemon: Victim
    guest: Guest
    connection: LibvirtConnection
    folder: Path

    @property
    def instance(self) -> InstanceId:
        return InstanceId(self.guest.uuid)

    @property
    def disks(self) -> LibvirtGuestDisks:
        return LibvirtGuestDisks(self.connection, detach_retry_interval=5, detach_attempts=4)

    def disk(self, name: str | None = None) -> Disk:
        """Return a disk on a file; without a volume's id in its name, if one is given."""
        volume = new_uuid()
        path = self.folder / (name or volume)
        path.write_bytes(bytes(MIB))
        layouts = LibvirtGuests(self.connection).describe(self.instance).layouts
        taken = {address for layout in layouts for address in layout.taken}
        return Disk(
            alias=f"ua-{volume}",
            target="vdb",
            bus=Bus.VIRTIO,
            device_type=DeviceType.DISK,
            serial=volume,
            address=first_free(layouts[0].places[Bus.VIRTIO], taken),
            source=FileSource(path=str(path)),
            options=DiskOptions(),
        )

    def opened(self) -> set[str]:
        """Return the files that QEMU has open, for a device or for none."""
        with self.connection.domain(self.instance) as domain:
            return {node["file"] for node in ask(domain, "query-named-block-nodes")}

    def views(self) -> list[list[str]]:
        """Return the aliases in the live layout, in the persistent one, and in QEMU itself."""
        inside = LibvirtGuestInsides(self.connection).disks(self.instance)
        layouts = LibvirtGuests(self.connection).describe(self.instance).layouts
        known = [sorted(str(disk.alias) for disk in layout.disks) for layout in layouts]
        return [*known, [disk.alias for disk in inside]]

    def tainted(self) -> bool:
        with self.connection.domain(self.instance) as domain:
            return any(TAINTED in message for message in domain.messages())

    def take_away(self, disk: Disk) -> None:
        """The way back of an attach."""
        self.disks.unplug(self.instance, disk.alias)
        self.disks.forget(self.instance, disk.alias)


@contextmanager
def open_scene(daemon: Victim, image: GuestImage, folder: Path) -> Iterator[Scene]:
    with guest_maker(daemon.start(), image, folder) as make:
        guest = make(ports=4)
        connection = LibvirtConnection(daemon.start(), patience=5.0, reopen_interval=0.2)
        yield Scene(daemon=daemon, guest=guest, connection=connection, folder=folder)
        connection.close()
        daemon.start()


@pytest.fixture(scope="module")
def daemon() -> Iterator[Victim]:
    with victim() as made:
        yield made


@pytest.fixture(scope="module")
def scene(
    daemon: Victim, guest_image: GuestImage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    """One guest for all that leave it as it was."""
    with open_scene(daemon, guest_image, tmp_path_factory.mktemp("scene")) as opened:
        yield opened


@pytest.fixture
def fresh(daemon: Victim, guest_image: GuestImage, tmp_path: Path) -> Iterator[Scene]:
    """A guest in which nothing has happened yet."""
    with open_scene(daemon, guest_image, tmp_path) as opened:
        yield opened


@contextmanager
def held_open(path: str) -> Iterator[threading.Event]:
    """Let the next one that opens the file wait in it, and tell, until the block ends."""
    waits = threading.Event()
    before = signal.signal(signal.SIGIO, lambda _number, _frame: waits.set())
    descriptor = os.open(path, os.O_RDWR)
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    try:
        yield waits
    finally:
        os.close(descriptor)
        signal.signal(signal.SIGIO, before)


def killed_while_qemu_opens(scene: Scene, disks: LibvirtGuestDisks, disk: Disk) -> None:
    """Attach the disk; kill libvirtd when QEMU has begun to open it."""
    with ThreadPoolExecutor(1) as threads:
        with held_open(disk.source.name) as opens:
            attach = threads.submit(disks.attach, scene.instance, disk)
            assert opens.wait(SOON)
            scene.daemon.kill()
            with pytest.raises(HypervisorUnavailable):
                attach.result(SOON)
        scene.daemon.start()


def test_a_guest_that_is_not_in_doubt_is_never_tainted(fresh: Scene) -> None:
    disk = fresh.disk()
    fresh.disks.attach(fresh.instance, disk)
    fresh.disks.attach(fresh.instance, disk)
    with pytest.raises(HypervisorRefused):
        fresh.disks.attach(fresh.instance, fresh.disk())
    fresh.take_away(disk)
    fresh.take_away(disk)
    assert not fresh.tainted()
    fresh.connection.doubt(fresh.instance)
    fresh.take_away(disk)
    assert fresh.tainted()


def test_what_qemu_opened_for_a_dead_libvirtd_goes_with_the_way_back(scene: Scene) -> None:
    disk = scene.disk()
    killed_while_qemu_opens(scene, scene.disks, disk)
    assert scene.opened() == {disk.source.name}
    assert scene.views() == [[], [], [disk.alias]]
    scene.take_away(disk)
    assert scene.opened() == set()
    assert scene.views() == [[], [], []]


def test_what_qemu_opened_for_a_dead_libvirtd_is_in_no_next_ones_way(scene: Scene) -> None:
    disk = scene.disk()
    killed_while_qemu_opens(scene, scene.disks, disk)
    scene.disks.attach(scene.instance, disk)
    assert scene.views() == [[disk.alias]] * 3
    scene.take_away(disk)
    assert scene.opened() == set()


def test_a_file_without_an_id_is_known_by_the_attach_that_broke_off(scene: Scene) -> None:
    disk, disks = scene.disk("sdx"), scene.disks
    killed_while_qemu_opens(scene, disks, disk)
    assert scene.opened() == {disk.source.name}
    disks.unplug(scene.instance, disk.alias)
    assert scene.opened() == set()


def test_a_worker_that_knows_of_no_death_gets_past_all_that_is_left(fresh: Scene) -> None:
    """Whatever bears the numbers that libvirt comes to next goes, if no device uses it."""
    disk = fresh.disk()
    with fresh.connection.domain(fresh.instance) as domain:
        for number in (1, 2, 3):
            path = fresh.folder / f"left-{number}"
            path.write_bytes(bytes(MIB))
            name = f"libvirt-{number}-storage-auth-secret0"
            ask(domain, "object-add", {"qom-type": "secret", "id": name, "data": "planted"})
            open_past_libvirt(domain, str(path), number)
    fresh.disks.attach(fresh.instance, disk)
    assert fresh.views() == [[disk.alias]] * 3
    assert fresh.opened() == {disk.source.name}
    with fresh.connection.domain(fresh.instance) as domain:
        left = {each["name"] for each in ask(domain, "qom-list", {"path": "/objects"})}
    assert not any("secret0" in name for name in left)
    assert fresh.connection.in_doubt(fresh.instance)


def until_it_ends(call: Callable[..., None], *arguments: object) -> None:
    """Call again while libvirt is away, as an operation does."""
    end = time.monotonic() + 3 * SOON
    while True:
        try:
            return call(*arguments)
        except HypervisorUnavailable:
            assert time.monotonic() < end
            time.sleep(0.1)


def killed_at_random(scene: Scene, call: Callable[..., None], *arguments: object) -> None:
    """Make the call, and kill libvirtd while it is under way, or after; start the next one."""
    with ThreadPoolExecutor(1) as threads:
        under_way = threads.submit(call, *arguments)
        time.sleep(random.uniform(0.0, 0.03))  # noqa: S311 - no secret; --randomly-seed repeats it
        scene.daemon.kill()
        scene.daemon.start()
        failure = under_way.exception(SOON)
    assert failure is None or isinstance(failure, HypervisorUnavailable), failure


@pytest.mark.parametrize("forward", [True, False], ids=["forward", "back"])
def test_kills_at_random_leave_all_views_agreeing(scene: Scene, *, forward: bool) -> None:
    for _round in range(ROUNDS):
        disk = scene.disk()
        killed_at_random(scene, scene.disks.attach, scene.instance, disk)
        if forward:
            until_it_ends(scene.disks.attach, scene.instance, disk)
            assert scene.views() == [[disk.alias]] * 3
            killed_at_random(scene, scene.take_away, disk)
        until_it_ends(scene.take_away, disk)
        assert scene.views() == [[], [], []]
        assert scene.opened() == set()
