"""The hypervisors on which the promises of the guest's ports are tried."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import libvirt as library
import pytest

from tests.fakes.hypervisor import FakeGuestDisks, FakeGuestInsides, FakeGuests
from tests.fakes.world import FakeGuest, World
from tests.guests import BOOT_TIMEOUT, Guest, GuestMaker, guest_maker
from worker.model.disk import Disk
from worker.model.ids import InstanceId, new_uuid
from worker.model.instance import VmState
from worker.model.places.address import PciAddress
from worker.ports import GuestDisks, GuestInsides, Guests
from worker.virt.disks import LibvirtGuestDisks
from worker.virt.guests import LibvirtGuests
from worker.virt.libvirtd.connection import LibvirtConnection
from worker.virt.qemu.insides import LibvirtGuestInsides
from worker.virt.qemu.monitor import ask

NAME = "guest-under-test"
VIRTIO_SERIAL = 20
GHOSTLY = 90
"""A number that libvirt does not come to."""


class Lab(ABC):
    """A hypervisor with one guest; what is ``hurried`` asks it to let go, and soon gives up."""

    guests: Guests
    disks: GuestDisks
    hurried: GuestDisks
    insides: GuestInsides
    hurried_insides: GuestInsides

    @abstractmethod
    def running(self) -> tuple[InstanceId, str]:
        """Return id and name of a guest that runs, answers and has no disk of ours."""

    @abstractmethod
    def pause(self, instance: InstanceId) -> None:
        """Stop the clock of the guest, so that it lets go of nothing."""

    @abstractmethod
    def resume(self, instance: InstanceId) -> None:
        """Let a paused guest go on."""

    @abstractmethod
    def stop(self, instance: InstanceId) -> None:
        """Pull the plug."""

    @abstractmethod
    def start(self, instance: InstanceId) -> None:
        """Start a stopped guest."""

    @abstractmethod
    def plant_ghost(self, instance: InstanceId, disk: Disk) -> None:
        """Give the guest the disk, past its hypervisor."""

    @abstractmethod
    def doubt(self, instance: InstanceId) -> None:
        """Let the hypervisor have died under the guest."""

    @abstractmethod
    def wait_until_seen(self, instance: InstanceId, disk: Disk, *, seen: bool = True) -> None:
        """Return when the guest itself sees the disk, or does not; fails if that never comes."""

    @abstractmethod
    def wait_for_size(self, instance: InstanceId, disk: Disk, size: int) -> None:
        """Return when the guest itself sees so many bytes of the disk; fails if it never does."""


class FakeLab(Lab):
    def __init__(self) -> None:
        self.world = World()
        self.guests = FakeGuests(self.world)
        self.disks = self.hurried = FakeGuestDisks(self.world)
        self.insides = self.hurried_insides = FakeGuestInsides(self.world)

    def running(self) -> tuple[InstanceId, str]:
        instance = InstanceId(new_uuid())
        self.world.guests = {instance: FakeGuest(name=NAME)}
        return instance, NAME

    def pause(self, instance: InstanceId) -> None:
        self._become(instance, VmState.PAUSED)

    def resume(self, instance: InstanceId) -> None:
        self._become(instance, VmState.ACTIVE)

    def stop(self, instance: InstanceId) -> None:
        self._become(instance, VmState.STOPPED)
        self.world.guests[instance].live.clear()
        self.world.guests[instance].ghosts.clear()

    def start(self, instance: InstanceId) -> None:
        guest = self.world.guests[instance]
        guest.live.update(guest.persistent)
        self._become(instance, VmState.ACTIVE)

    def plant_ghost(self, instance: InstanceId, disk: Disk) -> None:
        self.world.guests[instance].ghosts.add(disk.alias)

    def doubt(self, instance: InstanceId) -> None:
        self.world.guests[instance].doubted = True

    def wait_until_seen(self, instance: InstanceId, disk: Disk, *, seen: bool = True) -> None:
        guest = self.world.guests[instance]
        assert (disk.alias in guest.ghosts | guest.live.keys()) is seen

    def wait_for_size(self, instance: InstanceId, disk: Disk, size: int) -> None:
        assert self.world.guests[instance].sizes[disk.alias] == size

    def _become(self, instance: InstanceId, state: VmState) -> None:
        guest = self.world.guests[instance]
        guest.vm_state, guest.busy = state, state is VmState.PAUSED


class LibvirtLab(Lab):
    """One guest serves many tests; it is booted anew if the last one left it in no fit state."""

    def __init__(self, make: GuestMaker, connection: LibvirtConnection) -> None:
        self.make = make
        self.connection = connection
        self.guests = LibvirtGuests(connection)
        self.disks = LibvirtGuestDisks(connection, detach_retry_interval=5, detach_attempts=4)
        self.hurried = LibvirtGuestDisks(connection, detach_retry_interval=0.2, detach_attempts=2)
        self.insides = LibvirtGuestInsides(connection, detach_retry_interval=5, detach_attempts=4)
        self.hurried_insides = LibvirtGuestInsides(
            connection, detach_retry_interval=0.2, detach_attempts=2
        )
        self.guest: Guest | None = None

    def running(self) -> tuple[InstanceId, str]:
        if self.guest is None or not self._fit(self.guest):
            self.guest = self.make(ports=6)
        # Whatever an earlier test found in it, this one begins without doubt.
        self.connection._events.doubts.settle(InstanceId(self.guest.uuid))  # noqa: SLF001
        return InstanceId(self.guest.uuid), self.guest.name

    def pause(self, instance: InstanceId) -> None:
        self._guest(instance).domain.suspend()

    def resume(self, instance: InstanceId) -> None:
        self._guest(instance).domain.resume()

    def stop(self, instance: InstanceId) -> None:
        self._guest(instance).domain.destroy()

    def start(self, instance: InstanceId) -> None:
        guest = self._guest(instance)
        guest.domain.create()
        guest.console.fresh(BOOT_TIMEOUT)

    def plant_ghost(self, instance: InstanceId, disk: Disk) -> None:
        domain = self._guest(instance).domain
        open_past_libvirt(domain, disk.source.name, GHOSTLY)
        ask(
            domain,
            "device_add",
            {"id": disk.alias, "drive": f"libvirt-{GHOSTLY}-format", **_front(disk)},
        )

    def doubt(self, instance: InstanceId) -> None:
        self.connection.doubt(instance)

    def wait_until_seen(self, instance: InstanceId, disk: Disk, *, seen: bool = True) -> None:
        serial = (disk.serial or "")[:VIRTIO_SERIAL]
        self._guest(instance).console.wait_for(
            lambda disks: seen is any(each.serial.startswith(serial) for each in disks.values()),
            BOOT_TIMEOUT,
        )

    def wait_for_size(self, instance: InstanceId, disk: Disk, size: int) -> None:
        serial = (disk.serial or "")[:VIRTIO_SERIAL]
        self._guest(instance).console.wait_for(
            lambda disks: (
                (serial, size) in {(one.serial[:VIRTIO_SERIAL], one.size) for one in disks.values()}
            ),
            BOOT_TIMEOUT,
        )

    def _guest(self, instance: InstanceId) -> Guest:
        assert self.guest is not None
        assert self.guest.uuid == instance
        return self.guest

    def _fit(self, guest: Guest) -> bool:
        seen = self.guests.describe(InstanceId(guest.uuid))
        aliases = {disk.alias for layout in seen.layouts for disk in layout.disks if disk.alias}
        if seen.vm_state is not VmState.ACTIVE:
            return False
        for ghost in self.insides.disks(seen.instance):
            if ghost.alias not in aliases:
                self.insides.remove(seen.instance, ghost.alias)
        for alias in aliases:
            self.disks.unplug(seen.instance, alias)
            self.disks.forget(seen.instance, alias)
        return not any(layout.disks for layout in self.guests.describe(seen.instance).layouts)


def open_past_libvirt(domain: library.virDomain, path: str, number: int) -> None:
    """Have QEMU open a file as a libvirt does that dies before it has plugged it in."""
    storage, format_ = f"libvirt-{number}-storage", f"libvirt-{number}-format"
    ask(domain, "blockdev-add", {"driver": "file", "filename": path, "node-name": storage})
    ask(domain, "blockdev-add", {"driver": "raw", "file": storage, "node-name": format_})


def _front(disk: Disk) -> dict[str, str]:
    serial = str(disk.serial)
    if isinstance(disk.address, PciAddress):
        bus = f"pci.{disk.address.bus}"
        return {"driver": "virtio-blk-pci", "bus": bus, "addr": "0x0", "serial": serial}
    return {"driver": "scsi-hd", "bus": "scsi0.0", "serial": serial}


@contextmanager
def fake(_request: pytest.FixtureRequest, _folder: Path) -> Iterator[Lab]:
    yield FakeLab()


@contextmanager
def libvirt(request: pytest.FixtureRequest, folder: Path) -> Iterator[Lab]:
    uri, image = request.getfixturevalue("libvirtd"), request.getfixturevalue("guest_image")
    connection = LibvirtConnection(uri)
    with guest_maker(uri, image, folder) as make:
        yield LibvirtLab(make, connection)
    connection.close()


Opener = Callable[[pytest.FixtureRequest, Path], AbstractContextManager[Lab]]

LABS: Mapping[str, Opener] = {"fake": fake, "libvirt": libvirt}
"""Another hypervisor, or another fake of one, is one line more."""
